"""Variables of the environment that say how a process compiles and runs: what one may say, and what it says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from graphc.errors import UnsupportedError


def choice(variable: str, choices: Sequence[str], environment: Mapping[str, str] = os.environ) -> str:
    """Which of several words a variable has; the first, if it is not set or empty.

    Raises:
        UnsupportedError: it has another one.

    >>> choice("GRAPHC_CUDA_GRAPHS", ("on", "off"), {"GRAPHC_CUDA_GRAPHS": "off"})
    'off'
    >>> choice("GRAPHC_CUDA_GRAPHS", ("on", "off"), {})
    'on'
    """
    given = environment.get(variable, "").strip() or choices[0]
    if given not in choices:
        raise UnsupportedError(
            f"the variable {variable} is {given!r}",
            expected=" or ".join(choices),
            actual=repr(given),
            fix=f"{variable}={choices[0]}, which is as if it were not set",
        )
    return given


def whole(
    variable: str, meaning: str, expected: str, least: int = 0, environment: Mapping[str, str] = os.environ
) -> int | None:
    """The whole number that a variable has; None if it is not set or empty.

    Raises:
        UnsupportedError: it has something else, or a number below `least`; the message says what the variable means.

    >>> whole("GRAPHC_NUM_THREADS", "says how many threads there are", "1 or more", 1, {"GRAPHC_NUM_THREADS": "3"})
    3
    """
    given = environment.get(variable, "").strip()
    if not given:
        return None
    if not (given.isascii() and given.isdecimal()) or int(given) < least:
        raise UnsupportedError(f"the variable {variable} {meaning}", expected=expected, actual=repr(given))
    return int(given)
