"""Mutants of the op table: every field of every record dropped, and changed in the ways that people get it wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc.errors import GraphcError
from graphc.inspection.counting import work_of
from graphc.ir import DTYPES, Builder, TensorType
from graphc.ops import TABLE
from graphc.ops.batching import leading, rule_of
from graphc.ops.record import ErrorSample, Linear, Masked, Multilinear, Op, Partials, Sample
from graphc.ops.world import GraphWorld, Value
from graphc.verification.cases import cases

F32, F64, I64, BOOL = (np.dtype(t) for t in (np.float32, np.float64, np.int64, np.bool_))


@dataclass(frozen=True, slots=True)
class Mutant:
    """A record that differs from the table's in one field."""

    name: str
    field: str
    kind: str
    op: Op

    def __str__(self) -> str:
        return f"{self.name}.{self.field}: {self.kind}"


def mutants(name: str) -> Iterator[Mutant]:
    """Every mutant of a record, but for those that mean the same."""
    op = TABLE[name]
    for one in dataclasses.fields(op):
        for kind, value in MUTATIONS[one.name](op):
            if equivalent(op, one.name, kind) is None:
                yield Mutant(name, one.name, kind, dataclasses.replace(op, **{one.name: value}))


# --- mutants that mean the same ------------------------------------------------------------------------------

SYMMETRIC: Final = frozenset(
    {
        *("add", "mul", "eq", "ne", "logical_and", "logical_or", "maximum", "minimum", "hypot", "logaddexp"),
        *("logaddexp2", "fmax", "fmin", "bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm"),
    }
)
# Results that no rounding touches: for these `ulps` could be 0.
EXACT: Final = frozenset(
    {
        *("const", "dim", "iota", "floor_divide", "neg", "abs", "sign", "identity", "stop_gradient", "where"),
        *("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "maximum", "minimum"),
        *("reduce_max", "reduce_min", "reduce_any", "reduce_all", "reshape", "transpose", "broadcast_to"),
        *("concatenate", "slice", "unslice", "insert_slice", "get", "gather"),
        *(
            "exponent",
            "floor",
            "ceil",
            "trunc",
            "rint",
            "fmod",
            "copysign",
            "heaviside",
            "signbit",
            "ldexp",
            "fmax",
            "fmin",
        ),
        *("bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift", "bitwise_count"),
        *("gcd", "lcm", "sort", "argsort", "argmax", "det_sign", "argmin", "searchsorted", "cummax", "cummin"),
        "last_write",
        *("random_bits", "random_word", "random_below", "random_order", "derived_key"),
    }
)
UNREAD: Final = "the derivative follows from the types and does not read the attribute"
EQUIVALENT: Final[Mapping[tuple[str, str, str], str]] = {
    ("add", "rule", "swapped"): "both partials are 1",
    ("floor_divide", "rule", "swapped"): "both partials are absent",
    ("abs", "numpy", "of another operand"): "the function is even",
    ("cos", "numpy", "of another operand"): "the function is even",
    ("cosh", "numpy", "of another operand"): "the function is even",
    ("argsort", "exact", "stable off"): "the exact meaning is stable either way",
    ("copysign", "numpy", "wrong function"): "that is its meaning",
    ("identity", "numpy", "the operand"): "that is its meaning",
    ("stop_gradient", "numpy", "the operand"): "that is its meaning",
    ("identity", "numpy", "dropped"): "no name before (x) is x",
    ("stop_gradient", "numpy", "dropped"): "no name before (x) is x",
    ("iota", "exact", "dtype off"): "exact values have no dtype",
    ("pi", "exact", "dtype off"): "exact values have no dtype",
    ("cast", "rule", "transpose dtype off"): UNREAD,
    ("cast", "rule", "transpose weak off"): UNREAD,
    ("reduce_prod", "rule", "keepdims off"): UNREAD,
    ("pinv", "rule", "rcond off"): UNREAD,
    ("pinv", "exact", "rcond off"): "the exact meaning is that of full rank",
    **{
        ("last_write", "domains", f"{k} wider"): "every sample names its indices: nothing is drawn from the set"
        for k in (0, 1)
    },
    **{
        (name, "domains", "0 narrower"): "domains are tried with all elements equal, which makes a matrix singular"
        for name in ("solve", "log_abs_det", "cholesky")
    },
    ("eigh_vectors", "batch", "rows reversed"): "the rows it is tried with are multiples, which share their vectors",
    **{(name, "rule", "transpose shape off"): UNREAD for name in ("reshape", "broadcast_to", "unslice", "scatter_add")},
}


def equivalent(op: Op, field: str, kind: str) -> str | None:
    """Why a mutant means the same as its record; None if it does not."""
    if kind == "swapped" and op.name in SYMMETRIC and field in ("numpy", "exact", "kernel", "batch"):
        return "the op is symmetric"
    if field == "ulps" and kind == "zero" and op.name in EXACT:
        return "the result is exact"
    return EQUIVALENT.get((op.name, field, kind))


# --- changes of values ---------------------------------------------------------------------------------------


def through(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A change of a derivative, inside masks and tuples."""

    def apply(value: Any) -> Any:
        if isinstance(value, Masked):
            return Masked(value.mask, apply(value.factor))
        if isinstance(value, tuple):
            return tuple(map(apply, value))
        return None if value is None else change(value)

    return apply


NEGATED: Final = through(lambda v: -v)
DOUBLED: Final = through(lambda v: 2 * v)
CHANGES: Final = (("negated", NEGATED), ("doubled", DOUBLED))


def after(change: Callable[[Any], Any], function: Any) -> Any:
    return lambda *args, **attrs: change(function(*args, **attrs))


def off(attrs: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Attributes with one of them off by a little."""
    value = attrs[name]
    new: Any
    if isinstance(value, bool):
        new = not value
    elif isinstance(value, (int, float)):
        new = value + 1
    elif isinstance(value, np.dtype):
        new = F32 if value != F32 else F64
    elif isinstance(value, tuple):
        new = value[:-1] if value else (0,)
    else:
        new = type(value)(value.array + 1)
    return {**attrs, name: new}


def attributes(op: Op) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for sample in op.samples for name in sample.attrs))


