"""What compiled functions are made with is loaded by `import graphc`, not by the first of them."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from graphc.compiler.compiled import Options, backend_module
from graphc.errors import UnsupportedError


def preload() -> None:
    """Load the generator of machine code, if that is the default; what is wrong with it, the first function says."""
    with suppress(UnsupportedError, ImportError, OSError, RuntimeError):
        if Options().generator == "llvm":
            backend_module("numpy")
            import_module("graphc.ops.functions")
            import_module("graphc.backends.numpy.llvm.native")
            import_module("graphc.backends.numpy.llvm.machine").prepare()
