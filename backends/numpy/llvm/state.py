"""What a native function knows from call to call: words that Python fills in and machine code reads and writes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.backends.numpy.llvm.machine import Library

# SLOW: the function to call for everything else.
# SLOT: the block of an arena that is kept, or 0.
# UNPACKED: whether to return the one result that there is, and not a tuple of it.
# MAKER: what makes arrays of kept memory (see `reuse`), or 0.
# CLEARER: what gives the kept memory back to the system, or 0.
# STRICT: whether Python's numbers are for weak inputs, and these for nothing else.
# BUDGET, RENEW: what is left of the budget of a hurried program, as a double, and what to call when nothing is.
# CONSTANTS: where the constants lie, from here on one word for each.
SLOW, SLOT, UNPACKED, MAKER, CLEARER, STRICT, BUDGET, RENEW, CONSTANTS = range(9)


class State(np.ndarray[Any, Any]):
    """The words, which are the function's `self`; it owns all that they point to."""

    slow: Callable[..., Any]
    native: Any  # owns the code and the constants
    definition: Any  # the function's: see `entry.builtin`

    @classmethod
    def of(cls, slow: Callable[..., Any], native: object, constants: Sequence[int]) -> State:
        """The words before anything is chosen; `native` owns what is at the addresses of the constants."""
        state = cls((CONSTANTS + len(constants),), np.int64)
        state[:CONSTANTS] = 0
        state[SLOW] = id(slow)
        state[CONSTANTS:] = constants
        state.slow, state.native = slow, native
        return state

    # what it needs is bound here, as modules are empty when the interpreter ends
    def __del__(self, free: Any = ctypes.pythonapi.PyMem_RawFree, slot: int = SLOT) -> None:
        # a view of it, which somebody may have made, owns nothing
        if self.base is None and self[slot]:
            free(ctypes.c_void_p(int(self[slot])))


def lead(state: State, library: Library) -> None:
    """Lead a function to other code, which its next call runs."""
    state.definition.function = library.addresses["program"]