# --- fields --------------------------------------------------------------------------------------------------

Values = Iterator[tuple[str, Any]]


def of_type(op: Op) -> Values:
    rule = op.type

    def wrong(dtype: np.dtype[Any]) -> np.dtype[Any]:
        return {"f": F32 if dtype == F64 else F64, "b": I64}.get(dtype.kind, F64)

    def retyped(t: Any) -> Any:
        return TensorType(t.shape, wrong(t.dtype), t.weak)

    def reshaped(t: Any) -> Any:
        return TensorType((*t.shape, 1), t.dtype, t.weak)

    def anything(facts: Any, *types: Any, **attrs: Any) -> Any:
        try:
            return rule(facts, *types, **attrs)
        except GraphcError:
            return types[0] if types else TensorType((), F64)

    yield "dropped", None
    yield "wrong dtype", after(retyped, rule)
    yield "wrong shape", after(reshaped, rule)
    if op.errors:
        yield "accepts everything", anything
    if len(op.domains) > 1:
        yield "first operand's", lambda facts, *types, **attrs: types[0]


def of_numpy(op: Op) -> Values:
    text = op.numpy
    call = f"{text}({', '.join(f'{{{k}}}' for k in range(len(op.domains)))})" if op.ufunc else text
    boolean = op.name == "get" or any(case.result.dtype == BOOL for case in cases(op))
    yield "dropped", ""
    if op.name == "get":
        yield "wrong result", "{0}[1 - {index}]"
        return
    if boolean and op.name != "cast":
        yield "negated", f"np.logical_not({call})"
    else:
        yield "negated", f"-({call})"
        yield "doubled", f"2 * ({call})"
        yield "off by one", f"1 + ({call})"
    if len(op.domains) > 1 and "{1}" in call:
        yield "swapped", call.replace("{0}", "{#}").replace("{1}", "{0}").replace("{#}", "{1}")
    if op.ufunc:
        unary = len(op.domains) == 1 and not boolean
        yield "wrong function", ("np.sin" if op.name == "cos" else "np.cos") if unary else "np.copysign"
        if len(op.domains) == 1:
            yield "of another operand", call.replace("{0}", "(-{0})")
    if op.domains:
        yield "the operand", "{0}"
    for name in attributes(op):
        if f"{{{name}}}" in text and name != "value":
            yield f"{name} off", text.replace(f"{{{name}}}", _off_text(op, name))


