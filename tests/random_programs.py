"""Random NumPy programs over the whole op table, as source lines that both NumPy and the tracer run.

A program is drawn line by line while it is run twice, on arrays and on traced values; a line that NumPy refuses is
dropped, after a look that graphc refuses it too. Nothing but the seed decides the draw. A program that fails a test
is made small by giving up outputs and by turning lines into arguments that hold what the line computed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import scipy.special

import graphc
from graphc import ops
from graphc.backends.exact.fields import apply_each
from graphc.compiler import mismatch, trace_call, type_of
from graphc.dims import Dim
from graphc.errors import DTypeError, GraphcError, ShapeError, TraceError, UnsupportedError
from graphc.ir import DTYPE_NAMES, Graph, TensorType, TupleType, Type
from graphc.ops.batching import lined_up
from graphc.ops.meaning import evaluate
from graphc.ops.record import Op
from graphc.ops.typing import Facts, broadcast, check_kind, tensor
from graphc.tracing import SymbolicSize, Traced, TracingWorld, as_size, lift, tracing


def _division_type(facts: Facts, a: Type, b: Type) -> TupleType:
    x, y = tensor(a, "division"), tensor(b, "division")
    check_kind("division", x, "i")
    if x.dtype != y.dtype:
        raise DTypeError("division: operands differ in dtype")
    shape = broadcast(facts, "division", x.shape, y.shape)
    return TupleType([TensorType(shape, x.dtype)] * 2)


def _exact_division(s: Any, a: Any, b: Any) -> tuple[Any, Any]:
    quotient = apply_each(lambda x, y: s.floor(x / y), a, b)
    return quotient, a - b * quotient


# No op of the table has several results, which `get` takes apart, so the programs bring one along.
DIVISION: Final = Op(
    "division",
    type=_division_type,
    numpy="np.divmod({0}, {1})",
    exact=_exact_division,
    batch=lined_up(),
    doc="Quotient and remainder of integers.",
)


# --- what the lines of a program may call --------------------------------------------------------------------


def emit(name: str, *operands: Any, like: Any = None, **attrs: Any) -> Any:
    """Apply one op directly: as a node on traced values, by its NumPy meaning on arrays."""
    world = next((x.world for x in (*operands, like) if isinstance(x, Traced)), None)
    if world is None:
        return evaluate(ops.lookup(name), [np.asarray(x) for x in operands], attrs)
    return world.apply(name, [lift(x, world) for x in operands], **{key: _plain(value) for key, value in attrs.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return as_size(value) if isinstance(value, SymbolicSize) else value


def part(x: Any, step: int = 1) -> tuple[Any, ...]:
    """A slice index: all but the first element of axis 0, or the axis backwards; the other axes whole."""
    first = (1, x.shape[0], 1) if step > 0 else (x.shape[0] - 1, None, -1)
    return (first, *((0, d, 1) for d in x.shape[1:]))


def within(x: Any) -> tuple[Any, ...]:
    """Where `x` lies in an array longer by two along axis 0."""
    return ((1, x.shape[0] + 1, 1), *((0, d, 1) for d in x.shape[1:]))


def longer(x: Any) -> tuple[Any, ...]:
    return (x.shape[0] + 2, *x.shape[1:])


def divided(a: Any, b: Any, index: int) -> Any:
    """One result of a node with two."""
    return emit("get", emit("division", a, b), index=index) if isinstance(a, Traced) else np.divmod(a, b)[index]


def all_axes(x: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim))


def words(key: Any) -> list[Any]:
    """The words of a key as 64-bit numbers."""
    return [key[k].astype(np.uint64) for k in range(4)]


def definite(x: Any) -> Any:
    """A positive definite matrix of moderate condition, of which no two eigenvalues are near each other."""
    t = np.tanh(np.nan_to_num(np.reshape(x, (x.shape[0] if x.ndim else 1, -1)))) / 8
    count = np.cumsum(np.ones_like(t @ t.T), axis=0)
    return t @ t.T / (1 + x.size) + np.eye(t.shape[0], dtype=t.dtype, like=t) * count


NAMES: Final[dict[str, Any]] = {
    "np": np, "special": scipy.special, "emit": emit, "part": part, "within": within, "longer": longer,
    "divided": divided, "all_axes": all_axes, "random": graphc.random, "words": words,
    "definite": definite,
}  # fmt: skip

# Kinds of operands: f float, i signed integer, n number, b bool, a any. A placeholder that is no operand's number is
# drawn: c literal, e exponent, t dtype, k an axis of operand 0, K some axes of it, o True or False, p a permutation of
# its axes, x positions along its first axis, s a size.
Row = tuple[str, str]
UNARY: Final = (
    "np.sin({0})", "np.cos({0})", "np.tanh({0})", "np.exp({0})", "np.expm1({0})", "special.erf({0})",
    "special.expit({0})", "np.log(np.abs({0}) + 0.5)", "np.log({0})", "np.log1p(np.abs({0}))", "np.log1p({0})",
    "np.sqrt(np.abs({0}))", "np.sqrt({0})", "emit('sigmoid', {0})", "emit('softplus', {0})",
    "emit('log1mexp', np.abs({0}) + 0.25)", "emit('log1mexp', {0})", "emit('sin_arctan', {0})",
    "emit('cos_arctan', {0})", "np.tan({0})", "np.reciprocal({0})", "np.sign({0})",
)  # fmt: skip
ELEMENTWISE: Final[tuple[Row, ...]] = (
    *(("f", text) for text in UNARY),
    ("n", "np.exp({0})"),
    ("n", "np.sqrt({0})"),
    *(("n", text) for text in ("-{0}", "np.abs({0})", "np.sign({0})", "np.square({0})", "{0} * {c}", "{c} - {0}")),
    *(("n", text) for text in ("{0} + {c}", "{0} / {c}", "{c} / {0}", "{0} ** {e}", "np.clip({0}, -1, 2)")),
    ("n", "emit('integer_pow', {0}, exponent={e})"),
    *(("aa", f"{{0}} {sign} {{1}}") for sign in ("+", "*", "<", "<=", ">", ">=", "==", "!=")),
    *(("nn", f"{{0}} {sign} {{1}}") for sign in ("-", "/", "//", "%")),
    *(("ff", f"{{0}} {sign} {{1}}") for sign in ("+", "-", "*", "/", "//", "%")),
    *(("aa", f"np.{name}({{0}}, {{1}})") for name in ("maximum", "minimum")),
    *(("ff", f"np.{name}({{0}}, {{1}})") for name in ("hypot", "logaddexp", "maximum", "minimum")),
    ("ff", "np.power(np.abs({0}) + 0.5, {1})"),
    ("ff", "{0} ** {1}"),
    ("ii", "np.power({0}, np.abs({1}) % 4)"),
    ("ii", "divided({0}, {1}.astype({0}.dtype), 0) - divided({0}, {1}.astype({0}.dtype), 1)"),
    ("i", "divided({0}, {0} // 2 + 1, 0)"),
    ("bnn", "np.where({0}, {1}, {2})"),
    ("baa", "np.where({0}, {1}, {2})"),
    ("ff", "np.where({0} > 0, {0}, {1})"),
    ("f", "np.where({0} > 0, np.log({0}), 0)"),
    ("f", "np.where({0} != 0, np.sin({0}) / {0}, 1)"),
    *(("bb", text) for text in ("{0} & {1}", "np.logical_and({0}, {1})", "{0} | {1}", "{0} ^ {1}")),
    ("aa", "np.logical_or({0}, {1})"),
    ("b", "~{0}"),
    ("a", "np.logical_not({0})"),
    ("n", "{0} > {c}"),
    ("f", "np.isnan({0})"),
    ("f", "np.isfinite({0})"),
    ("a", "{0}.astype({t})"),
    ("a", "emit('identity', {0})"),
    ("f", "emit('stop_gradient', {0})"),
)
REDUCTIONS: Final[tuple[Row, ...]] = (
    *(("n", f"np.{name}({{0}}, axis={{K}}, keepdims={{o}})") for name in ("sum", "prod", "max", "min", "mean")),
    *(("f", f"np.{name}({{0}}, axis={{K}}, keepdims={{o}})") for name in ("sum", "max", "min", "std", "var")),
    *(("a", f"np.{name}({{0}})") for name in ("sum", "any", "all", "max")),
    *(("b", f"np.{name}({{0}}, axis={{K}}, keepdims={{o}})") for name in ("any", "all")),
    *(("f", f"emit('{name}', {{0}}, axes={{K}}, keepdims={{o}})") for name in ("reduce_norm", "logsumexp")),
    *(("f", f"emit('{name}', {{0}}, axes={{K}})") for name in ("softmax", "log_softmax")),
    *(("n", f"emit('{name}', {{0}}, axes={{K}}, keepdims={{o}})") for name in ("reduce_sum", "reduce_prod")),
    ("f", "np.linalg.norm({0})"),
    *(("n", f"np.{name}({{0}}, axis={{k}})") for name in ("argmax", "argmin", "cumsum")),
    ("n", "emit('cumsum', {0}, axis={k}, reverse={o})"),
)
SHAPING: Final[tuple[Row, ...]] = (
    ("a", "np.reshape({0}, -1)"),
    ("a", "{0}.reshape({0}.shape[::-1])"),
    ("a", "np.transpose({0}, {p})"),
    ("a", "np.expand_dims({0}, {k})"),
    ("a", "np.squeeze({0})"),
    ("a", "np.swapaxes({0}, 0, {k})"),
    ("a", "{0}[None]"),
    ("a", "np.broadcast_to({0}, (2, *{0}.shape))"),
    ("aa", "np.concatenate([{0}, {1}], axis={k})"),
    ("aa", "np.stack([{0}, {1}])"),
    ("a", "np.flip({0}, {k})"),
    ("n", "np.diff({0}, axis={k})"),
    ("a", "{0}[1:]"),
    ("a", "{0}[::-1]"),
    ("a", "{0}[..., ::2]"),
    ("a", "{0}[-1]"),
    ("a", "emit('slice', {0}, index=part({0}, {s}))"),
    ("n", "emit('unslice', {0}, index=within({0}), shape=longer({0}))"),
    ("n", "emit('insert_slice', {0}, -emit('slice', {0}, index=part({0}, {s})), index=part({0}, {s}))"),
    ("n", "np.negative({0}, out=np.zeros_like({0}))"),
    ("a", "{0}[{x}]"),
    ("ai", "np.take({0}, {1} % {0}.shape[0], axis=0)"),
    ("n", "emit('scatter_add', {0}[{x}], {x}, axis=0, shape={0}.shape)"),
    ("n", "emit('scatter_add', emit('gather', {0}, {x}, axis=0), {x}, axis=0, shape=longer({0}))"),
    ("a", "emit('last_write', {x}, like={0}, shape={0}.shape[:1])"),
    ("n", "{0} * {0}.shape[0]"),
    ("n", "{0} + {0}.size"),
    ("f", "{0} + emit('iota', like={0}, size={0}.shape[-1], dtype={0}.dtype)"),
    ("f", "np.sin({0} * emit('pi', like={0}, dtype={0}.dtype))"),
    ("f", "{0} * np.array([0.5, -2.0])[:, None]"),
    ("n", "np.zeros_like({0}) + np.ones_like({0})"),
)
FUNCTIONS: Final = (
    "np.arcsin(np.tanh({0}))", "np.arccos(np.sin({0}))",
    "emit('cos_arcsin', np.tanh({0}))", "emit('sinh_arccosh', np.abs({0}) + 1.5)", "emit('sech2', {0})",
    "emit('xlogx', np.abs({0}))",
    "np.arctan({0})", "np.sinh({0})", "np.cosh({0})", "np.arcsinh({0})", "np.arccosh(np.abs({0}) + 1.5)",
    "np.arctanh(np.tanh({0}))", "np.deg2rad({0})", "np.rad2deg({0})", "emit('sinc', {0})", "np.exp2({0})",
    "np.log2(np.abs({0}) + 0.25)", "np.log10(np.abs({0}) + 0.25)", "np.cbrt({0})", "np.floor({0})", "np.ceil({0})",
    "np.trunc({0})", "np.rint({0})", "np.ldexp({0}, 2)", "emit('erfc', {0})", "emit('log_cosh', {0})",
    "emit('log_erfc', {0})", "special.erfcx(np.abs({0}))",
    "special.erfinv(0.5 * np.tanh({0}))", "special.erfcinv(special.expit({0}) + 0.25)", "emit('ndtr', {0})",
    "emit('log_ndtr', {0})", "special.ndtri(0.5 * special.expit({0}) + 0.25)", "special.logit(special.expit({0}))",
    "special.gamma(np.abs({0}) + 0.5)", "emit('gammaln', np.abs({0}) + 0.5)", "special.psi(np.abs({0}) + 0.5)",
    "emit('polygamma', np.abs({0}) + 0.5, order=1)", "emit('bessel_i', {0}, order=1)",
    "emit('bessel_k', np.abs({0}) + 0.5, order=1)", "emit('bessel_ke', np.abs({0}) + 0.5, order=1)",
    "emit('exprel', {0}, order=1)", "special.exp1(np.abs({0}) + 0.5)", "special.erfi(np.sin({0}))",
    "special.dawsn({0})", "emit('fresnel_sine', 9.0 * np.tanh({0}))", "emit('fresnel_cosine', 9.0 * np.tanh({0}))",
    "emit('bessel_ie', {0}, order=1)",
    "emit('bessel_j', {0}, order=1)", "emit('spherical_jn', {0}, order=1)",
)  # fmt: skip
SPECIAL: Final[tuple[Row, ...]] = (
    *(("f", text) for text in FUNCTIONS),
    *(("ff", f"np.{name}({{0}}, {{1}})") for name in ("arctan2", "logaddexp2", "copysign", "heaviside", "fmod")),
    *(("nn", f"np.{name}({{0}}, {{1}})") for name in ("fmax", "fmin", "fmod")),
    ("ff", "special.xlogy({0}, np.abs({1}) + 0.25)"),
    ("ff", "special.xlog1py({0}, np.abs({1}))"),
    ("fi", "np.ldexp({0}, {1} % 3)"),
    ("ff", "emit('share', *np.broadcast_arrays({0}, {1}))"),
    ("ff", "emit('gap', *np.broadcast_arrays({0}, {1}))"),
    ("f", "emit('average_ties', np.sin({0}), np.sort(np.rint({0}), axis={k}), axis={k})"),
    ("f", "np.signbit({0})"),
    ("n", "np.sort({0}, axis={k})"),
    ("n", "np.argsort({0}, axis={k}, stable=True)"),
    ("n", "np.cumprod({0}, axis={k})"),
    ("n", "emit('cumprod', {0}, axis={k}, reverse={o})"),
    *(("n", f"np.{name}.accumulate({{0}}, axis={{k}})") for name in ("maximum", "minimum")),
    ("f", "np.frexp({0})[0]"),
    ("n", "np.searchsorted(np.array([-1.0, 0.0, 2.0]), {0})"),
    ("f", "np.nansum({0}, axis={K}, keepdims={o})"),
    ("f", "np.median({0}, axis={k})"),
)
INTEGERS: Final[tuple[Row, ...]] = (
    *(("ii", f"np.{name}({{0}}, {{1}})") for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm")),
    *(("ii", f"np.{name}({{0}}, np.abs({{1}}) % 3)") for name in ("left_shift", "right_shift")),
    *(("i", f"np.{name}({{0}})") for name in ("invert", "bitwise_count")),
    *(("i", f"{{0}} {sign} {{0}}") for sign in ("&", "|")),
)
PRODUCTS: Final[tuple[Row, ...]] = (
    ("nn", "np.matmul({0}, {1})"),
    ("ff", "{0} @ {1}.T"),
    ("f", "{0}.T @ {0}"),
    ("nn", "np.dot({0}, {1})"),
    ("ff", "np.outer({0}, {1})"),
    ("ff", "np.inner({0}, {1})"),
)
MATRICES: Final[tuple[Row, ...]] = (
    ("f", "np.linalg.solve(definite({0}), definite({0})[0])"),
    ("f", "emit('solve_triangular', definite({0}), definite({0}), lower={o}, unit={o})"),
    *(
        ("f", f"np.linalg.{name}(definite({{0}}))")
        for name in ("inv", "det", "pinv", "cholesky", "eigvalsh", "svdvals")
    ),
    *(("f", f"emit('{name}', definite({{0}}))") for name in ("cofactor", "svd_vectors", "qr_q", "qr_r")),
    ("f", "np.linalg.slogdet(definite({0}))[1] + np.linalg.slogdet(definite({0}))[0]"),
    ("f", "np.linalg.eigh(definite({0}))[1]"),
)
# Formulas that the simplifying and stabilising rewrites look for.
IDIOMS: Final[tuple[Row, ...]] = (
    ("f", "np.log(1 + np.exp({0}))"),
    ("f", "1 / (1 + np.exp(-{0}))"),
    ("ff", "{1} / (1 + np.exp({0}))"),
    ("f", "np.exp({0}) / (1 + np.exp({0}))"),
    ("ff", "np.exp({0}) / (np.exp({0}) + np.exp({1}))"),
    ("ff", "np.exp({0}) / np.exp({1})"),
    ("f", "np.abs({0}) * np.log(np.abs({0}))"),
    ("f", "-np.abs({0}) * np.log(np.abs({0}))"),
    ("f", "1 - np.tanh({0}) ** 2"),
    ("f", "np.sqrt(1 - np.sin({0}) ** 2)"),
    ("ff", "np.hypot({0}, {1}) ** 2"),
    ("f", "np.linalg.norm({0}, axis={k}) ** 2"),
    ("ff", "np.sqrt({0} * {0} + {1} * {1} + 0.25 * {0} * {0})"),
    ("f", "np.abs({0}) * np.abs({0})"),
    ("f", "np.exp({0}) / np.sum(np.exp({0}), axis={K}, keepdims=True)"),
    ("f", "np.log(np.exp({0}) / np.sum(np.exp({0}), axis={K}, keepdims=True))"),
    ("f", "np.log(np.sum(np.exp({0}), axis={K}, keepdims={o}))"),
    ("f", "np.log(np.mean(np.exp({0}), axis={K}, keepdims={o}))"),
    ("f", "np.log(np.exp({0}))"),
    ("f", "np.log(1 - np.exp(-np.abs({0}) - 0.25))"),
    ("f", "np.log(1 - special.expit({0}))"),
    ("f", "np.log(special.expit({0}))"),
    ("f", "np.exp({0}) - 1"),
    ("f", "1 - np.exp({0})"),
    ("f", "1 - special.expit({0})"),
    ("f", "(np.exp({0}) - np.exp(-{0})) / (np.exp({0}) + np.exp(-{0}))"),
    ("f", "(np.exp({0}) - 1) / (np.exp({0}) + 1)"),
    ("ff", "np.log(np.exp({0}) + np.exp({1}))"),
    ("ff", "np.log((np.exp({0}) + np.exp({1})) / 2)"),
    ("f", "{0} - np.log(np.sum(np.exp({0}), axis={K}, keepdims=True))"),
    ("f", "emit('softmax', {0} - np.max({0}, axis={k}, keepdims=True), axes=({k},))"),
    ("f", "np.sqrt({0} * {0})"),
    ("ff", "np.sqrt({0} * {0} + {1} * {1})"),
    ("f", "np.sqrt({0} * {0} + 2.0)"),
    ("f", "{0} / np.sqrt({0} * {0} + 1)"),
    ("ff", "{1} / np.sqrt({0} * {0} + 1)"),
    ("f", "1 / np.sqrt({0} * {0} + 1)"),
    ("f", "np.sqrt(np.sum({0} * {0}, axis={K}, keepdims={o}))"),
    ("f", "np.sqrt(np.mean({0} * {0}, axis={K}, keepdims={o}))"),
    ("f", "np.sqrt(np.abs({0}) + 1) - np.sqrt(np.abs({0}))"),
    ("f", "1 - np.cos({0})"),
    ("n", "-(-{0})"),
    ("nn", "{0} - -{1}"),
    ("nn", "-{0} * -{1}"),
    ("ff", "-{0} / -{1}"),
    ("n", "np.abs(-{0})"),
    ("bff", "np.where(~{0}, {1}, {2})"),
    ("bff", "np.where({0}, np.where({0}, {1}, {2}), {1})"),
    ("a", "{0}.T.T"),
    ("a", "np.reshape(np.reshape({0}, -1), {0}.shape)"),
    ("f", "np.sum({0}, axis={k}).reshape(*np.expand_dims(np.sum({0}, axis={k}), {k}).shape)"),
)
KEY: Final = "random.key(np.sum({0}))"
RANDOM: Final[tuple[Row, ...]] = (
    ("i", "emit('random_word', *[np.abs({0}).astype(np.uint64)] * 5, bits=32)"),
    ("i", f"random.bits({KEY}, {{0}}.shape, np.uint8)"),
    ("i", f"random.integers({KEY}, {{0}}.shape, -3, 6)"),
    ("ii", f"random.integers({KEY}, None, -np.abs({{1}}), np.abs({{0}}) + 9, np.int32)"),
    ("i", f"random.permutation({KEY}, {{0}}.shape[0])"),
    ("ia", f"random.permutation({KEY}, {{1}}, independent={{o}})"),
    ("ia", f"random.choice({KEY}, {{1}}, 2)"),
    ("i", f"random.split({KEY}) % 7"),
    ("i", f"random.fold_in({KEY}, {{0}}) % 7"),
    ("i", f"random.bernoulli({KEY}, 0.3, {{0}}.shape)"),
    ("i", f"random.normal({KEY}, {{0}}.shape, np.float32)"),
    ("if", f"random.uniform({KEY}, None, {{1}}.dtype, {{1}}, np.abs({{1}}) + 1)"),
    ("i", f"emit('random_word', np.abs({{0}}).astype(np.uint64), *words({KEY}), bits=8)"),
    ("fff", "emit('lerp', {0}, {1}, {2})"),
)
ROWS: Final = (ELEMENTWISE, REDUCTIONS, SHAPING, PRODUCTS, IDIOMS, SPECIAL, INTEGERS, RANDOM, MATRICES)
WEIGHTS: Final = (10, 4, 5, 2, 4, 6, 3, 3, 2)
# Their lowering is not NumPy's own sequence of operations, or sums in another order: not bitwise NumPy.
# A power of a NumPy scalar is not computed by the loop for arrays.
INEXACT: Final = ("definite", "median", "norm", "@", "matmul", "dot", "inner", "**")
LITERALS: Final = ("0", "1", "-1", "2", "0.5", "1.0", "-1.0", "0.0", "-0.0", "3", "1.5", "2.0", "np.float32(0.25)")
PYTHON: Final = (bool, int, float)
DTYPES: Final = ("np.float64", "np.float32", "np.int64", "np.int32", "bool", "np.float64")
EXPONENTS: Final = ("0", "1", "2", "3", "-1", "-2", "5", "0.5")


@dataclass(frozen=True, slots=True)
class Argument:
    """One input: its type in the text form of the IR, and the value it is tried on (a Python number if weak)."""

    type: TensorType
    value: Any


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a program: an expression in which {0}, {1}, ... are the operands, earlier values by position."""

    text: str
    operands: tuple[int, ...]

    def run(self, values: list[Any]) -> Any:
        return _function(self.text, len(self.operands))(*[values[k] for k in self.operands])

    def __str__(self) -> str:
        return self.text.format(*[f"v{k}" for k in self.operands])


