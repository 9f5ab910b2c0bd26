"""What jit compiles for: signatures of calls, and how one differs from another, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from graphc.compiler.statics import Labelled, typed
from graphc.ir import TensorType

KINDS = {"b": "bool", "i": "int", "f": "float"}


@dataclass(frozen=True, slots=True)
class Signature:
    """What calls have to agree in for one compiled function to serve them, sizes and guards apart.

    `structure` is that of the arguments, `names` and `types` are those of their arrays, `statics` the static ones.
    """

    structure: Any
    names: tuple[str, ...]
    types: tuple[TensorType, ...]
    statics: Labelled

    def differences(self, other: Signature) -> list[str]:
        """How calls of this signature differ from those of another, in words."""
        found = [*_statics(dict(self.statics), dict(other.statics))]
        mine, others = dict(zip(self.names, self.types, strict=True)), dict(zip(other.names, other.types, strict=True))
        found += [f"{name} is new" for name in mine if name not in others]
        found += [f"{name} is missing" for name in others if name not in mine]
        for name in mine.keys() & others.keys():
            found += _types(name, mine[name], others[name])
        if not found and self.structure != other.structure:
            found.append("the arguments come in other tuples, lists or dicts, or by other names")
        return found

    def why(self, others: Iterable[Signature]) -> str:
        """Why none of the other signatures serves: how this one differs from the nearest."""
        found = [self.differences(other) for other in others]
        if not found:
            return "first call"
        nearest = min(found, key=len)
        return "; ".join(nearest)

    def shown(self, types: Iterable[TensorType]) -> str:
        """A call with these types: `(x: f64[3], n=2)`."""
        arrays = [f"{name}: {type!r}" for name, type in zip(self.names, types, strict=True)]
        return f"({', '.join([*arrays, *(f'{label}={_short(value)}' for label, value in self.statics)])})"


def kind(type: TensorType) -> tuple[Any, ...]:
    """What a signature holds of a type: a size of 1 broadcasts, any other is a matter of variants."""
    return type.dtype, type.weak, tuple([d == 1 for d in type.shape])


def _statics(mine: dict[str, Any], others: dict[str, Any]) -> Iterator[str]:
    for label, value in mine.items():
        if label not in others:
            yield f"{label}={_short(value)} is new"
        elif typed(value) != typed(others[label]):
            yield f"{label}={_short(value)}, before {_short(others[label])}"
    yield from (f"{label} is missing" for label in others if label not in mine)


def _types(name: str, new: TensorType, old: TensorType) -> Iterator[str]:
    if new.weak or old.weak:
        if (new.weak, new.dtype) != (old.weak, old.dtype):
            yield f"{name} is {_described(new)}, before {_described(old)}"
        return
    if new.ndim != old.ndim:
        yield f"{name} has {_axes(new.ndim)}, before {old.ndim}"
    if new.dtype != old.dtype:
        yield f"{name} is {new.dtype}, before {old.dtype}"
    if new.ndim == old.ndim:
        for axis, (size, before) in enumerate(zip(new.shape, old.shape, strict=True)):
            if (size == 1) != (before == 1):
                yield f"{name}.shape[{axis}] is {'1, which broadcasts' if size == 1 else 'no longer 1'}"


def _described(type: TensorType) -> str:
    return f"a Python {KINDS[type.dtype.kind]}" if type.weak else f"{type.dtype} with {_axes(type.ndim)}"


def _axes(count: int) -> str:
    return f"{count} axis" if count == 1 else f"{count} axes"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