def _off_text(op: Op, name: str) -> str:
    """An attribute's placeholder in a NumPy meaning, off by a little."""
    value = next(sample.attrs[name] for sample in op.samples if name in sample.attrs)
    if isinstance(value, bool):
        return f"(not {{{name}}})"
    if isinstance(value, tuple):
        return f"({{{name}}}[:-1] if {{{name}}} else (0,))"
    return "np.dtype('f2')" if isinstance(value, np.dtype) else f"({{{name}}} + 1)"


def of_exact(op: Op) -> Values:
    exact = op.exact
    if exact is None:
        return
    yield "dropped", None

    def meaning(s: Any, *x: Any, **attrs: Any) -> Any:
        return getattr(s, exact)(*x, **attrs) if isinstance(exact, str) else exact(s, *x, **attrs)

    if any(case.result.dtype == BOOL for case in cases(op)) and op.name != "cast":
        yield "the operand", lambda s, *x, **attrs: x[0]
        if op.elementwise:
            yield "negated", lambda s, *x, **attrs: s.logical_not(meaning(s, *x, **attrs))
    else:
        yield "negated", lambda s, *x, **attrs: -meaning(s, *x, **attrs)
        yield "doubled", lambda s, *x, **attrs: 2 * meaning(s, *x, **attrs)
    if len(op.domains) == 2:
        yield "swapped", lambda s, a, b, **attrs: meaning(s, b, a, **attrs)
    for name in attributes(op):
        if name != "weak":
            yield f"{name} off", lambda s, *x, name=name, **attrs: meaning(s, *x, **off(attrs, name))


def of_rule(op: Op) -> Values:
    rule = op.rule
    if rule is None:
        return
    yield "dropped", None
    if isinstance(rule, Partials):
        yield from _partials(op, rule)
    elif isinstance(rule, Linear):
        yield from _linear(op, rule)
    elif isinstance(rule, Multilinear):
        for i, transpose in enumerate(rule.transposes):
            for kind, change in CHANGES:
                yield f"transpose {i} {kind}", _with(rule.transposes, i, after(change, transpose), Multilinear)
            yield f"transpose {i} dropped", _with(rule.transposes, i, lambda w, ct, *x, **attrs: None, Multilinear)
        yield "swapped", Multilinear(*rule.transposes[::-1])
    else:
        for kind, change in CHANGES:
            yield kind, dataclasses.replace(rule, jvp=after(change, rule.jvp))
            if rule.transpose is not None:
                yield f"transpose {kind}", dataclasses.replace(rule, transpose=after(change, rule.transpose))
        yield "zero", dataclasses.replace(rule, jvp=lambda *args, **attrs: None)
        for name in attributes(op):
            yield f"{name} off", dataclasses.replace(rule, jvp=_misled(rule.jvp, name))
            if rule.transpose is not None:
                yield f"transpose {name} off", dataclasses.replace(rule, transpose=_misled(rule.transpose, name))


def _misled(function: Any, name: str) -> Any:
    """A function that is told an attribute off by a little."""
    return lambda *args, **attrs: function(*args, **off(attrs, name))


def _with(parts: tuple[Any, ...], i: int, new: Any, kind: Any) -> Any:
    return kind(*parts[:i], new, *parts[i + 1 :])