@lru_cache(maxsize=50_000)
def _function(text: str, count: int) -> Callable[..., Any]:
    names = [f"x{k}" for k in range(count)]
    return eval(f"lambda {', '.join(names)}: {text.format(*names)}", dict(NAMES))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Program:
    """A function of arrays: arguments are values 0, 1, ..., lines give the next ones."""

    seed: int
    arguments: tuple[Argument, ...]
    lines: tuple[Line, ...]
    outputs: tuple[int, ...]
    sizes: tuple[tuple[str, int], ...] = ()
    hinted: bool = False

    @property
    def values(self) -> list[Any]:
        return [a.value for a in self.arguments]

    @property
    def exact(self) -> bool:
        """Whether NumPy itself does exactly what the graph says."""
        return not any(name in line.text for line in self.lines for name in INEXACT)

    def all_values(self, *arguments: Any) -> list[Any]:
        values = list(arguments)
        for line in self.lines:
            values.append(line.run(values))
        return values

    def __call__(self, *arguments: Any) -> tuple[Any, ...]:
        values = self.all_values(*arguments)
        return tuple(values[o] for o in self.outputs)

    def trace(self) -> Graph:
        hints = dict(self.sizes) if self.hinted else None
        return trace_call(lambda *xs: self(*xs), tuple(a.type for a in self.arguments), {}, hints).graph

    def __str__(self) -> str:
        """The program as Python source."""
        shown = [f"# seed {self.seed}" + "".join(f", {n} = {d}" for n, d in self.sizes)]
        names = []
        for k, a in enumerate(self.arguments):
            names.append(f"v{k}")
            shown.append(f"# v{k}: {a.type} = {_literal(a.value)}")
        shown.append(f"def program({', '.join(names)}):")
        shown.extend(f"    v{k} = {line}" for k, line in enumerate(self.lines, len(self.arguments)))
        shown.append(f"    return {', '.join(f'v{o}' for o in self.outputs)}")
        return "\n".join(shown)


