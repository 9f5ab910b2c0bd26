"""What type rules are made of: broadcasting, axes, dtype checks, and facts about symbolic sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np

from graphc import dims
from graphc.dims import Size
from graphc.errors import AxisError, DTypeError, IRError, ShapeError
from graphc.ir import DTYPE_NAMES, Guard, TensorType, Type

Relation = Literal["==", "<", "<="]
_PROOF: Final = {"==": dims.equal, "<": dims.less, "<=": dims.less_equal}
_OPPOSITE: Final[dict[str, tuple[Literal["!=", "<", "<="], bool]]] = {
    "==": ("!=", False),
    "<": ("<=", True),
    "<=": ("<", True),
}


class Facts:
    """Answers questions about sizes; what cannot be proved is settled once and becomes a guard.

    `hints` are the sizes of the call that is being compiled, if there is one.
    `assume=False` (the verifier) accepts only the guards already there.
    """

    def __init__(self, guards: dict[Guard, None], assume: bool = True) -> None:
        self.guards = guards
        self.assume = assume
        self.hints: Mapping[str, int] | None = None
        self.consulted = False

    def equal(self, a: Size, b: Size) -> bool:
        """Whether the sizes are equal, by proof or by guard."""
        if a is b:
            return True
        decided = dims.equal(a, b)
        return self.settle("==", a, b) if decided is None else decided

    def settle(self, relation: Relation, a: Size, b: Size) -> bool:
        """Whether `a relation b`: known, or as in the running call, or assumed; the last two leave a guard."""
        decided = self.known(relation, a, b)
        if decided is None and self.assume:
            decided = self.record(relation, a, b)
        return bool(decided)

    def known(self, relation: Relation, a: Size, b: Size) -> bool | None:
        """Whether `a relation b` follows from the sizes themselves or from the guards; None if it is open."""
        decided = _PROOF[relation](a, b)
        if decided is not None:
            return decided
        self.consulted = True
        decided = self._from_guards(relation, a, b, self.guards)
        if decided is not None:
            return decided
        equations = self._equations()
        a, b = dims.substitute(a, equations), dims.substitute(b, equations)
        decided = _PROOF[relation](a, b)
        if decided is not None:
            return decided
        reduced = [
            Guard(g.relation, dims.substitute(g.left, equations), dims.substitute(g.right, equations))
            for g in self.guards
        ]
        return self._from_guards(relation, a, b, reduced)

    def _from_guards(self, relation: Relation, a: Size, b: Size, guards: Iterable[Guard]) -> bool | None:
        """Whether `a relation b`, as far as one of the guards alone tells."""
        if relation == "==":
            return _same_difference(a, b, guards)
        if _implied(relation, a, b, guards):
            return True
        return False if _implied("<=" if relation == "<" else "<", b, a, guards) else None

    def record(self, relation: Relation, a: Size, b: Size) -> bool:
        """Settle an open question by a guard: the running call's sizes say which way, yes without them."""
        holds = self.hints is None or Guard(relation, a, b).holds(self.hints)
        opposite, swapped = _OPPOSITE[relation]
        guard = Guard(relation, a, b) if holds else Guard(opposite, *((b, a) if swapped else (a, b)))
        self.guards.setdefault(guard)
        return holds

    def _equations(self) -> dict[str, Size]:
        """What the guards say some symbols are, in terms of others."""
        known: dict[str, Size] = {}
        for guard in self.guards:
            if guard.relation != "==":
                continue
            found = _solved(dims.substitute(guard.left, known), dims.substitute(guard.right, known))
            if found is not None:
                name, value = found
                known = {k: dims.substitute(v, {name: value}) for k, v in known.items()}
                known[name] = value
        return known


def _solved(left: Size, right: Size) -> tuple[str, Size] | None:
    """A symbol that occurs once, with coefficient 1 or -1, in an equation, and what it is equal to."""
    names = [str(side) for side in (left, right) if str(side) in dims.symbols(side)]  # those that stand alone first
    for name in (*names, *sorted(dims.symbols(left) | dims.symbols(right))):
        one = dims.symbol(name)
        for value in (right - left + one, left - right + one):
            if name not in dims.symbols(value):
                return name, value
    return None


def _same_difference(a: Size, b: Size, guards: Iterable[Guard]) -> bool | None:
    """Whether a == b, where some guard c == d or c != d has d - c equal to b - a or to a - b."""
    for guard in guards:
        if guard.relation in ("==", "!="):
            c, d = guard.left, guard.right
            if dims.equal(a + d, b + c) or dims.equal(a + c, b + d):
                return guard.relation == "=="
    return None


