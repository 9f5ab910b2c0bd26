"""The intermediate representation: types, constants, guards, and the graph itself."""

from graphc.ir.building import Builder, copy_into, paused_gc
from graphc.ir.constants import Constant
from graphc.ir.graphs import Attrs, Graph, Guard, Locs
from graphc.ir.naming import set_name
from graphc.ir.types import DTYPE_NAMES, DTYPES, TensorType, TupleType, Type, static_shape

__all__ = [
    "DTYPES",
    "DTYPE_NAMES",
    "Attrs",
    "Builder",
    "Constant",
    "Graph",
    "Guard",
    "Locs",
    "TensorType",
    "TupleType",
    "Type",
    "copy_into",
    "paused_gc",
    "set_name",
    "static_shape",
]