def _literal(value: Any) -> str:
    return repr(value) if not isinstance(value, np.ndarray) else f"{value.tolist()} {value.dtype}{list(value.shape)}"


# --- drawing -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A line on which NumPy and the tracer differ: one refuses it, or the types of their results differ."""

    program: Program
    what: str


class Draw:
    """Draws one program from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.seed = seed
        self.empty = rng.random() < 0.15
        self.special = rng.random() < 0.15
        self.sizes: dict[str, int] = {}
        self.dims: list[Any] = [rng.choice((0, 1, 2) if self.empty and k == 0 else (1, 2, 3)) for k in range(2)]
        if self.empty and rng.random() < 0.8:
            self.dims[0] = 0
        if rng.random() < 0.3:
            for k, name in enumerate(("n", "m")):
                if rng.random() < 0.7 and self.dims[k] != 1:
                    self.sizes[name] = self.dims[k]
                    self.dims[k] = symbolic_size(name)
        self.hinted = bool(self.sizes) and rng.random() < 0.5
        self.arguments: list[Argument] = []
        self.lines: list[Line] = []
        self.values: list[Any] = []
        self.traced: list[Any] = []
        self.disagreement: Disagreement | None = None
        self.over = False

    def program(self) -> Program | None:
        """The program; None if it is not worth running: no float in or out, or guards that its sizes break."""
        rng = self.rng
        with tracing("program", self.sizes if self.hinted else None) as world, np.errstate(all="ignore"):
            for k in range(rng.choice((1, 2, 2, 3))):
                argument = self.argument(first=k == 0)
                self.arguments.append(argument)
                self.values.append(argument.value)
                self.traced.append(Traced(world, world.builder.input(f"x{k}", argument.type)))
            wanted = rng.choice((4, 6, 8, 9, 10, 12, 14))
            for _ in range(4 * wanted):
                if len(self.lines) >= wanted or self.disagreement or self.over:
                    break
                self.step()
        if not self.lines or self.disagreement:
            return None
        program = self.finished()
        graph = program.trace()
        if mismatch(
            graph,
            [TensorType(np.shape(v), t.dtype, t.weak) for v, t in zip(program.values, graph.input_types, strict=True)],
        ):
            return None
        return program if any(t.differentiable for t in graph.output_types) else None

    def finished(self) -> Program:
        """Outputs are the values that nothing uses, the latest first, and at times another or one twice."""
        used = {k for line in self.lines for k in line.operands}
        start = len(self.arguments)
        ends = [k for k in range(start, len(self.values)) if k not in used][::-1][:4]
        if self.rng.random() < 0.2:
            ends.append(self.rng.randrange(len(self.values)))
        if self.rng.random() < 0.05:
            ends.append(ends[0])
        return Program(
            self.seed, tuple(self.arguments), tuple(self.lines), tuple(ends), tuple(self.sizes.items()), self.hinted
        )

    def argument(self, first: bool) -> Argument:
        rng = self.rng
        if not first and rng.random() < 0.08:
            return Argument(type_of(0.0), rng.choice((0.0, 1.0, -2.5, 0.3)))
        name = (
            "f64"
            if first and rng.random() < 0.7
            else rng.choice(("f64", "f64", "f32", "f32", "i64", "i32", "u8", "bool"))
        )
        if first and name[0] != "f":
            name = "f32"
        a, b = self.dims
        shape: tuple[Any, ...] = rng.choice(((a, b), (a, b), (b,), (a, 1), (b, a), (1, b), (), (2, a, b)))
        type = type_of(f"{name}[{','.join(map(str, shape))}]")
        sizes = tuple(self.sizes[str(d)] if isinstance(d, Dim) else int(d) for d in type.shape)
        return Argument(type, self.array(sizes, type.dtype))

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        rng = self.rng
        count = int(np.prod(shape, dtype=int))
        if dtype.kind == "b":
            values: list[Any] = [rng.random() < 0.5 for _ in range(count)]
        elif dtype.kind in "iu":
            values = [rng.randrange(0 if dtype.kind == "u" else -4, 7) for _ in range(count)]
        else:
            scale = rng.choice((1.0, 1.0, 1.0, 3.0, 0.01, 40.0, 1000.0))
            round_values = rng.random() < 0.3
            values = [
                rng.choice((0.0, 1.0, -1.0, 2.0, 0.5)) if round_values else rng.gauss(0, scale) for _ in range(count)
            ]
            if self.special:
                odd = (float("nan"), float("inf"), float("-inf"), -0.0)
                values = [rng.choice(odd) if rng.random() < 0.3 else v for v in values]
        return np.array(values, dtype).reshape(shape)

    def step(self) -> None:
        rng = self.rng
        kinds, text = rng.choice(rng.choices(ROWS, WEIGHTS)[0])
        operands = []
        for kind in kinds:
            choice = self.operand(kind)
            if choice is None:
                return
            operands.append(choice)
        if all(type(self.values[k]) in PYTHON for k in operands):
            return  # NumPy has no part in this
        if "emit" in text and any(self.traced[k].type.weak for k in operands):
            return
        filled = self.fill(text, operands)
        if filled is not None:
            self.try_line(Line(filled, tuple(operands)))

    def operand(self, kind: str) -> int | None:
        """An earlier value of the kind: mostly a tame one, mostly late."""
        allowed = {"f": "f", "i": "i", "n": "iuf", "b": "b", "a": "biuf"}[kind]
        found = [k for k, t in enumerate(self.traced) if t.type.dtype.kind in allowed]
        if self.rng.random() < 0.85:
            found = [k for k in found if _tame(self.values[k])] or found
        return None if not found else found[-1 - min(int(self.rng.expovariate(0.5)), len(found) - 1)]

    def fill(self, text: str, operands: list[int]) -> str | None:
        """The row with its drawn parts in place; None if operand 0 has no axis where one is needed."""
        rng, first = self.rng, np.shape(self.values[operands[0]])
        rank = len(first)
        needs_axis = any(p in text for p in ("{k}", "{x}", "part", "within", "shape[", "[1:]", "[::", "[-1]", "[..."))
        if needs_axis and not rank:
            return None
        drawn = {
            "c": rng.choice(LITERALS), "e": rng.choice(EXPONENTS), "t": rng.choice(DTYPES),
            "o": rng.choice((True, False)),
            "s": rng.choice((1, -1)), "k": rng.randrange(rank) if rank else 0,
            "K": tuple(k for k in range(rank) if rng.random() < 0.6),
            "p": tuple(rng.sample(range(rank), rank)),
        }  # fmt: skip
        if ("{x}" in text or "part(" in text) and not first[0]:
            return None
        if "{x}" in text:
            drawn["x"] = f"np.array({[rng.randrange(-first[0], first[0]) for _ in range(rng.choice((1, 2, 3)))]})"
        if "integer_pow" in text and drawn["e"] == "0.5":
            return None
        for name, value in drawn.items():
            text = text.replace("{" + name + "}", str(value))
        return text

    def try_line(self, line: Line) -> None:
        try:
            value = line.run(self.values)
        except (ZeroDivisionError, OverflowError, AttributeError):
            return  # a Python number is no array
        except (ValueError, TypeError, IndexError) as error:
            self.refused_too(line, error)
            return
        if np.size(value) > 60 or np.ndim(value) > 4 or np.asarray(value).dtype not in DTYPE_NAMES:
            return
        try:
            traced = line.run(self.traced)
        except (UnsupportedError, TraceError):
            return
        except Exception as error:  # whatever it is, NumPy gave a result
            if isinstance(error, (ShapeError, DTypeError)) and (self.sizes or "emit" in line.text):
                return
            if "Integers to negative" in str(error):
                return  # NumPy refuses that only where there are elements
            self.disagree(line, f"NumPy gives {_literal(value)}, the trace raises {type(error).__name__}: {error}")
            return
        if not isinstance(traced, Traced):
            return
        if self.broken_guards(traced.world):
            return
        want, have = traced.type, np.asarray(value)
        weak = isinstance(value, PYTHON) and not isinstance(value, np.generic)
        if want.dtype != have.dtype or want.ndim != have.ndim or (want.weak and not weak and have.ndim):
            self.disagree(line, f"NumPy gives {have.dtype}{list(have.shape)}, the trace {want}")
            return
        self.lines.append(line)
        self.values.append(value)
        self.traced.append(traced)

    def broken_guards(self, world: TracingWorld) -> bool:
        """Whether the line made the trace assume sizes that the drawn ones break; then it ends the program."""
        self.over = not all(guard.holds(self.sizes) for guard in world.builder.guards)
        return self.over

    def refused_too(self, line: Line, error: Exception) -> None:
        """What NumPy refuses on static sizes the trace must refuse."""
        if self.sizes or "emit" in line.text or "not subscriptable" in str(error) or "np.take" in line.text:
            return
        try:
            traced = line.run(self.traced)
        except (GraphcError, ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError):
            return
        self.disagree(line, f"NumPy raises {type(error).__name__}: {error}; the trace gives {traced!r}")

    def disagree(self, line: Line, what: str) -> None:
        program = Program(
            self.seed, tuple(self.arguments), (*self.lines, line), (len(self.values),), tuple(self.sizes.items())
        )
        self.disagreement = Disagreement(sliced(program), what)


def symbolic_size(name: str) -> Any:
    return type_of(f"f64[{name}]").shape[0]


def _tame(value: Any) -> bool:
    array = np.asarray(value)
    return array.dtype.kind != "f" or bool(array.size == 0 or (np.isfinite(array).all() and np.abs(array).max() < 50))


def draw(seed: int) -> Program | Disagreement | None:
    """The program of a seed; None if the seed gives none worth running."""
    one = Draw(seed)
    program = one.program()
    return one.disagreement or program


# --- making failures small -----------------------------------------------------------------------------------


def sliced(program: Program) -> Program:
    """The program without what its outputs do not need."""
    start = len(program.arguments)
    live = set(program.outputs)
    for k in range(start + len(program.lines) - 1, start - 1, -1):
        if k in live:
            live.update(program.lines[k - start].operands)
    kept = sorted(live)
    position = {k: i for i, k in enumerate(kept)}
    return replace(
        program,
        arguments=tuple(program.arguments[k] for k in kept if k < start),
        lines=tuple(
            Line(program.lines[k - start].text, tuple(position[o] for o in program.lines[k - start].operands))
            for k in kept
            if k >= start
        ),
        outputs=tuple(position[o] for o in program.outputs),
    )


def smaller(program: Program) -> Iterator[Program]:
    """Programs with less: one output, an earlier output, a line turned into an argument of its value."""
    start = len(program.arguments)
    if len(program.outputs) > 1:
        for o in program.outputs:
            yield sliced(replace(program, outputs=(o,)))
    for k in range(start, start + len(program.lines) - 1):
        yield sliced(replace(program, outputs=(k,)))
    with np.errstate(all="ignore"):
        values = program.all_values(*program.values)
    for k in range(start + len(program.lines) - 1, start - 1, -1):
        if k not in program.outputs:
            yield cut(program, k, values)


def cut(program: Program, at: int, values: list[Any]) -> Program:
    """The program with one line's value given as its last argument."""
    start = len(program.arguments)

    def moved(k: int) -> int:
        return k if k < start else start if k == at else k + 1 if k < at else k

    value = np.asarray(values[at])
    lines = [
        Line(line.text, tuple(map(moved, line.operands))) for k, line in enumerate(program.lines, start) if k != at
    ]
    return sliced(
        replace(
            program,
            arguments=(*program.arguments, Argument(TensorType(value.shape, value.dtype), value)),
            lines=tuple(lines),
            outputs=tuple(map(moved, program.outputs)),
        )
    )


def shrink(program: Program, fails: Callable[[Program], bool]) -> Program:
    """The smallest program found that still fails."""
    for _ in range(60):
        for candidate in smaller(program):
            try:
                failing = fails(candidate)
            except Exception:  # a candidate that cannot be built is no smaller failure
                failing = False
            if failing:
                program = candidate
                break
        else:
            return program
    return program
