"""What a config needs before it can run: real key sets, and plug-ins for keys of 32 bits."""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REAL = ("coast", "npm_downloads", "ipv4")


def real_sets(text):
    return [name for name in REAL if re.search(rf"\b{name}\b", text)]


def fetch(names, who):
    """Gets real key sets; says so where they can't be had, as configs mark them optional."""
    if names and subprocess.run([sys.executable, os.path.join(ROOT, "scripts", "fetch"), *names],
                                check=False).returncode:
        print(f"{who}: not all real key sets can be had; going on without them", file=sys.stderr)


def wants_bits32(text):
    return bool(re.search(r"^\s*key-bits\s*=.*\b32\b", text, re.M))


def build_bits32(**how):
    """make bits32, as subprocess.run."""
    return subprocess.run(["make", "-s", "-C", ROOT, "bits32"], check=False, **how)
