"""What ops mean in CuPy where no kernel computes them: the same as in NumPy, or not there.

Most are CuPy's function of the same name. `ck` is `graphc.backends.cupy.functions`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from graphc.errors import UnsupportedError
from graphc.ir import TensorType
from graphc.kernels import KERNEL_DTYPES
from graphc.ops import TABLE
from graphc.ops.record import Op

# (op, its meaning)
MEANINGS: Final[dict[str, str]] = {
    "iota": "cp.arange({size}, dtype={dtype})",
    "identity": "{0}",
    "stop_gradient": "{0}",
    "reshape": "cp.reshape({0}, {shape})",
    "transpose": "cp.transpose({0}, {perm})",
    "broadcast_to": "cp.broadcast_to({0}, {shape})",
    "slice": "{0}[{index!slice}]",
    "get": "{0}[{index}]",
    "concatenate": "ck.concatenate(({*},), {axis})",
    "unslice": "ck.unslice({0}, {index}, {shape})",
    "insert_slice": "ck.insert_slice({0}, {1}, {index})",
    "gather": "ck.gather({0}, ({1*},), {axis})",
    "scatter_add": "ck.scatter_add({0}, ({1*},), {axis}, {shape})",
    "last_write": "ck.last_write(({0*},), {shape})",
    "matmul": "ck.matmul({0}, {1})",
    "solve": "ck.solve({0}, {1})",
    "solve_triangular": "ck.solve_triangular({0}, {1}, {lower}, {unit})",
    "inv": "ck.inv({0})",
    "pinv": "ck.pinv({0}, {rcond})",
    "det": "ck.det({0})",
    "cofactor": "ck.cofactor({0})",
    "det_sign": "ck.det_sign({0})",
    "log_abs_det": "ck.log_abs_det({0})",
    "cholesky": "ck.cholesky({0})",
    "eigvalsh": "ck.eigvalsh({0}, {lower})",
    "eigh_vectors": "ck.eigh_vectors({0}, {lower})",
    "svdvals": "ck.svdvals({0})",
    "svd_vectors": "ck.svd_vectors({0})",
    "qr_q": "ck.qr_q({0})",
    "qr_r": "ck.qr_r({0})",
    "cumsum": "ck.cumulative('cumsum', {0}, {axis}, {reverse})",
    "cumprod": "ck.cumulative('cumprod', {0}, {axis}, {reverse})",
    "cummax": "ck.running(cp.maximum, {0}, {axis})",
    "cummin": "ck.running(cp.minimum, {0}, {axis})",
    "sort": "cp.sort({0}, axis={axis})",
    "argsort": "cp.argsort({0}, axis={axis})",
    "argmax": "ck.position_of('argmax', {0}, {axis}, {keepdims})",
    "argmin": "ck.position_of('argmin', {0}, {axis}, {keepdims})",
    "searchsorted": "cp.searchsorted({0}, {1}, side='right' if {right} else 'left')",
    "logaddexp2": "cp.logaddexp2({0}, {1})",
    "ldexp": "cp.ldexp({0}, {1})",
    "exponent": "cp.frexp({0})[1]",
    "gcd": "cp.gcd({0}, {1})",
    "lcm": "cp.lcm({0}, {1})",
    "pow": "cp.power({0}, {1})",
    "erfinv": "ck.special('erfinv', {0})",
    "erfcinv": "ck.special('erfcinv', {0})",
    "gamma": "ck.special('gamma', {0})",
    "gammaln": "ck.special('gammaln', {0})",
    "digamma": "ck.special('digamma', {0})",
    "derived_key": "ck.derived_key({0}, {1}, {stream})",
    "random_bits": "ck.random_bits({0}, {shape}, {dtype})",
    "random_below": "ck.random_below({0}, {1}, {shape})",
    "logsumexp": "ck.of_nothing({0}, {axes}, {keepdims}, -np.inf)",
    "reduce_norm": "ck.of_nothing({0}, {axes}, {keepdims}, 0)",
    "softmax": "cp.empty_like({0})",
    "log_softmax": "cp.empty_like({0})",
    "debug_print": "ck.debug_print({format}, {*})",
    "pure_callback": "ck.pure_callback({callback}, {shapes}, {dtypes}, {*})",
}

# Ops that are written out for kernels, unless their operand is empty: then these meanings serve.
EXPANDED: Final = frozenset({"logsumexp", "reduce_norm", "softmax", "log_softmax"})

# What CuPy has not, or not with NumPy's meaning, and no kernel computes.
MISSING: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("bessel_i", "bessel_ie", "bessel_j", "bessel_k", "bessel_ke", "spherical_jn"),
        "CuPy has Bessel functions of a few orders only",
    ),
    **dict.fromkeys(("erfi", "dawsn", "fresnel_sine", "fresnel_cosine", "exprel"), "CuPy has no such function"),
    "polygamma": "CuPy computes it by the zeta function, with a larger error",
    "exp1": "CuPy's has a larger error",
    "average_ties": "how many ties there are decides on sizes",
    "random_order": "ties are drawn again, which takes a look at the numbers",
}

# Ops that run on their operands' dtype whatever it is, complex numbers too.
_UFUNCS: Final = (
    *("add", "sub", "mul", "div", "neg", "abs", "sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "sinh", "cosh"),
    *("maximum", "minimum", "fmax", "fmin", "floor", "ceil", "trunc", "rint", "sign"),
    *("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "is_nan"),
)
# folds of complex numbers, and of anything over axes of one element, which no kernel loops over
_FOLDS: Final = {f"reduce_{name}": name for name in ("sum", "prod", "max", "min", "any", "all")}
UNFUSED: Final[dict[str, str]] = {
    **{name: TABLE[name].numpy.replace("np.", "cp.") for name in _UFUNCS if name in TABLE and TABLE[name].ufunc},
    **{name: f"cp.{f}({{0}}, axis={{axes}}, keepdims={{keepdims}})" for name, f in _FOLDS.items()},
    "cast": "{0}.astype({dtype})",
    "where": "cp.where({0}, {1}, {2})",
}
# the kinds of dtype, in NumPy's letters, of which CuPy multiplies matrices
MATMUL_KINDS: Final = "iufc"


def meaning(data: dict[str, Any], types: list[TensorType], line: str) -> Op:
    """The op with its CuPy meaning in the place of NumPy's; UnsupportedError if there is none."""
    name: str = data["op"]
    op = TABLE[name]
    text = MEANINGS.get(name)
    why = MISSING.get(name)
    if text is None and why is None:
        text = UNFUSED.get(name)
        if text is not None and op.ufunc:
            text = f"{text}({', '.join(f'{{{k}}}' for k in range(len(types)))})"
    if name in EXPANDED and 0 not in types[0].shape:
        text, why = None, "it is a kernel at other dtypes"
    if name == "matmul" and types[0].dtype.kind not in MATMUL_KINDS:
        text, why = None, "CuPy multiplies matrices of numbers only"
    if text is None:
        odd = next((t.dtype for t in types if t.dtype not in KERNEL_DTYPES), None)
        raise UnsupportedError(
            f'{name} does not run with backend="cupy"' + (f" at {odd}" if odd is not None and why is None else ""),
            expected="an op that kernels compute, or that CuPy has with NumPy's meaning",
            actual=why or "no such meaning",
            graph_line=line,
            loc=data["loc"][0] if data["loc"] else None,
            fix='compile this part with backend="numpy", or compute it outside of the compiled function',
        )
    return replace(op, numpy=text)
