"""Programs that were compiled in a hurry, compiled again with care when they have run long enough for that to pay.

A program in a hurry takes what each of its calls costs from a budget. The call that spends the last of it asks for
better code, and goes on. A thread compiles that, mostly inside of LLVM, without the interpreter's lock; then
the built-in functions of the program are led to it. They stay the same objects, so whoever holds them runs the better
code too. Both codes give the same bits, but for the sign and payload of NaN, which depend on the order in which LLVM
hands over operands: nothing else shows when it happened, but time.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from graphc.backends.numpy.llvm.machine import Library
from graphc.plan import COMPILER


class Renewal:
    """The better code of a program, and the functions that wait for it; called when one of them has spent its budget.

    budget: additions, roughly, that a function may cost before.
    compile: makes the better code.
    lead: leads a function, given its owner, to other code.
    """

    def __init__(self, budget: float, compile: Callable[[], Library], lead: Callable[[Any, Library], None]) -> None:
        self.budget = budget
        self.library: Library | None = None
        self.asked = False
        self._compile = compile
        self._lead = lead
        self._owners: list[weakref.ref[Any]] = []

    def watch(self, owner: Any) -> None:
        """Lead a function, given its owner, to the better code: now if it is there, else when it is."""
        # `renew` does it the other way round: whatever comes in between, one of the two leads the function
        self._owners.append(weakref.ref(owner))
        if self.library is not None:
            self._lead(owner, self.library)

    def __call__(self) -> None:
        if not self.asked:
            self.asked = True
            _compiler.ask(self)

    def renew(self) -> None:
        """Make the better code, and lead all functions to it; nothing, if nobody has any of them any more."""
        if all(reference() is None for reference in self._owners):
            self.asked = False  # the next one that is made may ask again
            return
        self.library = self._compile()
        for reference in self._owners:
            owner = reference()
            if owner is not None:
                self._lead(owner, self.library)


class _Compiler:
    """The thread that compiles, one program after the other. There is one while there is something to do."""

    def __init__(self) -> None:
        self.queue: deque[Renewal] = deque()
        self.thread: threading.Thread | None = None
        self.paused = False
        self.changing = threading.RLock()  # held to look at all this, never longer; a signal may call a program then

    def ask(self, renewal: Renewal) -> None:
        with self.changing:
            self.queue.append(renewal)
            self.start()

    def start(self) -> None:
        if self.queue and self.thread is None and not self.paused:
            thread = threading.Thread(target=self.work, name=COMPILER)
            # no more threads, or the interpreter ends: what there is goes on
            with suppress(RuntimeError):
                thread.start()
                self.thread = thread

    def work(self) -> None:
        while (renewal := self.next()) is not None:
            try:
                renewal.renew()
            except BaseException:
                # it is shown as errors of threads are; neither other programs nor whoever forks must wait for this one
                with self.changing:
                    self.thread = None
                    self.start()
                raise

    def next(self) -> Renewal | None:
        """What this thread compiles next; None if it ends."""
        here = threading.current_thread()
        with self.changing:
            # one that was started when Ctrl-C came is not known to be at work, and another one may be instead
            if self.thread not in (None, here):
                return None
            # the interpreter waits for its threads when it ends, and then there is nothing to gain
            if self.paused or not self.queue or not threading.main_thread().is_alive():
                self.thread = None
                return None
            self.thread = here
            return self.queue.popleft()

    # A child has only the thread that forks: a lock that another one holds, LLVM's too, is locked there for ever.

    def before_fork(self) -> None:
        while True:
            self.paused = True
            wait()
            self.changing.acquire()
            if self.thread is None:
                return
            self.changing.release()  # another thread's fork has just let it go on

    def in_parent(self) -> None:
        self.paused = False
        self.start()
        self.changing.release()

    def in_child(self) -> None:
        self.paused = False  # what is in the queue waits until the child asks for more
        # Ctrl-C ends what comes before a fork, but not the fork: then the parent's thread may be at work
        self.thread, self.changing = None, threading.RLock()


_compiler = _Compiler()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_compiler.before_fork,
        after_in_parent=_compiler.in_parent,
        after_in_child=_compiler.in_child,
    )


def wait() -> None:
    """Wait until all programs have the better code that they have asked for."""
    while (thread := _compiler.thread) is not None:
        thread.join()
