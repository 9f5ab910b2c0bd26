"""The functions of graphc.numpy look like NumPy's: the same parameters, and words of their own on what they do."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final

import numpy as np
import pytest

import graphc.numpy as gnp

ROOMS: Final = {"": (np, gnp), "linalg": (np.linalg, gnp.linalg), "fft": (np.fft, gnp.fft)}
NAMES: Final = [
    f"{room}.{name}".removeprefix(".")
    for room, (theirs, ours) in ROOMS.items()
    for name in ours.__all__
    if callable(getattr(ours, name)) and getattr(ours, name) is not getattr(theirs, name, None)
]


def pair(name: str) -> tuple[Any, Any]:
    """NumPy's function, None if this NumPy has none of that name, and graphc's."""
    room, _, short = name.rpartition(".")
    theirs, ours = ROOMS[room]
    return getattr(theirs, short, None), getattr(ours, short)


# Parameters that differ from NumPy's on purpose.
OWN: Final = {
    "arange": "it takes start by its name, as NumPy does, whatever it says of itself",
    "array": "ndmax is 64 where it is left out, as in NumPy, which shows 0",
    "vectorize": "a function here, a class there",
}


def shown(function: Any) -> list[tuple[str, str, str]]:
    """Name, kind and default of each parameter."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind.name, re.sub(r"<no value>|<class '(\w+)'>", r"\1", repr(p.default))) for p in parameters]


@pytest.mark.parametrize("name", NAMES)
def test_parameters(name: str) -> None:
    theirs, ours = pair(name)
    if theirs is None or name in OWN or isinstance(theirs, np.ufunc):
        return
    try:
        expected = shown(theirs)
    except ValueError:
        return
    assert shown(ours) == expected


@pytest.mark.parametrize("name", NAMES)
def test_words(name: str) -> None:
    theirs, ours = pair(name)
    first, *rest = inspect.cleandoc(ours.__doc__ or "").split("\n")
    assert re.fullmatch(r"\S.+[.:]", first), first
    assert not any(rest[:1]), "an empty line after the first"
    assert theirs is None or first != inspect.cleandoc(theirs.__doc__ or "").split("\n")[0]
    assert ours.__name__ == name.rpartition(".")[2] or ours is getattr(gnp, ours.__name__, None), ours.__name__