def _partials(op: Op, rule: Partials) -> Values:
    for i, partial in enumerate(rule.partials):
        if partial is None:
            yield f"partial {i} made 1", _with(rule.partials, i, lambda w, y, *x, **attrs: 1, Partials)
            continue
        for kind, change in CHANGES:
            yield f"partial {i} {kind}", _with(rule.partials, i, after(change, partial), Partials)
        yield f"partial {i} dropped", _with(rule.partials, i, None, Partials)
        masked, reads_result = _probed(op, partial)
        if masked:
            yield f"partial {i} unmasked", _with(rule.partials, i, after(unmasked, partial), Partials)
        if reads_result:
            yield f"partial {i} of the operand", _with(rule.partials, i, _at_first(partial), Partials)
    if len(rule.partials) == 2:
        yield "swapped", Partials(*rule.partials[::-1])
    for name in attributes(op):
        for i, partial in enumerate(rule.partials):
            if partial is not None:
                new = lambda *args, name=name, partial=partial, **attrs: partial(*args, **off(attrs, name))  # noqa: E731
                yield f"partial {i} {name} off", _with(rule.partials, i, new, Partials)


def _probed(op: Op, partial: Any) -> tuple[bool, bool]:
    """Whether a partial is masked, and whether it reads the result."""
    case = next(iter(cases(op)))
    builder = Builder()
    world = GraphWorld(builder)
    y, *operands = (Value(world, builder.input(f"x{k}", t)) for k, t in enumerate((case.result, *case.types)))
    value = partial(world, y, *operands, **case.attrs)
    parts = (value.mask, value.factor) if isinstance(value, Masked) else (value,)
    graph = builder.finish([p.id for p in parts if isinstance(p, Value)])
    return isinstance(value, Masked), bool(graph._succ[0]) or 0 in graph.outputs


def unmasked(value: Any) -> Any:
    return value.factor if isinstance(value, Masked) else value


def _at_first(partial: Any) -> Any:
    """The partial with the first operand in place of the result."""
    return lambda w, y, *x, **attrs: partial(w, x[0], *x, **attrs)


def _linear(op: Op, rule: Linear) -> Values:
    def transposed(new: Any) -> Linear:
        return Linear(rule.positions, new, rule.mask)

    for kind, change in CHANGES:
        yield f"transpose {kind}", transposed(after(change, rule.transpose))
    yield "transpose dropped", transposed(lambda w, ct, *x, **attrs: (None,) * len(x))
    if len(op.domains) > 1 and rule.positions is None:
        yield "transpose swapped", transposed(after(lambda parts: parts[::-1], rule.transpose))
    if rule.positions is not None and len(rule.positions) > 1:
        yield "transpose swapped", transposed(after(lambda parts: (parts[0], *parts[:0:-1]), rule.transpose))
        yield "positions short", Linear(rule.positions[:-1], rule.transpose, rule.mask)
    if rule.positions is not None:
        yield "positions for all", Linear(None, rule.transpose, rule.mask)
    else:
        yield "positions none", Linear((), rule.transpose, rule.mask)
    for name in attributes(op):
        new = lambda *args, name=name, **attrs: rule.transpose(*args, **off(attrs, name))  # noqa: E731
        yield f"transpose {name} off", transposed(new)
    if rule.mask is not None:
        yield "mask dropped", Linear(rule.positions, rule.transpose)
        for kind, change in (("widened", _or_not), ("inverted", lambda m: m.world.logical_not(m))):
            yield f"mask {kind}", Linear(rule.positions, rule.transpose, after(through(change), rule.mask))


def _or_not(mask: Any) -> Any:
    return mask.world.logical_or(mask, mask.world.logical_not(mask))


