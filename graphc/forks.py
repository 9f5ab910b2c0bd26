"""Locks and forks: a child has only the thread that forked; what another one had locked is locked there for ever."""

from __future__ import annotations

import os
import threading
from typing import Any


class Lock:
    """A lock that its own thread may take again, and that no child of a fork finds locked: a fork waits for it.

    For locks that live as long as the process. Who holds one must not wait for a thread that may fork.

    >>> lock = Lock()
    >>> with lock.held:
    ...     pass
    """

    def __init__(self) -> None:
        # taken as it is: Ctrl-C may come between lines of Python, but not between such a lock and its block
        self.held: Any = threading.RLock()
        self._forking: int | None = None  # the thread that holds it over a fork
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child)

    def _before(self) -> None:
        self.held.acquire()
        self._forking = threading.get_ident()

    # Ctrl-C ends the waiting, but not the fork: then the lock is another thread's

    def _in_parent(self) -> None:
        if self._forking == threading.get_ident():
            self._forking = None
            self.held.release()

    def _in_child(self) -> None:
        if self._forking == threading.get_ident():
            self._in_parent()
        else:
            self._forking, self.held = None, threading.RLock()
