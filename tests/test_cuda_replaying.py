"""Which arrays recorded calls give out again, with stand-ins for CuPy's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphc.backends.cupy import replaying
from graphc.backends.cupy.replaying import MOST_GIVEN, Block, Recording


class Memory:
    """A pointer into memory; adding to it gives another."""

    def __init__(self, mem: Any = None, place: int = 0) -> None:
        self.mem = object() if mem is None else mem
        self.place = place
        self.copies = 0

    def __add__(self, place: int) -> Memory:
        return Memory(self.mem, self.place + place)

    def copy_from_device_async(self, source: Any, size: int, stream: Any) -> None:
        self.copies += 1


class Made:
    def __init__(self, shape: tuple[int, ...], dtype: Any, data: Memory) -> None:
        self.shape, self.dtype, self.data = shape, dtype, data


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    cuda = SimpleNamespace(alloc=lambda size: Memory(), get_current_stream=lambda: None)
    stand_in = SimpleNamespace(cuda=cuda, ndarray=Made)
    monkeypatch.setattr(replaying, "cupy", lambda: stand_in)
    found = Recording.__new__(Recording)
    found.cp = stand_in
    found.block = Block([np.zeros((2, 3), np.float32), np.zeros(300), np.zeros(())])
    found.copy_in = lambda arguments: None  # type: ignore[assignment]
    found.graph = SimpleNamespace(launch=lambda stream: None)
    found.memory = Memory()
    found.given, found.turn = [], 0
    return found


def addresses(results: Any) -> list[int]:
    return [id(a) for a in results]


def test_results_have_their_shapes_and_places(recording: Recording) -> None:
    a, b, c = recording([])
    assert [x.shape for x in (a, b, c)] == [(2, 3), (300,), ()]
    assert [x.data.place for x in (a, b, c)] == [0, 256, 256 + 2560]
    assert a.data.mem is b.data.mem


def test_what_the_caller_dropped_serves_again(recording: Recording) -> None:
    places = {addresses(recording([]))[0] for _ in range(10)}
    assert len(places) == 1
    # as in training: the last results are held while the next ones are made
    results = recording([])
    seen = set()
    for _ in range(10):
        results = recording(results)
        seen.add(id(results[0].data.mem))
    assert len(seen) <= MOST_GIVEN


def test_what_the_caller_holds_is_left_alone(recording: Recording) -> None:
    kept = [recording([]) for _ in range(7)]
    assert len({id(results[0].data.mem) for results in kept}) == 7
    single = recording([])[1]  # one of three
    later = [recording([]) for _ in range(7)]
    assert all(results[0].data.mem is not single.data.mem for results in later)


def test_pointers_and_memory_count_as_held(recording: Recording) -> None:
    pointer = recording([])[1].data
    memory = recording([])[0].data.mem
    assert memory is not pointer.mem
    later = [recording([]) for _ in range(5)]
    assert all(results[0].data.mem not in (pointer.mem, memory) for results in later)


def test_arrays_whose_shape_was_changed_are_not_given_again(recording: Recording) -> None:
    results = recording([])
    results[0].shape = (6,)
    del results
    assert recording([])[0].shape == (2, 3)
