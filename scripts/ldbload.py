"""Loads a script of this folder, which has no .py, as a module."""

import importlib.util
import os
from importlib.machinery import SourceFileLoader


def load_script(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    loader = SourceFileLoader(name, path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module