def of_batch(op: Op) -> Values:
    """Rules that mix rows up, or take the axis of the rows for another."""
    rule = rule_of(op)
    if op.name == "get":
        yield "wrong result", lambda w, op, size, x, batched, attrs: leading(w, op, size, x, batched, {"index": 0})
    if rule is None:
        return
    if op.batch is not None:
        yield "dropped", None

    def reversed_rows(value: Any) -> Any:
        size, *row = value.shape
        return value.world.slice(value, index=((size - 1, None, -1), *((0, d, 1) for d in row)))

    yield "rows reversed", after(reversed_rows, rule)
    yield "rows last", after(lambda v: v.world.transpose(v, perm=(*range(1, v.ndim), 0)), rule)
    if not op.elementwise and rule is not leading:
        yield "operands as they come", leading
    for name in attributes(op):
        if name != "weak":
            yield (
                f"{name} off",
                lambda w, op, size, x, batched, attrs, name=name: rule(w, op, size, x, batched, off(attrs, name)),
            )
    if len(op.domains) > 1:
        yield (
            "swapped",
            lambda w, op, size, x, batched, attrs: rule(w, op, size, x[::-1], batched[::-1], attrs),
        )


NARROWER: Final = {
    "real": "positive",
    "nonzero": "positive",
    "positive": "above 1",
    "above -1": "positive",
    "unit": "inside 0 to 1",
    "inside 0 to 2": "inside 0 to 1",
    "off the poles of gamma": "positive",
}
WIDER: Final = {
    "nonzero": "real",
    "positive": "real",
    "above -1": "real",
    "index": "real",
    "bool": "real",
    "unit": "above -1",
    "above 1": "positive",
    "inside 0 to 1": "positive",
    "inside 0 to 2": "positive",
    "off the poles of gamma": "nonzero",
}


def of_domains(op: Op) -> Values:
    if not op.domains:
        yield "invented", ("real",)
        return
    yield "dropped", ()
    for k, domain in enumerate(op.domains):
        for kind, table in (("narrower", NARROWER), ("wider", WIDER)):
            if domain in table:
                yield f"{k} {kind}", (*op.domains[:k], table[domain], *op.domains[k + 1 :])
    yield "of no name", ("anywhere",) * len(op.domains)


def of_samples(op: Op) -> Values:
    if op.samples:
        if op.samples[0].attrs or not op.elementwise:
            yield "dropped", ()
        if attributes(op):
            yield "without attributes", tuple(Sample(s.operands) for s in op.samples)
        if op.domains:
            yield "of other rank", tuple(Sample((), s.attrs) for s in op.samples)
    elif op.domains:
        yield "of other arity", (Sample(((3,),) * (len(op.domains) + 1)),)


def of_errors(op: Op) -> Values:
    if not op.errors:
        yield "invented", (ErrorSample(("f64[2]",) * len(op.domains), {}, GraphcError, "no"),)
        return
    yield "dropped", ()
    for k, e in enumerate(op.errors):
        others = op.errors[:k], op.errors[k + 1 :]
        yield f"{k} of another class", (*others[0], dataclasses.replace(e, error=ZeroDivisionError), *others[1])
        yield f"{k} in other words", (*others[0], dataclasses.replace(e, words="the moon is full"), *others[1])
        legal = next(iter(cases(op)), None)
        if legal is not None:
            allowed = dataclasses.replace(e, operands=tuple(map(_text, legal.types)), attrs=legal.attrs)
            yield f"{k} that is none", (*others[0], allowed, *others[1])


def _text(t: TensorType) -> str:
    return f"{next(n for n, d in DTYPES.items() if d == t.dtype)}[{','.join(map(str, t.shape))}]"


def of_kinks(op: Op) -> Values:
    if op.kinks:
        yield "dropped", ()
        yield "one more", (*op.kinks, 1.0)
        yield "elsewhere", (2.0,)
    else:
        yield "invented", (0.0,)


def of_ulps(op: Op) -> Values:
    yield "zero", 0
    yield "negative", -1
    yield "a thousand", 1000


def flipped(name: str) -> Callable[[Op], Values]:
    return lambda op: iter([("flipped", not getattr(op, name))])


# Of some numbers these warn wherever NumPy runs; whether others do depends on the processor and the library.
LOUD: Final = (
    "add",
    "mul",
    "div",
    "sqrt",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sinh",
    "cosh",
    "arcsin",
    "arccos",
    "arctanh",
)


def of_silent(op: Op) -> Values:
    """Said where it is not so. Left out where it is, warnings are kept back for nothing, which takes time alone."""
    if op.view or op.name in LOUD:
        yield "said", True


