"""Forks while other threads work: a child finds nothing locked."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.forks import Lock
from graphc.passes import pipeline

if not hasattr(os, "fork"):
    pytest.skip("no fork here", allow_module_level=True)

SOON = 0.3  # seconds


def in_child(does: Callable[[], bool]) -> int:
    """The exit code of a child that does it: 0 if that is true, negative if it waits for ever."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        try:
            os._exit(0 if does() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Elsewhere:
    """A thread that is at work from the start of a block until its end, or for a while."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=work, args=())

    def pause(self) -> None:
        self.begun.set()
        assert self.over.wait(60)

    def __enter__(self) -> Elsewhere:
        self.thread.start()
        assert self.begun.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()

    def end_soon(self) -> None:
        threading.Timer(SOON, self.over.set).start()


def free(lock: Lock) -> bool:
    """Whether this thread can take the lock."""
    if not lock.held.acquire(timeout=5):
        return False
    lock.held.release()
    return True


def test_a_fork_waits_for_a_lock() -> None:
    lock, owned = Lock(), []

    def work() -> None:
        with lock.held:
            other.pause()
            owned.append(True)

    other = Elsewhere(work)
    with other:
        other.end_soon()
        assert in_child(lambda: free(lock) and owned == [True]) == 0
    assert free(lock)


def test_who_holds_a_lock_may_fork() -> None:
    lock = Lock()
    with lock.held:
        assert in_child(lambda: free(lock)) == 0
    other = threading.Thread(target=lambda: found.append(free(lock)))
    found: list[bool] = []
    other.start()
    other.join()
    assert found == [True]


def test_a_lock_that_was_not_waited_for_is_a_new_one_in_the_child() -> None:
    """As after Ctrl-C."""
    lock = Lock()

    def work() -> None:
        with lock.held:
            other.pause()

    other = Elsewhere(work)
    with other:
        before = lock.held
        lock._in_parent()
        assert not lock.held.acquire(blocking=False)
        lock._in_child()
        assert free(lock)
        assert lock.held is not before


def test_a_fork_waits_for_threads_that_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    run, compiled = pipeline.run, []

    def slow(*args: Any) -> Any:
        if threading.current_thread() is other.thread:
            other.pause()
        return run(*args)

    monkeypatch.setattr(pipeline, "run", slow)
    x = np.ones(3)
    other = Elsewhere(lambda: compiled.append(graphc.compile(lambda x: np.sin(x) + 1, x)))
    with other:
        other.end_soon()
        assert in_child(lambda: len(compiled) <= 1 and graphc.compile(np.cos, x)(x)[0] == np.cos(1.0)) == 0
        assert other.over.is_set()
    assert len(compiled) == 1


def test_a_child_compiles_what_another_thread_was_tracing() -> None:
    parent, calls = os.getpid(), []

    @graphc.jit
    def f(x: Any) -> Any:
        if os.getpid() == parent and not calls:
            calls.append(True)
            other.pause()
        return x * 3

    x = np.ones(3)
    other = Elsewhere(lambda: f(x))
    with other:
        assert in_child(lambda: bool((f(x) == 3).all())) == 0
    assert (f(x) == 3).all()
