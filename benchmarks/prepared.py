"""A program that is ready to be timed: what the worker sees of a peer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.tree import leaves

Array = np.ndarray[Any, Any]
Program = Callable[..., Any]


class Prepared(ABC):
    """A compiled program together with its arguments."""

    @abstractmethod
    def reset(self) -> None:
        """Go back to the first arguments: steps that feed themselves start again, with fresh copies."""

    @abstractmethod
    def run(self, calls: int) -> None:
        """Call the program so many times, and return when the last result is there. This alone is timed."""

    @abstractmethod
    def results(self) -> list[Array]:
        """The results of one call on the first arguments, as NumPy arrays."""


class Calls(Prepared):
    """A function called again and again on the same arguments.

    `wait` blocks until a result is finished, for libraries that answer before they are; `host` makes a NumPy array of
    a result.
    """

    def __init__(
        self,
        call: Program,
        args: Sequence[Any],
        wait: Callable[[Any], object] | None = None,
        host: Callable[[Any], Array] = np.asarray,
    ) -> None:
        self.call = call
        self.args = tuple(args)
        self.wait = wait
        self.host = host

    def reset(self) -> None:
        """The arguments never change."""

    def run(self, calls: int) -> None:
        call, args, wait = self.call, self.args, self.wait
        if wait is None:
            for _ in range(calls):
                result = call(*args)
        else:
            for _ in range(calls):
                result = call(*args)
                wait(result)
        del result

    def results(self) -> list[Array]:
        return [self.host(leaf) for leaf in leaves(self.call(*self.args))]


class Steps(Prepared):
    """A function whose first results are the first arguments of the next call, as in training or time stepping.

    `fresh` makes the first arguments anew: a step may change or consume those it is given. The program is waited for
    after the last step only, since each step needs the one before.
    """

    def __init__(
        self,
        call: Program,
        fresh: Callable[[], Sequence[Any]],
        carry: int,
        wait: Callable[[Any], object] | None = None,
        host: Callable[[Any], Array] = np.asarray,
    ) -> None:
        self.call = call
        self.fresh = fresh
        self.carry = carry
        self.wait = wait
        self.host = host
        self.reset()

    def reset(self) -> None:
        self.args = tuple(self.fresh())

    def run(self, calls: int) -> None:
        call, args, carry = self.call, self.args, self.carry
        # as in a loop of a user's, a state that was passed on is held no more: its memory is free for the next result
        self.args = ()
        if carry == 1 and len(args) == 1:
            (state,) = args
            del args
            for _ in range(calls):
                state = call(state)
            result: Any = state
            self.args = (state,)
        else:
            rest = args[carry:]
            kept = args[:carry]
            del args
            for _ in range(calls):
                result = call(*kept, *rest)
                kept = result[:carry]
            self.args = (*kept, *rest)
        if self.wait is not None:
            self.wait(result)

    def results(self) -> list[Array]:
        self.reset()
        found = [np.array(self.host(leaf)) for leaf in leaves(self.call(*self.args))]
        self.reset()
        return found
