"""Loads a script of this folder, which has no .py, as a module: "perf-check" as perf_check."""

import importlib.util
import os
import sys
from importlib.machinery import SourceFileLoader


def load_script(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    loader = SourceFileLoader(name.replace("-", "_"), path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module
