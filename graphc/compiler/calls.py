"""A call of a jitted function taken apart: what identifies it, and the arrays in it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

import numpy as np

from graphc.compiler.pytrees import flatten, leaf_names, unflatten
from graphc.compiler.signatures import Signature
from graphc.compiler.specs import Spec, is_array, not_an_array, type_of
from graphc.compiler.statics import Labelled, Statics, static_key, typed
from graphc.ir import DTYPES, TensorType
from graphc.tracing import SymbolicSize, Traced, world_of

# Scalars whose class alone says their type.
_NUMBERS = [dtype.type for dtype in DTYPES.values() if dtype.kind in "biuf"]
SCALARS: Final[frozenset[type]] = frozenset({bool, float, *_NUMBERS})
LARGEST: Final = int(np.iinfo(np.int64).max)
SMALLEST: Final = int(np.iinfo(np.int64).min)

Varying = Callable[[int], Collection[int]]


class Call:
    """A call: the function of its dynamic arguments, these as a pytree, and the keys of all but their sizes.

    `fixed` are the positions, among all leaves of the pytree, of those that stay Python values; `floats` those of
    Python floats that may have to.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        structure: Any,
        everything: Sequence[Any],
        fixed: tuple[int, ...],
        statics: Labelled,
        floats: tuple[int, ...] = (),
    ) -> None:
        self.f = f
        self.structure = structure
        self.everything = everything
        self.fixed = fixed
        self.statics = statics
        self.floats = floats
        # the keys of what is static
        self.static = static_key(statics) if statics else ()
        self.fixed_key = self._key_of_fixed() if fixed else ()

    def _key_of_fixed(self) -> Any:
        try:
            return tuple([(n, typed(self.everything[n])) for n in self.fixed])
        except TypeError:
            names = leaf_names(self.f, self.filled(self.everything))
            return static_key(tuple((names[n], self.everything[n]) for n in self.fixed))  # raises, with the names

    @property
    def free(self) -> list[int]:
        """The positions of the leaves that are arrays or numbers in the graph."""
        fixed = self.fixed
        return [n for n in range(len(self.everything)) if n not in fixed] if fixed else [*range(len(self.everything))]

    @property
    def leaves(self) -> Sequence[Any]:
        """What the compiled function takes."""
        return [self.everything[n] for n in self.free] if self.fixed else self.everything

    def exact_key(self) -> Any:
        """Equal for calls that the same compiled function serves without a further look."""
        leaves = [_leaf_key(leaf) for leaf in self.leaves]
        return self.structure, self.static, self.fixed_key, tuple(leaves)

    def signature_key(self, types: Sequence[TensorType]) -> Any:
        """Equal for calls that differ in sizes alone; a size of 1 broadcasts, so it counts."""
        kinds = tuple([(t.dtype, t.weak, tuple([d == 1 for d in t.shape])) for t in types])
        return self.structure, self.static, self.fixed_key, kinds

    def signature(self, types: Sequence[TensorType]) -> Signature:
        """The same with names, to be compared in words."""
        names = leaf_names(self.f, self.filled(self.everything))
        fixed = tuple((names[n], self.everything[n]) for n in self.fixed)
        return Signature(self.structure, tuple(names[n] for n in self.free), tuple(types), (*self.statics, *fixed))

    def filled(self, everything: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments with other leaves."""
        args, kwargs = unflatten(self.structure, everything)
        return args, kwargs

    def with_leaves(self, leaves: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments with other things in the place of the arrays and numbers."""
        everything = list(self.everything)
        for n, leaf in zip(self.free, leaves, strict=True):
            everything[n] = leaf
        return self.filled(everything)

    def by_value(self) -> Call | None:
        """The same call, its Python floats fixed too; None if there is none that may be."""
        if not self.floats:
            return None
        return Call(self.f, self.structure, self.everything, tuple(sorted((*self.fixed, *self.floats))), self.statics)


def take_apart(
    f: Callable[..., Any],
    statics: Statics,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    varying: Varying | None,
) -> Call | None:
    """The parts of a call; None if it is one inside a trace.

    With `varying`, which gives the positions of the arguments that have to be arrays or numbers, what is none in the
    others stays as it is; and so do Python's ints and bools there.
    """
    labelled: Labelled = ()
    if statics:
        labelled = statics.of_call(args, kwargs)
        f = statics.fill(f, args, kwargs)
        args, kwargs = statics.rest(args, kwargs)
    everything, structure = flatten((args, kwargs))
    for leaf in everything:
        if isinstance(leaf, (Traced, SymbolicSize)):
            world_of(everything)  # refuses values of a trace that has ended
            return None
    fixed, floats = _not_varying(args, everything, varying) if varying is not None else ((), ())
    call = Call(f, structure, everything, fixed, labelled, floats)
    for n in call.free:
        leaf = everything[n]
        # a type may be traced with, but not called with
        if type(leaf) is not np.ndarray and (not is_array(leaf) or isinstance(leaf, (Spec, TensorType))):
            raise not_an_array(leaf, leaf_names(f, call.filled(everything))[n])
    return call


def _not_varying(
    args: tuple[Any, ...], everything: Sequence[Any], varying: Varying
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The positions of the leaves that stay Python values, and of those that are Python floats, outside `varying`."""
    vary: set[int] = set()
    arrays = varying(len(args))
    start = 0
    for position, argument in enumerate(args):
        stop = start + len(flatten(argument)[0])
        if position in arrays:
            vary.update(range(start, stop))
        start = stop
    others = [n for n in range(len(everything)) if n not in vary]
    return (
        tuple(n for n in others if _stays(everything[n])),
        tuple(n for n in others if type(everything[n]) is float),
    )


def _stays(leaf: Any) -> bool:
    """Whether a leaf stays a Python value: an int, a bool, or what is no array and no number."""
    kind = type(leaf)
    return kind is int or kind is bool or not is_array(leaf)


def _leaf_key(leaf: Any) -> Any:
    kind = type(leaf)
    if kind is np.ndarray:
        return leaf.dtype, leaf.shape
    if kind in SCALARS or (kind is int and SMALLEST <= leaf <= LARGEST):
        return kind
    t = type_of(leaf)
    return t.dtype, t.shape, t.weak


def quick_key(
    args: tuple[Any, ...], kwargs: dict[str, Any], statics: Statics, by_type: bool
) -> tuple[tuple[Any, ...], Sequence[Any]] | None:
    """A key of a call that was likely made before, and its leaves; None if it takes a closer look.

    `by_type` says that the class of a Python int or bool is enough.
    """
    key: list[Any] = []
    if statics:
        positions, names = statics.positions, statics.names
        dynamic = []
        try:
            for n, a in enumerate(args):
                if n in positions:
                    key.append(typed(a))
                else:
                    dynamic.append(a)
            if kwargs:
                key += [(name, typed(kwargs[name])) for name in sorted(names & kwargs.keys())]
                kwargs = {name: a for name, a in kwargs.items() if name not in names}
        except TypeError:
            return None  # has no hash, and is refused by name later
        args = tuple(dynamic)
    if not kwargs and _add_types(key, args, by_type):
        return tuple(key), args
    leaves, structure = flatten((args, kwargs))
    key.append(structure)
    return (tuple(key), leaves) if _add_types(key, leaves, by_type) else None


def _add_types(key: list[Any], leaves: Sequence[Any], by_type: bool) -> bool:
    """Append the types of arrays and numbers to a key; whether all leaves are such."""
    for a in leaves:
        kind = type(a)
        if kind is np.ndarray:
            key.append(a.dtype)
            key.append(a.shape)
        elif kind in SCALARS or (kind is int and SMALLEST <= a <= LARGEST):
            if not by_type and (kind is int or kind is bool):
                return False
            key.append(kind)
        else:
            return False
    return True
