"""Tracing: NumPy code runs once on stand-ins for arrays, which record what is done to them."""

from graphc.tracing.inlining import inline
from graphc.tracing.lifting import free_symbol, holds_traced, lift, world_of
from graphc.tracing.places import definition, locate, located, user_frame, user_locs
from graphc.tracing.sizes import SymbolicSize, as_size, wrap_size
from graphc.tracing.values import Traced, UnsupportedAttribute, is_traced
from graphc.tracing.worlds import STACK, TracingWorld, assigned, deepest, fresh, tracing

__all__ = [
    "STACK",
    "SymbolicSize",
    "Traced",
    "TracingWorld",
    "UnsupportedAttribute",
    "as_size",
    "assigned",
    "deepest",
    "definition",
    "free_symbol",
    "fresh",
    "holds_traced",
    "inline",
    "is_traced",
    "lift",
    "locate",
    "located",
    "tracing",
    "user_frame",
    "user_locs",
    "world_of",
    "wrap_size",
]
