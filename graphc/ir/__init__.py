"""The intermediate representation: types, constants, guards, and the graph itself."""

from graphc.ir.building import Builder, copy_inputs, copy_into, copy_node, paused_gc, without_effects
from graphc.ir.callbacks import Callback
from graphc.ir.constants import Constant
from graphc.ir.graphs import Attrs, Graph, Guard, Locs, check_graph
from graphc.ir.naming import set_name
from graphc.ir.types import DTYPE_NAMES, DTYPES, NOTHING, REAL_DTYPES, TensorType, TupleType, Type, static_shape

__all__ = [
    "DTYPES",
    "DTYPE_NAMES",
    "NOTHING",
    "REAL_DTYPES",
    "Attrs",
    "Builder",
    "Callback",
    "Constant",
    "Graph",
    "Guard",
    "Locs",
    "TensorType",
    "TupleType",
    "Type",
    "check_graph",
    "copy_inputs",
    "copy_into",
    "copy_node",
    "paused_gc",
    "set_name",
    "static_shape",
    "without_effects",
]
