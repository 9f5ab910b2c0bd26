"""A pool of threads for kernels: they sleep in machine code, and never need the interpreter.

A call that wants help opens the *gate* to some workers, takes pieces of the work itself until none is left, closes the
gate, and waits for those inside. So it never waits for a worker that has not come: on a busy machine it does all alone.
A worker that finds the gate closed looks again for some microseconds, then sleeps. One call at a time has the pool;
others meanwhile run on their own threads.

Where other processes want the CPUs, the system may stop a worker in the middle of a piece, for longer than all the work
takes. After a call that would have been faster alone, others run alone for many times as long as it has lost, and for
longer if it happens again: so that little is lost where it goes on. And where the system puts a worker on the CPU of
another thread of the job, the worker has itself moved: see `systems`.

Threads are made when they are first wanted. After a fork the child has none, and makes its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import lru_cache
from typing import Final

from graphc.backends.numpy.llvm import code, threads, workers
from graphc.backends.numpy.llvm.machine import BRIEF, host


class Pool:
    """The pool of this process."""

    def __init__(self, count: int) -> None:
        self.alone = count == 1  # for good
        text = workers.WITHOUT_THREADS if self.alone else workers.source(sys.platform, host())
        library = code.library((code.Part(text, BRIEF, shared=True),), host(), workers.NAMES)
        # workers sleep in this code until the process ends
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(library.tracker))
        self.address = library.addresses["graphc_parallel"]
        kinds = [*[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_double, ctypes.c_int64]
        self.run = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(self.address)
        self._words = {name: ctypes.c_int64.from_address(library.addresses[name]) for name in workers.WORDS}
        self.threads = count
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=ctypes.CFUNCTYPE(None)(library.addresses["graphc_forget"]))

    @property
    def threads(self) -> int:
        """How many threads a kernel may run on, the caller's among them."""
        return self._words["graphc_threads"].value

    @threads.setter
    def threads(self, count: int) -> None:
        self._words["graphc_threads"].value = count

    @property
    def wary(self) -> bool:
        """Whether others run alone for a while after a call that was slower than alone."""
        return bool(self._words["graphc_wary"].value)

    @wary.setter
    def wary(self, wary: bool) -> None:
        self._words["graphc_wary"].value = wary

    @property
    def started(self) -> int:
        """How many threads the pool has made."""
        return self._words["graphc_started"].value


def pool() -> Pool:
    """The process's pool; its threads are made when work needs them."""
    # where several threads come first at once, one of their pools stays
    return _made.get(True) or _made.setdefault(True, Pool(_wanted()))


def is_alone() -> bool:
    """Whether one thread is all that kernels of this process may run on: then no work is for a pool."""
    return _made[True].alone if True in _made else _wanted() == 1


_wanted = lru_cache(maxsize=1)(threads.wanted)
_made: Final[dict[bool, Pool]] = {}
