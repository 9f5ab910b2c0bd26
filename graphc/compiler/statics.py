"""Static arguments: which they are, and the keys under which their values are remembered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from graphc.errors import TraceError
from graphc.tracing import user_locs

Labelled = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Statics:
    """The arguments of a function that stay Python values, by position and by name.

    One that may be passed either way is in both. `labels` are the names of the positional parameters.
    """

    positions: frozenset[int]
    names: frozenset[str]
    labels: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.positions or self.names)

    def label(self, position: int) -> str:
        """What errors and explanations call the argument at a position."""
        return self.labels[position] if position < len(self.labels) else f"argument {position}"

    def of_call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Labelled:
        """The static arguments of a call, by label."""
        by_position = [(self.label(n), args[n]) for n in sorted(self.positions) if n < len(args)]
        return (*by_position, *((name, kwargs[name]) for name in sorted(self.names & kwargs.keys())))

    def rest(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The other arguments of a call."""
        dynamic = tuple(a for n, a in enumerate(args) if n not in self.positions)
        return dynamic, {name: a for name, a in kwargs.items() if name not in self.names}

    def fill(self, f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[..., Any]:
        """`f` as a function of the arguments that are not static, those of this call filled in."""
        static_kwargs = {name: kwargs[name] for name in self.names & kwargs.keys()}

        def filled(*dynamic: Any, **keywords: Any) -> Any:
            rest = iter(dynamic)
            merged = [args[n] if n in self.positions else next(rest) for n in range(len(args))]
            return f(*merged, **keywords, **static_kwargs)

        filled.__name__ = getattr(f, "__name__", type(f).__name__)
        signature = parameters_of(f)
        if signature is not None:
            # the names of the others, for the inputs of the graph
            passed = [p for n, p in enumerate(signature) if n not in self.positions and p.name not in self.names]
            filled.__signature__ = inspect.Signature(passed)  # type: ignore[attr-defined]
        return filled


def parameters_of(f: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """The parameters of a function; None for one that does not tell, as some of C do not."""
    try:
        return list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return None


def named_parameters(f: Callable[..., Any], argnums: Any, argnames: Any, kind: str, maker: str = "jit") -> Statics:
    """The arguments that `static_argnums` and `static_argnames`, or others of some `kind`, name.

    Each is one however a call passes it.

    Raises:
        TraceError: one of them is no number or no name, or the function has no such parameter.
    """
    by_number, by_name = f"{maker}: {kind}_argnums", f"{maker}: {kind}_argnames"
    numbers = _several(argnums, int, by_number, "numbers of positional parameters")
    names = frozenset(_several(argnames, str, by_name, "names of parameters"))
    parameters = parameters_of(f)
    if parameters is None:
        if any(n < 0 for n in numbers):
            raise _wrong(by_number, "numbers from 0, as the function does not tell its parameters", numbers)
        return Statics(frozenset(numbers), names, ())
    kinds = {p.kind for p in parameters}
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    either = {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}
    any_number, any_name = inspect.Parameter.VAR_POSITIONAL in kinds, inspect.Parameter.VAR_KEYWORD in kinds
    count = len(positional)
    for n in numbers:
        if any_number and n < 0:
            raise _wrong(by_number, "numbers from 0, as the function takes any number of arguments", numbers)
        if not any_number and not -count <= n < count:
            takes = f"{-count} to {count - 1}" if count else "none: it takes no positional arguments"
            raise _wrong(by_number, takes, numbers, f"{kind}_argnames for what is passed by name only")
    known = {p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not any_name and (unknown := names - known):
        raise _wrong(by_name, " ".join(sorted(known)) or "no name", sorted(unknown))
    positions = {n % count if n < 0 else n for n in numbers}
    positions |= {positional.index(name) for name in names if name in positional}
    numbered = {positional[n] for n in positions if n < count}
    return Statics(frozenset(positions), names | (numbered & either), tuple(positional))


def _several(given: Any, kind: type, what: str, expected: str) -> tuple[Any, ...]:
    many = (given,) if isinstance(given, (str, int, np.integer)) else given
    try:
        found = tuple(int(one) if isinstance(one, np.integer) else one for one in many)
    except TypeError:
        found = (given,)
    if not all(isinstance(one, kind) and not isinstance(one, bool) for one in found):
        raise _wrong(what, expected, given, problem="is not understood")
    return found


def _wrong(
    what: str,
    expected: str,
    actual: Any,
    fix: str | None = None,
    problem: str = "names a parameter that the function does not have",
) -> TraceError:
    loc = (user_locs() or (None,))[0]
    return TraceError(f"{what} {problem}", expected=expected, actual=repr(actual)[:60], loc=loc, fix=fix)


def typed(value: Any) -> Any:
    """A key for a static value that tells 1 from True and 1.0, and 0.0 from -0.0; TypeError if it has no hash."""
    kind = type(value)
    if kind is int or kind is str or kind is bool or value is None:
        return kind, value
    if isinstance(value, tuple):
        return kind, tuple(map(typed, value))
    if isinstance(value, frozenset):
        return kind, frozenset(map(typed, value))
    if isinstance(value, slice):
        return kind, typed(value.start), typed(value.stop), typed(value.step)  # has a hash from Python 3.12 on
    if isinstance(value, (float, complex, np.number)):
        return kind, repr(value)  # tells the zeros apart and finds a NaN again
    hash(value)
    if is_dataclass(value) and not isinstance(value, type):
        return kind, value, tuple(typed(getattr(value, field.name)) for field in fields(value))
    return kind, value


def static_key(statics: Labelled) -> Any:
    """The key of a call's static arguments."""
    try:
        return tuple((label, typed(value)) for label, value in statics)
    except TypeError:
        raise TraceError(
            "a static argument must be hashable: it is part of the key of what was compiled",
            expected="numbers, strings, tuples of them",
            actual=", ".join(f"{label}={value!r}" for label, value in statics if not _hashable(value))[:80],
            loc=(user_locs() or (None,))[0],
            fix="pass a tuple in place of a list, or pass it as an array",
        ) from None


def _hashable(value: Any) -> bool:
    try:
        typed(value)
    except TypeError:
        return False
    return True
