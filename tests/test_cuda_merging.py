"""Small kernels as a single one: plans whose launches are noted, joined and emulated give what NumPy gives."""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import graphc
from benchmarks.tree import leaves
from benchmarks.workloads.learning import ExponentialNetwork
from graphc.backends.cupy import copies, executor, gathering, joining, launching, merging, products, recording
from graphc.backends.cupy.allocation import Block
from graphc.backends.cupy.functions import scatter_add
from graphc.backends.cupy.launching import Call, Ordered, Tape, taped
from graphc.backends.cupy.schedule import Device, Program
from graphc.backends.numpy.executor import define
from graphc.ops import functions as numpy_functions
from tests.cuda_emulation import COMPILER, ORDERS, Emulator, instead_of_cupy
from tests.test_cuda_kernels import assert_no_spills
from tests.test_cuda_products import AS_IT_IS, wrapped
from tests.test_cuda_products import drawn as whole_numbers
from tests.test_cuda_programs import PROGRAMS, Constant, plan_of

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX")


class Machine:
    """A GPU whose kernels are emulated on NumPy's memory. It keeps every array, so that addresses stay apart."""

    def __init__(self, folder: Path, order: int = 0) -> None:
        self.folder = folder
        self.order = order
        self.kept: list[Any] = []
        self.launched: list[str] = []
        self.cupy = SimpleNamespace(
            cuda=SimpleNamespace(runtime=SimpleNamespace(getDevice=lambda: 0)),
            ascontiguousarray=lambda x: self.keep(np.array(x, order="C")),
            empty=lambda shape, dtype: self.keep(np.full(shape, 77, dtype)),
            transpose=np.transpose,
            broadcast_to=lambda x, shape: np.broadcast_to(x, shape, subok=True),
            reshape=np.reshape,
            concatenate=lambda arrays, axis: self.keep(np.concatenate(arrays, axis)),
            array=lambda x: self.keep(np.array(x)),
        )

    def keep(self, array: Any) -> Any:
        # 16 bytes at a time may be read where CuPy's arrays begin
        room = np.empty(array.nbytes + 16, np.uint8)
        start = -room.ctypes.data % 16
        copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        self.kept.append(wrapped(copy))
        return self.kept[-1]

    def piece(self, address: int) -> int:
        """Which array an address lies in."""
        return next(k for k, a in enumerate(self.kept) if 0 <= address - a.ctypes.data < max(a.nbytes, 1))

    def room(self, size: int) -> Any:
        """An array of so many bytes."""
        return self.keep(np.full(size, 0xA5, np.uint8))

    def on_device(self, number: Any) -> Any:
        """What `functions.on_device` does."""
        return self.keep(np.asarray(number))

    def function(self, text: str) -> Callable[..., None]:
        """What `compiling.function` gives."""

        def run(grid: tuple[int, int, int], block: tuple[int, int, int], arguments: Any) -> None:
            self.launched.append(text)
            pointer = [kind[1] for kind in merging.parameters(text)]
            addresses = [a for a, p in zip(arguments, pointer, strict=True) if p]
            emulator = Emulator([text], self.folder)
            launch = emulator.library.launch_0
            shape = (ctypes.c_longlong * 4)(*grid[:2], *block[:2])
            numbers = [a for a, p in zip(arguments, pointer, strict=True) if not p]
            many = (ctypes.c_void_p * (len(addresses) + 1))(*addresses)
            assert launch(shape, self.order, many, (ctypes.c_longlong * (len(numbers) + 1))(*numbers)) == 0

        return run

    def kernel(self, kernel: Any) -> Callable[..., None]:
        """What `running.Runner` does."""
        program = Program(kernel)
        nodes = (*kernel.roots, *kernel.nodes)

        def run(*args: Any) -> None:
            places = {node: a.data.ptr for node, a in zip(nodes, args[: len(nodes)], strict=True)}
            aligned = {node: (a & -a) & 15 or 16 for node, a in places.items()}
            schedule = program.schedule(args[len(nodes) :], aligned, Device())
            rooms = {number: self.room(size) for number, size in schedule.workspaces.items()}
            places.update((number, room.data.ptr) for number, room in rooms.items())
            for one in schedule.launches:
                arguments = (*[places[a] for a in one.arrays], *one.numbers)
                launching.launch(one.source, one.grid, one.block, arguments, one.work)

        return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels are found again."""
    return tmp_path_factory.mktemp("merging")


@pytest.fixture(params=ORDERS)
def machine(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(folder, request.param)
    instead_of_cupy(found, monkeypatch)
    return found


def loaded(compiled: Any, machine: Machine) -> Callable[..., Any]:
    """The function that the CuPy backend would run."""
    plan = plan_of(compiled)
    writer, source = executor.written(plan)
    module = ModuleType("functions")
    module.__dict__.update(
        gather=gathering.gather,
        unslice=lambda *a: machine.keep(numpy_functions.unslice(*a)),
        fill=copies.fill,
        concatenate=joining.concatenate,
        scatter_add=scatter_add,
        on_device=machine.on_device,
        matmul=products.matmul,
    )
    ndarray = getattr(machine.cupy, "ndarray", type(wrapped(0)))
    scope = {**writer.scope, "cp": Ordered(machine.cupy), "ck": Ordered(module), "ndarray": ndarray}
    scope.update((name, Constant(machine.keep(array))) for name, array in writer.constants.items())
    scope.update((f"kernel{k}", machine.kernel(kernel)) for k, kernel in enumerate(writer.kernels))
    return define(plan.graph.name, source, scope)


def drawn(spec: Any) -> Any:
    rng = np.random.default_rng(4)
    return spec if isinstance(spec, np.ndarray) else rng.normal(size=spec).astype(np.float32)


@pytest.mark.parametrize("name", [n for n in PROGRAMS if "h5" not in n and "sizes" not in n])
def test_joined_launches_do_the_same(name: str, machine: Machine) -> None:
    f, shapes = PROGRAMS[name]
    given = [drawn(s) for s in shapes]
    compiled = graphc.compile(f, *given)
    run = loaded(compiled, machine)
    arguments = [machine.keep(a) for a in given]
    apart = [np.array(r) for r in run(*arguments)]
    with taped(Tape(recording.send)) as tape:
        together = run(*arguments)
        tape.flush()

    def side_by_side(calls: Sequence[Call]) -> None:
        for group in merging.runs(calls, merging.MOST_WORK):
            one = merging.merged(group, (), machine.piece, merging.MANY_THREADS)
            machine.function(one.text)((1, 1, 1), (*one.block, 1), one.arguments)

    with taped(Tape(side_by_side)) as tape:
        beside = run(*arguments)
        tape.flush()
    wanted = leaves(compiled(*given))
    for a, b, c, d in zip(apart, together, beside, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
        np.testing.assert_allclose(a, d, rtol=2e-5, atol=2e-6)


def test_a_training_step_is_one_kernel(machine: Machine) -> None:
    """Of a network of three layers by Adam; it reads arguments and writes results where they are."""
    workload = ExponentialNetwork()
    inputs = workload.inputs()
    compiled = graphc.compile(workload.graphc(), *inputs)
    run = loaded(compiled, machine)
    given = [machine.keep(np.asarray(x)) for x in leaves(inputs)]
    apart = [np.array(r) for r in run(*given)]
    assert len(machine.launched) > 15
    with taped(Tape(recording.send)) as tape:
        results = run(*given)
    assert tape.flushes == 0
    (calls,) = merging.runs(tape.calls, merging.MOST_WORK)
    assert len(merging.levels(calls, machine.piece)) <= len(calls) // 2
    # other arguments than those that were noted, and results elsewhere
    block = Block(results)
    regions = [
        *(merging.Region(r.data.ptr, r.nbytes, "results", k[0]) for r, k in zip(results, block.kinds, strict=True)),
        *(merging.Region(a.data.ptr, a.nbytes, f"input {k}") for k, a in enumerate(given)),
    ]
    one = merging.merged(calls, regions, machine.piece, merging.MANY_THREADS)
    others = [machine.keep(a) for a in given]
    for a in given:
        a[...] = np.nan
    memory = machine.keep(np.zeros(block.bytes, np.uint8))
    places = {"results": memory.data.ptr, **{f"input {k}": a.data.ptr for k, a in enumerate(others)}}
    if machine.order == 0 and find_spec("cuda") is not None:
        assert assert_no_spills([one.text]) <= 64
    machine.launched.clear()
    machine.function(one.text)((1, 1, 1), (*one.block, 1), [places.get(n, n) for n in one.arguments])  # type: ignore[call-overload]
    assert len(machine.launched) == 1
    for (place, shape, dtype), wanted in zip(block.kinds, apart, strict=True):
        size = math.prod(shape) * dtype.itemsize
        np.testing.assert_array_equal(memory[place : place + size].view(dtype).reshape(shape), wanted)


def test_side_by_side_there_is_shared_memory_for_all(machine: Machine) -> None:
    rng = np.random.default_rng(0)
    given = [rng.normal(size=(40 + k, 30 + k)) for k in range(9)]
    compiled = graphc.compile(lambda *xs: [np.sum(x, axis=0) for x in xs], *given)
    with taped(Tape(lambda calls: None)) as tape:
        results = loaded(compiled, machine)(*[machine.keep(x) for x in given])
    rooms = [int(room) for call in tape.calls for room in merging.ROOM.findall(call.text)]
    assert sum(rooms) > merging.MOST_ROOM
    one = merging.merged(tape.calls, (), machine.piece, merging.MANY_THREADS)
    (shared,) = re.findall(r"shared\[(\d+)\]", one.text)
    assert int(shared) <= merging.MOST_ROOM
    machine.function(one.text)((1, 1, 1), (*one.block, 1), one.arguments)
    for a, b in zip(results, compiled(*given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


SMALL_PRODUCTS = {
    **AS_IT_IS,
    "shared by a warp": (whole_numbers(20, 100), whole_numbers(100, 3)),
    "shared by two": (whole_numbers(11, 40), whole_numbers(40, 3)),
    "shared by four": (whole_numbers(3, 7, 70), whole_numbers(3, 70, 5)),
    "shared by a whole warp": (whole_numbers(7, 600), whole_numbers(600, 3)),
    "shared, transposed": (whole_numbers(100, 7, dtype=np.float32).T, whole_numbers(100, 33, dtype=np.float32)),
}


def test_small_products(machine: Machine) -> None:
    for name, (a, b) in SMALL_PRODUCTS.items():
        result = products.matmul(wrapped(a), wrapped(b))
        np.testing.assert_array_equal(result, np.matmul(a, b), err_msg=name)
        assert result.shape == np.matmul(a, b).shape
    assert len(machine.launched) == len(SMALL_PRODUCTS)


def test_a_product_of_tiles_can_be_recorded(machine: Machine) -> None:
    machine.cupy.cuda.alloc = lambda size: SimpleNamespace(ptr=machine.room(size).data.ptr)
    a, b, c = (whole_numbers(*s, dtype=np.float32) for s in ((33, 1300), (32, 1300), (32, 5)))
    with taped(Tape(recording.send)) as tape:
        result = products.matmul(machine.keep(a), machine.keep(b).T)
        again = products.matmul(result[:8], machine.keep(c))
        tape.flush()
    np.testing.assert_array_equal(result, a @ b.T)
    np.testing.assert_array_equal(again, result[:8] @ c)
    # the sums of its parts are added up in one kernel with the next product
    assert len(machine.launched) == 2
    assert "part1" in machine.launched[1]


def test_what_one_block_is_too_slow_for_is_launched_by_itself() -> None:
    text = products.small_products.text("float", 1)
    few, many = (Call(text, (4, 1), (256, 1), (0,) * 13, work) for work in (1000, 100_000))
    assert [len(run) for run in merging.runs([few, few, many, few, few, few])] == [2, 1, 3]
    assert [len(run) for run in merging.runs([few, few, many, few], merging.MOST_WORK)] == [4]


def test_what_needs_results_comes_later() -> None:
    """Against the definition, on launches that read and write pieces at random."""
    text = products.small_products.text("float", 1)  # reads two arrays, writes one
    rng = np.random.default_rng(0)
    for _ in range(50):
        pieces = rng.integers(0, 8, (20, 3))
        calls = [Call(text, (1, 1), (256, 1), (*map(int, row), *range(10)), k) for k, row in enumerate(pieces)]
        found = merging.levels(calls, lambda address: address)
        level = {call.work: k for k, group in enumerate(found) for call in group}
        assert sorted(level) == list(range(20))
        needed = [0] * 20
        for k, (a, b, c) in enumerate(pieces):
            for j, (d, e, f) in enumerate(pieces[:k]):
                if f in (a, b, c) or c in (d, e):
                    assert level[j] < level[k]
                    needed[k] = max(needed[k], level[j] + 1)
        assert [level[k] for k in range(20)] == needed  # none waits longer than it has to


@pytest.mark.parametrize(
    ("shape", "axis", "positions"),
    [
        ((5, 8), 0, ([1, -1, 4, 0],)),
        ((5, 3), 0, ([[1, -5], [4, 0]],)),
        ((3, 5, 7), 1, ([1, 1, -2],)),
        ((4, 5, 6), 0, ([1, 3, -1], [0, -5, 2])),
        ((4, 5, 6), 1, ([[1], [3]], [0, 5, -2])),
        ((9,), 0, (3,)),
        ((9,), 0, ([],)),
    ],
)
def test_gathering(shape: Any, axis: int, positions: Any, machine: Machine) -> None:
    for dtype in ("?", "i2", "f4", "f8", "c16"):
        if machine.order and dtype != "f4":
            continue  # threads have nothing to do with each other
        gathers(shape, axis, positions, dtype, machine)


def gathers(shape: Any, axis: int, positions: Any, dtype: str, machine: Machine) -> None:
    x = (np.arange(math.prod(shape)) % 251).astype(dtype).reshape(shape)
    indices = tuple(np.asarray(p, np.int64 if k else np.int32) for k, p in enumerate(positions))
    found = gathering.gather(machine.keep(x), tuple(map(machine.keep, indices)), axis)
    np.testing.assert_array_equal(found, numpy_functions.gather(x, indices, axis))


def test_results_are_gathered(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.cupy, "asarray", machine.keep, raising=False)
    arrays = [machine.keep(np.arange(n, dtype=dtype)) for n, dtype in ((1000, "f4"), (7, "u1"), (0, "f8"), (1, "f8"))]
    block = Block(arrays)
    memory = machine.keep(np.zeros(block.bytes, np.uint8))
    copies.Gather(arrays, block)(SimpleNamespace(ptr=memory.data.ptr))
    for array, (place, _, _) in zip(arrays, block.kinds, strict=True):
        np.testing.assert_array_equal(memory[place : place + array.nbytes].view(array.dtype), array)


def test_large_launches_are_left_alone() -> None:
    small = Call('extern "C" __global__ void kernel(const u8* a) {}', (1, 1), (256, 1), (0,), 1000)
    large = Call(small.text, (4000, 1), (256, 1), (0,), 1 << 20)
    odd = Call(small.text, (1, 1), (200, 1), (0,), 10)
    found = [len(run) for run in merging.runs([small, small, large, small, odd, small, small, small])]
    assert found == [2, 1, 1, 1, 3]


def test_what_is_no_kernel_comes_after_those_before_it() -> None:
    sent: list[str] = []
    module = ModuleType("module")
    module.__dict__.update(empty=lambda: sent.append("empty"), sort=lambda: sent.append("sort"), number=3)
    ordered = Ordered(module)
    with taped(Tape(lambda calls: sent.extend(c.text for c in calls))) as tape:
        launching.launch("first", (1, 1), (32, 1), (), 1)
        ordered.empty()
        launching.launch("second", (1, 1), (32, 1), (), 1)
        ordered.sort()
        launching.launch("third", (1, 1), (32, 1), (), 1)
        assert ordered.number == 3
        assert sent == ["empty", "first", "second", "sort"]
        assert [c.text for c in tape.calls] == ["third"]