def _implied(relation: Relation, a: Size, b: Size, guards: Iterable[Guard]) -> bool:
    """Whether some guard c <= d or c < d has d - c at most b - a."""
    strong = ("<",) if relation == "<" else ("<", "<=")
    return any(guard.relation in strong and dims.less_equal(a + guard.right, b + guard.left) for guard in guards)


def tensor(type: Type, op: str) -> TensorType:
    if not isinstance(type, TensorType):
        raise IRError(f"{op}: an operand is a tuple", actual=repr(type), fix="take one result with get(i)")
    return type


def show(shape: Sequence[Size]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def broadcast(facts: Facts, op: str, *shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """The shape NumPy broadcasts the given shapes to."""
    first = shapes[0]
    for shape in shapes:
        if shape is not first and shape != first:
            break
    else:
        return first
    rank = max(map(len, shapes))
    result: list[Size] = []
    for position in range(-rank, 0):
        size: Size = 1
        for shape in shapes:
            if len(shape) < -position:
                continue
            other = shape[position]
            if other == 1 or other is size:
                continue
            if size == 1:
                size = other
            elif not facts.equal(size, other):
                raise ShapeError(
                    f"{op}: shapes do not broadcast",
                    expected="sizes that agree or are 1, aligned from the right",
                    actual=" and ".join(map(show, shapes)),
                    fix="insert an axis of size 1 where they should repeat: x[:, None]",
                )
            elif isinstance(other, int):
                size = other
        result.append(size)
    return tuple(result)


def check_kind(op: str, type: TensorType, kinds: str) -> None:
    """Raise DTypeError unless the dtype's kind letter is one of `kinds` (NumPy's letters)."""
    if type.dtype.kind not in kinds:
        words = {"b": "bool", "i": "integer", "u": "unsigned", "f": "float", "c": "complex"}
        raise DTypeError(
            f"{op}: not defined for {DTYPE_NAMES[type.dtype]}",
            expected=" or ".join(words[k] for k in kinds),
            actual=repr(type),
        )


def elementwise(op: str, kinds: str, result: str | None = None) -> Callable[..., TensorType]:
    """Type rule of a broadcasting op whose operands share a dtype; `result` fixes the result's dtype."""
    fixed = None if result is None else np.dtype(result)

    def rule(facts: Facts, *operands: Type) -> TensorType:
        types = [tensor(t, op) for t in operands]
        dtype = types[0].dtype
        for t in types:
            check_kind(op, t, kinds)
            if t.dtype != dtype:
                raise DTypeError(
                    f"{op}: operands differ in dtype",
                    expected=f"{DTYPE_NAMES[dtype]} throughout (casts are explicit in the graph)",
                    actual=", ".join(map(repr, types)),
                )
        shape = broadcast(facts, op, *[t.shape for t in types])
        return TensorType(shape, dtype if fixed is None else fixed, all(t.weak for t in types) and fixed is None)

    return rule


def normalise_axis(op: str, axis: int, rank: int) -> int:
    """The axis counted from the front, or AxisError."""
    if not -rank <= axis < rank:
        raise AxisError(
            f"{op}: axis {axis} is out of bounds",
            axis=axis,
            ndim=rank,
            expected=f"an axis from {-rank} to {rank - 1}" if rank else "no axis (the operand has none)",
            actual=str(axis),
            fix="axes count from 0; -1 is the last",
        )
    return axis % rank


def check_axes(op: str, axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes of a node: distinct, ascending, counted from the front."""
    result = tuple(normalise_axis(op, axis, rank) for axis in axes)
    if len(set(result)) != len(result):
        raise AxisError(
            f"{op}: an axis is named twice",
            expected="distinct axes",
            actual=str(tuple(axes)),
            fix="name each axis once; -1 and the last one are the same",
        )
    if result != tuple(axes):
        raise AxisError(f"{op}: axes of a node are counted from the front", actual=str(tuple(axes)))
    return result


def reduction(op: str, kinds: str, result: str | None = None, empty: bool = True) -> Callable[..., TensorType]:
    """Type rule of a reduction over `axes`; `empty=False` refuses an empty range, as max does."""

    def rule(facts: Facts, operand: Type, *, axes: tuple[int, ...], keepdims: bool) -> TensorType:
        x = tensor(operand, op)
        check_kind(op, x, kinds)
        over = set(check_axes(op, axes, x.ndim))
        if not empty and any(dims.equal(x.shape[a], 0) for a in over):
            raise ShapeError(
                f"{op}: no identity for an empty range",
                expected="sizes of at least 1 along the reduced axes",
                actual=f"{x!r} over axes {axes}",
            )
        shape = reduced_shape(x.shape, over, keepdims)
        return TensorType(shape, x.dtype if result is None else np.dtype(result))

    return rule


def reduced_shape(shape: Sequence[Size], axes: Any, keepdims: bool) -> tuple[Size, ...]:
    """The shape left after reducing over `axes`."""
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)
