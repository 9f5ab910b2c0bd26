"""Einstein summation: subscripts parsed as NumPy does, contracted pair by pair as matrix products."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import DTypeError, ShapeError
from graphc.numpy.checks import real_dtype
from graphc.numpy.diagonals import diagonal_of
from graphc.numpy.dispatch import common_world, strong, traceable
from graphc.numpy.into import Out
from graphc.numpy.shaping import moveaxis, reshape, transpose
from graphc.ops.typing import show
from graphc.tracing import Traced, same_storage, snapshot
from graphc.tracing.layout import unordered

__all__ = [
    "einsum",
    "einsum_path",
]

ANY_SIZE: Final = 64  # stands for a symbolic size where costs of contractions are compared

# A label is a letter, or a negative number for an axis of the ellipsis: -1 is the last.
Label = str | int


@dataclass(frozen=True, slots=True)
class Term:
    """An operand and the labels of its axes, each at most once."""

    value: Any
    labels: tuple[Label, ...]


@traceable(np.einsum, view=True, out=Out("safe"))
def einsum(*operands: Any, out: Any = None, optimize: Any = False, **kwargs: Any) -> Any:
    """Einstein's summation: products of elements, summed over the axes whose letters are not in the result.

    The order of contraction is graphc's own, whatever `optimize` says.
    """
    dtype = kwargs.pop("dtype", None)
    casting = kwargs.pop("casting", "safe")
    kwargs.pop("order", None)
    if kwargs:
        raise TypeError(f"Did not understand the following kwargs: {sorted(kwargs)}")
    subscripts, arrays = _separate(operands)
    world = common_world(*arrays)
    values = [strong(a, world) for a in arrays]
    inputs, output = parse(subscripts, [v.ndim for v in values])
    values = [strong(v, world) for v in world.promote(values)]
    result = values[0].type.dtype if dtype is None else real_dtype(dtype)
    for v in values:
        if not np.can_cast(v.type.dtype, result, casting):
            raise DTypeError(f"einsum: cannot cast {v.type.dtype} to {result} with casting={casting!r}")
    # sums of booleans are `or`s; half precision is summed in single, as NumPy does
    inner = {"b": np.dtype(np.int64)}.get(result.kind, np.dtype(np.float32) if result == np.float16 else result)
    values = [world.convert(v, inner) for v in values]
    sizes = _sizes(world, values, inputs)
    terms = [_distinct(v, labels, sizes) for v, labels in zip(values, inputs, strict=True)]
    total = contract(world, terms, output, sizes)
    total = world.convert(total, result)
    return total if any(same_storage(total, a) for a in arrays if isinstance(a, Traced)) else unordered(snapshot(total))


def _separate(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """Subscripts as text, and the arrays."""
    if not operands:
        raise ValueError("must specify the einstein sum subscripts string and at least one operand, or at least ...")
    if isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])
    arrays, lists = list(operands[: len(operands) // 2 * 2 : 2]), list(operands[1::2])
    text = ",".join(map(_letters, lists))
    return (f"{text}->{_letters(operands[-1])}" if len(operands) % 2 else text), arrays


def _letters(sublist: Any) -> str:
    """A list of small integers and Ellipsis as subscripts; the order of the letters is that of the integers."""
    letters = string.ascii_uppercase + string.ascii_lowercase
    text = ""
    for one in sublist:
        if one is not Ellipsis and not 0 <= one.__index__() < len(letters):
            raise ValueError("subscript is not within the valid range [0, 52)")
        text += "..." if one is Ellipsis else letters[one.__index__()]
    return text


def parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[tuple[Label, ...]], tuple[Label, ...]]:
    """The labels of each operand's axes, and of the result's.

    >>> parse("ij,jk", [2, 2])
    ([('i', 'j'), ('j', 'k')], ('i', 'k'))
    >>> parse("...i->...", [3])
    ([(-2, -1, 'i')], (-2, -1))
    """
    left, arrow, right = subscripts.partition("->")
    texts = left.split(",")
    if len(texts) != len(ranks):
        raise ShapeError(
            "einsum: subscripts and operands differ in number",
            expected=f"{len(texts)} operands for {subscripts!r}",
            actual=str(len(ranks)),
        )
    inputs = [_labels(t, rank, subscripts) for t, rank in zip(texts, ranks, strict=True)]
    dotted = sorted({one for labels in inputs for one in labels if isinstance(one, int)})
    letters = [one for labels in inputs for one in labels if isinstance(one, str)]
    if not arrow:
        once = sorted(one for one in set(letters) if letters.count(one) == 1)
        return inputs, (*dotted, *once)
    before, dots, after = right.partition("...")
    output: tuple[Label, ...] = (*before, *(dotted if dots else ()), *after)
    for one in output:
        if isinstance(one, str) and one not in letters:
            raise ValueError(
                f"einstein sum subscripts string included output subscript '{one}' which never appeared in an input"
            )
    if len(set(output)) != len(output):
        raise ValueError(f"einstein sum subscripts string includes an output subscript multiple times: {right!r}")
    if dotted and not dots:
        raise ValueError("output has no ellipsis for the dimensions that the ellipsis of the inputs stands for")
    return inputs, output


def _labels(text: str, rank: int, subscripts: str) -> tuple[Label, ...]:
    before, dots, after = text.partition("...")
    named = len(before) + len(after)
    if not set(before + after) <= set(string.ascii_letters):
        raise ValueError(f"invalid subscripts {subscripts!r} in einsum: letters, commas, '...' and '->' are valid")
    if named > rank or (named < rank and not dots):
        raise ShapeError(
            "einsum: subscripts do not fit an operand",
            expected=f"{named} axes for {text!r}" + (" at least" if dots else ""),
            actual=str(rank),
            fix="one letter for each axis, or ... for the rest",
        )
    return (*before, *range(named - rank, 0), *after)


def _sizes(world: Any, values: Sequence[Any], inputs: Sequence[tuple[Label, ...]]) -> dict[Label, Size]:
    """The size of every label; a size of 1 gives way to another, as in broadcasting."""
    sizes: dict[Label, Size] = {}
    for value, labels in zip(values, inputs, strict=True):
        own: dict[Label, Size] = {}
        for label, size in zip(labels, value.type.shape, strict=True):
            known = own.setdefault(label, size)
            if not world.facts.equal(known, size):
                raise _mismatch(label, known, size)
        for label, size in own.items():
            known = sizes.get(label, 1)
            if known == 1:
                sizes[label] = size
            elif size != 1 and not world.facts.equal(known, size):
                raise _mismatch(label, known, size)
    return sizes


def _mismatch(label: Label, one: Size, other: Size) -> ShapeError:
    shown = "..." if isinstance(label, int) else label
    return ShapeError(
        f"einsum: the axes called {shown!r} differ in size",
        expected="one size for each letter (or 1)",
        actual=f"{one} and {other}",
        fix="check which axis each letter names",
    )


def _distinct(value: Any, labels: tuple[Label, ...], sizes: dict[Label, Size]) -> Term:
    """Diagonals for repeated labels; axes of size 1 that would only broadcast go."""
    names = list(labels)
    while len(set(names)) < len(names):
        label = next(one for one in names if names.count(one) > 1)
        first = names.index(label)
        second = names.index(label, first + 1)
        value = moveaxis(diagonal_of(value, 0, first, second), -1, first)
        del names[second]
    kept = [k for k, one in enumerate(names) if not (value.type.shape[k] == 1 and sizes[one] != 1)]
    if len(kept) < len(names):
        value = value.world.reshape(value, shape=tuple(value.type.shape[k] for k in kept))
    return Term(value, tuple(names[k] for k in kept))


def contract(world: Any, terms: list[Term], output: tuple[Label, ...], sizes: dict[Label, Size]) -> Any:
    """The sum over all labels that are not in the output, cheapest pair first."""
    terms = list(terms)
    while True:
        terms = [_summed(t, {*output, *(one for u in terms if u is not t for one in u.labels)}) for t in terms]
        if len(terms) == 1:
            break
        pair = _cheapest(terms, output, sizes)
        rest = [t for k, t in enumerate(terms) if k not in pair]
        needed = {*output, *(one for t in rest for one in t.labels)}
        terms = [*rest, product(world, terms[pair[0]], terms[pair[1]], needed)]
    (term,) = terms
    # a label may have lost its axis to broadcasting only if all its sizes are 1, and then it was kept
    return transpose(term.value, [term.labels.index(one) for one in output])


def _summed(term: Term, needed: set[Label]) -> Term:
    over = tuple(k for k, one in enumerate(term.labels) if one not in needed)
    if not over:
        return term
    total = term.value.world.reduce_sum(term.value, axes=over, keepdims=False)
    return Term(total, tuple(one for one in term.labels if one in needed))


def _cheapest(terms: list[Term], output: tuple[Label, ...], sizes: dict[Label, Size]) -> tuple[int, int]:
    """The pair whose product adds the fewest elements; ties go to the fewer multiplications, then to the first."""

    def count(labels: set[Label]) -> int:
        total = 1
        for one in labels:
            size = sizes[one]
            total *= size if isinstance(size, int) else ANY_SIZE
        return total

    best: tuple[tuple[int, int], tuple[int, int]] | None = None
    for i in range(len(terms)):
        for j in range(i + 1, len(terms)):
            a, b = set(terms[i].labels), set(terms[j].labels)
            others = {*output, *(one for k, t in enumerate(terms) if k not in (i, j) for one in t.labels)}
            cost = (count((a | b) & others) - count(a) - count(b), count(a | b))
            if best is None or cost < best[0]:
                best = (cost, (i, j))
    assert best is not None
    return best[1]


def product(world: Any, left: Term, right: Term, needed: set[Label]) -> Term:
    """The product of two terms, summed over the labels that nothing else needs, as a batched matrix product."""
    shared = [one for one in left.labels if one in right.labels]
    batch = [one for one in shared if one in needed]
    summed = [one for one in shared if one not in needed]
    rows = [one for one in left.labels if one not in shared]
    columns = [one for one in right.labels if one not in shared]
    if not summed or not (rows or columns):
        return _summed(_elementwise(left, right, (*batch, *rows, *columns, *summed)), needed)
    a = _arranged(left, (batch, rows, summed))
    b = _arranged(right, (batch, summed, columns))
    value = world.matmul(a, b)
    known = {**_named(left), **_named(right)}
    labels = (*batch, *rows, *columns)
    return Term(reshape(value, tuple(known[one] for one in labels)), labels)


def _named(term: Term) -> dict[Label, Any]:
    return dict(zip(term.labels, term.value.type.shape, strict=True))


def _arranged(term: Term, groups: tuple[list[Label], list[Label], list[Label]]) -> Any:
    """The value with its axes in three groups, the last two of one axis each; the first too, if it is there."""
    sizes = _named(term)
    ordered = transpose(term.value, [term.labels.index(one) for group in groups for one in group])
    shape = [dims.product([sizes[one] for one in group]) for group in groups]
    return ordered.world.reshape(ordered, shape=tuple(shape if groups[0] else shape[1:]))


def _elementwise(left: Term, right: Term, labels: tuple[Label, ...]) -> Term:
    sides = []
    for term in (left, right):
        sizes = _named(term)
        present = [one for one in labels if one in sizes]
        ordered = transpose(term.value, [term.labels.index(one) for one in present])
        sides.append(ordered.world.reshape(ordered, shape=tuple(sizes.get(one, 1) for one in labels)))
    return Term(sides[0] * sides[1], labels)


@traceable(np.einsum_path)
def einsum_path(*operands: Any, optimize: Any = "greedy", einsum_call: bool = False) -> Any:
    """The order in which NumPy would contract the operands, which depends on their shapes only.

    Symbolic sizes are refused. `einsum` does not follow it: it finds an order of its own.
    """
    subscripts, arrays = _separate(operands)
    world = common_world(*arrays)
    shapes = [strong(a, world).type.shape for a in arrays]
    if any(not isinstance(d, int) for shape in shapes for d in shape):
        raise ShapeError("einsum_path: sizes must be numbers", actual=", ".join(map(show, shapes)))
    empty = [np.broadcast_to(np.float64(0), shape) for shape in shapes]
    return np.einsum_path(subscripts, *empty, optimize=optimize)
