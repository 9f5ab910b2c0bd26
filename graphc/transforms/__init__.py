"""Transforms: functions to functions, of any order, in any nesting.

Every transform traces its function into a graph of its own, derives another graph from that (a derivative, taken of
the stabilised graph, or a batched one), and inlines it into the surrounding trace. Called on arrays, the transform
itself is traced and compiled, once per signature.
"""

from graphc.transforms.expressions import gradients, stop_gradient, symbol
from graphc.transforms.forward import jvp, linearize
from graphc.transforms.jacobians import hessian, hvp, jacfwd, jacobian, jacrev
from graphc.transforms.mapping import vmap
from graphc.transforms.reverse import grad, value_and_grad, vjp

__all__ = [
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "stop_gradient",
    "symbol",
    "value_and_grad",
    "vjp",
    "vmap",
]
