"""Which arrays recorded calls give out again, with stand-ins for CuPy's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from graphc.backends.cupy import allocation
from graphc.backends.cupy.allocation import Arena, Block, Directed
from graphc.backends.cupy.recording import MOST_GIVEN, Recording


class Memory:
    """A pointer into memory; adding to it gives another."""

    def __init__(self, mem: Any = None, place: int = 0) -> None:
        self.mem = object() if mem is None else mem
        self.place = place
        self.ptr = 4096 * id(self.mem) + place

    def __add__(self, place: int) -> Memory:
        return Memory(self.mem, self.place + place)


class Made:
    def __init__(self, shape: tuple[int, ...], dtype: Any, data: Memory) -> None:
        self.shape, self.dtype, self.data = shape, dtype, data


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    cuda = SimpleNamespace(alloc=lambda size: Memory(), get_current_stream=lambda: None)
    stand_in = SimpleNamespace(cuda=cuda, ndarray=Made)
    monkeypatch.setattr(allocation, "cupy", lambda: stand_in)
    found = Recording.__new__(Recording)
    found.cp = stand_in
    found.block = Block([np.zeros((2, 3), np.float32), np.zeros(300), np.zeros(())])
    found.whole = None
    found.copy_in = lambda arguments: None  # type: ignore[assignment]
    found.gather = lambda memory: None  # type: ignore[assignment]
    found.graph = SimpleNamespace(launch=lambda stream: None)
    found.given, found.turn = [], 0
    found.numbers, found.direct = None, {}  # type: ignore[assignment]
    return found


def called(recording: Recording, arguments: Any = ()) -> tuple[Any, ...]:
    results = recording(arguments)
    assert results is not None
    return results


def addresses(results: Any) -> list[int]:
    return [id(a) for a in results]


def test_results_have_their_shapes_and_places(recording: Recording) -> None:
    a, b, c = called(recording)
    assert [x.shape for x in (a, b, c)] == [(2, 3), (300,), ()]
    assert [x.data.place for x in (a, b, c)] == [0, 256, 256 + 2560]
    assert a.data.mem is b.data.mem


def test_what_the_caller_dropped_serves_again(recording: Recording) -> None:
    places = {addresses(called(recording))[0] for _ in range(10)}
    assert len(places) == 1
    # as in training: the last results are held while the next ones are made
    results = called(recording)
    seen = set()
    for _ in range(10):
        results = called(recording, results)
        seen.add(id(results[0].data.mem))
    assert len(seen) <= MOST_GIVEN


def test_what_the_caller_holds_is_left_alone(recording: Recording) -> None:
    kept = [called(recording) for _ in range(7)]
    assert len({id(results[0].data.mem) for results in kept}) == 7
    single = called(recording)[1]  # one of three
    later = [called(recording) for _ in range(7)]
    assert all(results[0].data.mem is not single.data.mem for results in later)


def test_pointers_and_memory_count_as_held(recording: Recording) -> None:
    pointer = called(recording)[1].data
    memory = called(recording)[0].data.mem
    assert memory is not pointer.mem
    later = [called(recording) for _ in range(5)]
    assert all(results[0].data.mem not in (pointer.mem, memory) for results in later)


def test_arrays_whose_shape_was_changed_are_not_given_again(recording: Recording) -> None:
    results = called(recording)
    results[0].shape = (6,)
    del results
    assert called(recording)[0].shape == (2, 3)


class Placed(Made):
    """An array at an address."""

    nbytes = 64

    def __init__(self, ptr: int) -> None:
        super().__init__((16,), np.float32, Memory())
        self.data = SimpleNamespace(ptr=ptr)  # type: ignore[assignment]


def test_one_kernel_takes_arguments_where_they_are(recording: Recording) -> None:
    calls: list[list[int]] = []
    recording.whole = lambda addresses, memory: calls.append(addresses)  # type: ignore[assignment]
    assert recording([Placed(256), Placed(1024)]) is not None
    assert calls == [[256, 1024]]
    # the kernel reads 16 bytes at a time
    assert recording([Placed(256), Placed(1028)]) is None
    assert len(calls) == 1


def test_an_arena_gives_the_same_places_again() -> None:
    taken: list[int] = []

    def malloc(size: int) -> Memory:
        taken.append(size)
        return Memory()

    arena = Arena(malloc)
    apart = [arena(size) for size in (100, 0, 300, 256)]
    assert taken == [100, 0, 300, 256]
    assert len({id(m.mem) for m in apart}) == 4
    arena.make()
    assert taken[-1] == 256 + 512 + 256
    assert [arena(size).place for size in (100, 0, 300, 256)] == [0, 256, 256, 768]


def test_results_are_told_among_allocations() -> None:
    made = Directed(lambda size: Memory(), {})
    pieces = [made(size) for size in (64, 64, 8, 64)]

    def array(number: int, nbytes: int = 64, within: int = 0) -> Any:
        return SimpleNamespace(nbytes=nbytes, data=SimpleNamespace(ptr=pieces[number].ptr + within))

    nothing = SimpleNamespace(nbytes=0, data=SimpleNamespace(ptr=0))
    assert made.numbers([array(3), nothing, array(0)]) == [3, -1, 0]
    assert made.numbers([array(1), array(1)]) is None  # the same memory twice
    assert made.numbers([array(1, nbytes=32)]) is None  # a part of it
    assert made.numbers([array(1, nbytes=32, within=32)]) is None


def test_memory_that_is_given_again_belongs_to_the_last() -> None:
    piece = Memory()
    made = Directed(lambda size: piece, {})
    for _ in range(3):
        made(64)
    assert made.numbers([SimpleNamespace(nbytes=64, data=piece)]) == [2]


def test_results_are_put_where_they_should_be() -> None:
    there = Memory()
    made = Directed(lambda size: Memory(), {1: (64, there), 2: (64, there)})
    assert made(64) is not there
    assert made(64) is there
    assert made(32) is not there  # another size: the call has gone another way
    assert made(64) is not there
