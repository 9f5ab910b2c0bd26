"""Tracing: NumPy code runs once on stand-ins for arrays, which record what is done to them."""

from graphc.tracing.inlining import inline
from graphc.tracing.layout import copied, in_c_order, in_f_order, placed
from graphc.tracing.lifting import free_symbol, holds_traced, lift, world_of
from graphc.tracing.places import definition, locate, located, stacklevel, user_frame, user_locs
from graphc.tracing.refusals import WRITABLE, describe, variable_name
from graphc.tracing.sizes import SymbolicSize, as_size, wrap_size
from graphc.tracing.stack import STACK, innermost
from graphc.tracing.storage import (
    Memory,
    View,
    check_writable,
    doubt,
    is_scalar,
    is_writeable,
    owns_storage,
    same_storage,
    snapshot,
    view_of,
    write,
)
from graphc.tracing.values import Traced, UnsupportedAttribute, is_traced
from graphc.tracing.worlds import TracingWorld, assigned, deepest, tracing

__all__ = [
    "STACK",
    "WRITABLE",
    "Memory",
    "SymbolicSize",
    "Traced",
    "TracingWorld",
    "UnsupportedAttribute",
    "View",
    "as_size",
    "assigned",
    "check_writable",
    "copied",
    "deepest",
    "definition",
    "describe",
    "doubt",
    "free_symbol",
    "holds_traced",
    "in_c_order",
    "in_f_order",
    "inline",
    "innermost",
    "is_scalar",
    "is_traced",
    "is_writeable",
    "lift",
    "locate",
    "located",
    "owns_storage",
    "placed",
    "same_storage",
    "snapshot",
    "stacklevel",
    "tracing",
    "user_frame",
    "user_locs",
    "variable_name",
    "view_of",
    "world_of",
    "wrap_size",
    "write",
]
