"""Modules of SciPy's without the packages around them, which take ten times as long to load."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any


@lru_cache(maxsize=4)
def alone(name: str) -> Any:
    """The compiled module of a name such as scipy.linalg.cython_blas; of a package that is loaded, its own."""
    if name in sys.modules:
        return sys.modules[name]
    top, *packages, _ = name.split(".")
    if ".".join([top, *packages]) not in sys.modules:
        places = import_module(top).__path__  # which also prepares for its libraries
        found = PathFinder.find_spec(name, [os.path.join(place, *packages) for place in places])
        if found is not None and found.loader is not None:
            module = module_from_spec(found)
            found.loader.exec_module(module)
            # whoever imports it gets the same one from Python, with its package
            sys.modules.pop(name, None)
            return module
    return import_module(name)