def of_doc(op: Op) -> Values:
    yield "dropped", ""
    yield "no sentence", op.doc.rstrip(".")


def of_reasons(op: Op) -> Values:
    for name in op.reasons:
        yield f"{name} dropped", {k: v for k, v in op.reasons.items() if k != name}
        yield f"{name} for no reason", {**op.reasons, name: "it was late"}
    yield "for an unknown field", {**op.reasons, "colour": "no operands"}
    for name in ("exact", "rule", "domains", "errors"):
        if name not in op.reasons:
            yield f"{name} though it is there", {**op.reasons, name: "no operands"}


def of_kernel(op: Op) -> Values:
    """Kernels that compute something else."""
    kernel = op.kernel
    if kernel is None:
        return
    yield "dropped", None

    def meaning(k: Any, *x: Any, **attrs: Any) -> Any:
        return getattr(k, kernel)(*x, **attrs) if isinstance(kernel, str) else kernel(k, *x, **attrs)

    def one_more(k: Any, *x: Any, **attrs: Any) -> Any:
        value = meaning(k, *x, **attrs)
        return k.logical_not(value) if boolean else value + k.number(1, value)

    boolean = any(case.result.dtype == BOOL for case in cases(op))
    yield "negated" if boolean else "off by one", one_more
    if len(op.domains) == 2:
        yield "swapped", lambda k, a, b, **attrs: meaning(k, b, a, **attrs)
    for name in attributes(op):
        if name not in ("weak", "dtype"):
            yield f"{name} off", lambda k, *x, name=name, **attrs: meaning(k, *x, **off(attrs, name))


def of_kernel_kinds(op: Op) -> Values:
    """Fewer kinds than are right only cost time; what is wrong at more of them is seen."""
    if op.kernel is not None:
        yield "dropped", ""


def of_fold(op: Op) -> Values:
    if op.fold is not None:
        yield "another", {"sum": "prod", "prod": "sum", "max": "min", "min": "max", "any": "all", "all": "any"}[op.fold]


def of_expansion(op: Op) -> Values:
    """An expansion may be missing; one that is there must mean what NumPy means."""
    if op.expansion is not None:
        for kind, change in CHANGES:
            yield kind, after(change, op.expansion)
        for name in attributes(op):
            yield f"{name} off", lambda *args, name=name, **attrs: op.expansion(*args, **off(attrs, name))


def of_work(op: Op) -> Values:
    """Other counts than the record's; a view does nothing."""
    if op.view:
        return
    if op.work is not None:
        yield "dropped", None

    def doubled(result: Any, *operands: Any, **attrs: Any) -> Any:
        return {kind: 2 * count for kind, count in work_of(op, result, list(operands), attrs).items()}

    def another(result: Any, *operands: Any, **attrs: Any) -> Any:
        return {"add": 1, **work_of(op, result, list(operands), attrs)}

    counts = [work_of(op, case.result, list(case.types), case.attrs) for case in cases(op)]
    if any(sum(c.values()) for c in counts):
        yield "doubled", doubled
    if not all("add" in c for c in counts):
        yield "one addition more", another


def of_name(op: Op) -> Values:
    """A record's name is its key: another name is another op."""
    return iter(())


MUTATIONS: Final[dict[str, Callable[[Op], Values]]] = {
    "name": of_name,
    "type": of_type,
    "numpy": of_numpy,
    "doc": of_doc,
    "exact": of_exact,
    "rule": of_rule,
    "batch": of_batch,
    "domains": of_domains,
    "samples": of_samples,
    "errors": of_errors,
    "kinks": of_kinks,
    "work": of_work,
    "kernel": of_kernel,
    "kernel_kinds": of_kernel_kinds,
    "fold": of_fold,
    "expansion": of_expansion,
    "ulps": of_ulps,
    "elementwise": flipped("elementwise"),
    "view": flipped("view"),
    "silent": of_silent,
    "updates": flipped("updates"),
    "reasons": of_reasons,
}
