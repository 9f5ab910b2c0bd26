"""The driver: trace, run the passes, plan, hand to a backend; ahead of time or on demand."""

from graphc.compiler.capture import Traceout, check_no_captures, trace, trace_call
from graphc.compiler.checking import check, checker, parse
from graphc.compiler.compiled import Compiled, Options, backend_module
from graphc.compiler.compiling import compile
from graphc.compiler.expressions import extract
from graphc.compiler.jitting import Jitted, jit
from graphc.compiler.preloading import preload
from graphc.compiler.pytrees import flatten, function_name, leaf_names, show_call, show_tree, unflatten
from graphc.compiler.sizes import mismatch
from graphc.compiler.specs import Spec, is_array, not_an_array, type_of
from graphc.compiler.wrapping import Wrapper

__all__ = [
    "Compiled",
    "Jitted",
    "Options",
    "Spec",
    "Traceout",
    "Wrapper",
    "backend_module",
    "check",
    "check_no_captures",
    "checker",
    "compile",
    "extract",
    "flatten",
    "function_name",
    "is_array",
    "jit",
    "leaf_names",
    "mismatch",
    "not_an_array",
    "parse",
    "preload",
    "show_call",
    "show_tree",
    "trace",
    "trace_call",
    "type_of",
    "unflatten",
]
