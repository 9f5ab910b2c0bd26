"""Programs that were compiled in a hurry, compiled again with care when they have run long enough for that to pay.

A program in a hurry takes what each of its calls costs from a budget. The call that spends the last of it asks for
better code, and goes on. A thread compiles that, mostly inside of LLVM, without the interpreter's lock; then
the built-in functions of the program are led to it. They stay the same objects, so whoever holds them runs the better
code too. Both codes give the same bits: nothing shows when it happened, but time.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from graphc.backends.numpy.llvm.machine import Library

PATIENCE: Final = 10.0  # seconds that a fork waits for a thread at most

_running: Final[set[threading.Thread]] = set()
_turn: Final = threading.Lock()  # one program at a time: the other CPUs are the user's


class Renewal:
    """The better code of a program, and the functions that wait for it; called when one of them has spent its budget.

    budget: additions, roughly, that a function may cost before.
    compile: makes the better code.
    lead: leads a function, given its owner, to other code.
    """

    def __init__(self, budget: float, compile: Callable[[], Library], lead: Callable[[Any, Library], None]) -> None:
        self.budget = budget
        self.library: Library | None = None
        self._compile = compile
        self._lead = lead
        self._owners: list[weakref.ref[Any]] = []
        self._asked = False

    def watch(self, owner: Any) -> None:
        """Lead a function to the better code: now if it is there, else when it is. It must exist by now."""
        self._owners.append(weakref.ref(owner))
        if self.library is not None:
            self._lead(owner, self.library)

    def __call__(self) -> None:
        if self._asked:
            return
        self._asked = True
        thread = threading.Thread(target=self._renew, name="graphc-renewal")
        _running.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter ends: what there is goes on
            _running.discard(thread)

    def _renew(self) -> None:
        try:
            with _turn:
                # the interpreter waits for threads when it ends, and then there is nothing to gain
                if threading.main_thread().is_alive():
                    self.library = self._compile()
                    for reference in self._owners:
                        owner = reference()
                        if owner is not None:
                            self._lead(owner, self.library)
        finally:
            _running.discard(threading.current_thread())


def wait() -> None:
    """Wait until all programs have the better code that they have asked for."""
    for thread in [*_running]:
        thread.join(PATIENCE)


# a child has only the thread that forks: what another one holds meanwhile, LLVM's lock above all, stays locked there
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=wait)
