"""CUDA kernels, run on the processor: every text that the generator writes, against the NumPy meaning of its kernel."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.cupy import (
    buckets,
    gathering,
    joining,
    philox,
    scattering,
    schedule,
    small_products,
    tiled_products,
)
from graphc.backends.cupy.compiling import relaxed
from graphc.backends.cupy.copies import GATHER, ONE, copy_text
from graphc.backends.cupy.emit import CudaEmitter
from graphc.backends.cupy.prelude import C_TYPES, PRELUDE, fold_type
from graphc.backends.cupy.scalars import LIBRARY, CudaScalars
from graphc.backends.cupy.schedule import Device, Launch, Program
from graphc.backends.numpy import blocked
from graphc.backends.numpy.llvm.functions import ACCURATE
from graphc.backends.numpy.llvm.values import F32, F64
from graphc.ir import Graph, TensorType
from graphc.kernels import Affine, Kernel, Load, Reduce
from graphc.ops import TABLE
from graphc.ops import philox as numpy_philox
from graphc.ops.meaning import evaluate
from graphc.ops.philox import SPLIT
from graphc.ops.record import Op
from graphc.verification.cases import samples
from graphc.verification.rules import installed
from tests.cuda_emulation import COMPILER, ORDERS, Case, Emulator, placed
from tests.op_kernels import (
    ELEMENTWISE,
    FOLDS,
    assert_near,
    dtypes_of,
    elementwise_rows,
    fold_operand,
    kernel_of,
    meant,
    one_node,
)
from tests.random_programs import DIVISION, draw
from tests.test_kernels import PROGRAMS

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX"),
    # the programs close over arrays, which become constants; NumPy warns of what kernels do in silence
    pytest.mark.filterwarnings("ignore:a writable array:UserWarning", "ignore::RuntimeWarning"),
]

Array = np.ndarray[Any, Any]
# so few processors that small arrays are spread as large ones are on a real GPU
SMALL = Device(processors=2)


@dataclass
class Trial:
    """A kernel with operands, and what it should give."""

    name: str
    kernel: Kernel
    operands: dict[int, Array]
    expected: dict[int, Array]
    tolerance: float
    sizes: tuple[int, ...] = ()

    def case(self, device: Device = SMALL, offset: int = 0) -> Case:
        results = {node: (array.shape, array.dtype) for node, array in self.expected.items()}
        return Case(self.kernel, self.operands, results, self.sizes, device, offset=offset)


def trials(name: str, f: Callable[..., Any], *arguments: Any, specs: Sequence[Any] = ()) -> Iterator[Trial]:
    """The kernels of a program, each on what the program gives them."""
    compiled = graphc.compile(f, *(specs or arguments), kernels="ufunc")
    yield from trials_of(name, compiled, arguments)


def trials_of(name: str, compiled: Any, arguments: Sequence[Any]) -> Iterator[Trial]:
    graph: Graph = compiled.plan.graph
    rng = np.random.default_rng(0)
    sizes: dict[str, int] = {}
    for type, argument in zip(graph.input_types, arguments, strict=True):
        sizes.update({str(d): n for d, n in zip(type.shape, np.shape(argument), strict=True) if not isinstance(d, int)})
    known = dict(zip(graph.inputs, map(np.asarray, arguments), strict=True))
    for number, step in enumerate(compiled.plan.steps):
        if step.kernel is None:
            continue
        kernel = step.kernel

        def array(node: int) -> Array:
            type = graph._node[node]["type"]
            shape = tuple(graphc.dims.evaluate(d, sizes) for d in type.shape)
            if node in known:
                return known[node].astype(type.dtype).reshape(shape)
            if graph._node[node]["op"] == "const":
                return np.asarray(dict(graph._node[node]["attrs"])["value"].array)
            if type.dtype.kind == "f":
                return rng.normal(size=shape).astype(type.dtype)
            return rng.integers(0, 2 if type.dtype.kind == "b" else 50, shape).astype(type.dtype)

        operands = {root: array(root) for root in kernel.roots}
        expected = {}
        for node in kernel.nodes:
            type = graph._node[node]["type"]
            expected[node] = np.empty(tuple(graphc.dims.evaluate(d, sizes) for d in type.shape), type.dtype)
        numbers = tuple(graphc.dims.evaluate(s, sizes) for s in kernel.symbolic)
        blocked.load([kernel])[0](*operands.values(), *expected.values(), *numbers)
        single = any(v.dtype == F32 for v in kernel.values)
        half = any(v.dtype == np.float16 for v in kernel.values)
        yield Trial(
            f"{name} {number}", kernel, operands, expected, 4e-3 if half else 2e-4 if single else 1e-11, numbers
        )


def check(found: Sequence[Trial], folder: Path, offsets: Sequence[int] = (0,), flags: Sequence[str] = ()) -> int:
    """Compile all kernels together, run each in every order of warps, compare."""
    cases = [(trial, trial.case(offset=offset)) for trial in found for offset in offsets]
    emulator = Emulator((text for _, case in cases for text in case.texts), folder, flags)
    for trial, case in cases:
        first: dict[int, Array] = {}
        for order in ORDERS:
            actual = case.run(emulator, order)
            for node, wanted in trial.expected.items():
                assert actual[node].dtype == wanted.dtype
                np.testing.assert_allclose(
                    actual[node], wanted, rtol=trial.tolerance, atol=trial.tolerance, err_msg=trial.name
                )
                # no matter in which order warps run, the bits are the same
                if node in first:
                    np.testing.assert_array_equal(actual[node], first[node], err_msg=trial.name)
                first[node] = actual[node]
    return len(cases)


SHAPES = {
    1: [(1,), (5,), (16,), (3001,), (4096,), (20000,), (0,)],
    2: [(3, 4), (7, 33), (64, 64), (40, 130), (5, 1), (3, 9000), (2100, 3), (300, 100), (0, 4), (4, 0)],
    3: [(2, 3, 4), (3, 5, 70), (40, 4, 16)],
}
# each family of kernels at a size that takes each way through the scheduler
SAMPLE: dict[str, tuple[tuple[int, ...], ...]] = {
    "chain": ((3001,), (4096,)),
    "softmax": ((7, 33), (64, 64), (3, 9000), (1, 40000)),
    "layernorm": ((40, 130), (300, 10)),
    "columns": ((40, 130), (2100, 3)),
    "logsumexp of columns": ((300, 100),),
    "stencil": ((40, 130),),
    "gradient of layernorm": ((40, 130),),
    "transposed": ((64, 64),),
    "flipped": ((40, 130),),
    "several results": ((64, 64), (0, 4), (4, 0)),
    "choices": ((64, 64),),
    "casts": ((64, 64),),
    "outer axes": ((40, 4, 16),),
    "padded": ((3001,),),
    "positions": ((40, 130),),
}


def layernorm_with_weights(x: Any, g: Any, b: Any) -> Any:
    m = np.mean(x, -1, keepdims=True)
    v = np.mean((x - m) ** 2, -1, keepdims=True)
    return (x - m) / np.sqrt(v + 0.1) * g + b


def gradient_of_weights(x: Any, g: Any, b: Any) -> Any:
    return graphc.grad(lambda x, g, b: np.sum(layernorm_with_weights(x, g, b) ** 3), argnums=(0, 1, 2))(x, g, b)


def with_weights(rows: int, columns: int, dtype: Any = np.float32) -> tuple[Array, ...]:
    rng = np.random.default_rng(8)
    return tuple(rng.normal(size=s).astype(dtype) for s in ((rows, columns), (columns,), (columns,)))


def program_trials(names: dict[str, Sequence[tuple[int, ...]]], dtypes: Sequence[Any]) -> Iterator[Trial]:
    rng = np.random.default_rng(2)
    for name, shapes in names.items():
        f, _ = PROGRAMS[name]
        for shape in shapes:
            if 0 in shape and name in ("outer", "softmax"):
                continue
            for dtype in dtypes:
                x = rng.normal(size=shape).astype(dtype)
                try:
                    yield from trials(f"{name} {shape}", f, x)
                except (graphc.errors.GraphcError, ValueError):
                    assert 0 in shape  # no largest of nothing
                    break
                if 1 in shape or 0 in shape:
                    continue
                try:
                    yield from trials(
                        f"{name} {shape} symbolic", f, x, specs=[graphc.Spec(("n", "m", "k")[: len(shape)], dtype)]
                    )
                except graphc.errors.GraphcError:
                    continue  # a few programs need fixed sizes


def test_a_sample_of_every_family(tmp_path: Path) -> None:
    found = list(program_trials(dict(SAMPLE), [np.float32]))
    found += program_trials({name: SAMPLE[name] for name in ("chain", "softmax", "columns", "casts")}, [np.float16])
    found += trials("gradient of weights", gradient_of_weights, *with_weights(20, 256))
    pairs = np.random.default_rng(3).normal(size=(30, 20, 2)).astype(np.float32)
    found += trials("columns of pairs", PROGRAMS["columns"][0], pairs, specs=[graphc.Spec(("n", "m", 2), np.float32)])
    found += trials("gradient of weights in double", gradient_of_weights, *with_weights(20, 131, np.float64))
    assert check(found, tmp_path) > 25


@pytest.mark.slow
@pytest.mark.parametrize("offset", [0, 4, 8])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name: str, offset: int, tmp_path: Path) -> None:
    shapes = SHAPES[PROGRAMS[name][1]]
    check(list(program_trials({name: shapes}, [np.float16, np.float32, np.float64])), tmp_path, [offset])


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(20, 64), (20, 256), (3, 1000), (300, 131), (5, 4100), (2, 33), (1, 512)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_folds_in_both_directions(shape: tuple[int, int], dtype: Any, tmp_path: Path) -> None:
    assert check(list(trials("gradient", gradient_of_weights, *with_weights(*shape, dtype))), tmp_path)


@pytest.mark.parametrize("shape", [(300, 300), (20, 40), (3, 1000), (4, 9000), (1, 70), (70, 1), (2, 2)])
def test_totals_repeated_along_the_columns(shape: tuple[int, int], tmp_path: Path) -> None:
    """What is folded over the rows is the same in all columns, and its result has an element for each."""

    def both(v: Any, u: Any, w: Any) -> Any:
        return graphc.grad(lambda v, u: np.sum(w * np.sum(np.sqrt(v) @ np.sqrt(u).T, axis=1)), argnums=(0, 1))(v, u)

    rng = np.random.default_rng(5)
    rows, columns = shape
    for dtype in (np.float32, np.float64):
        v, u, w = (1 + rng.random(s).astype(dtype) for s in ((rows, 1), (columns, 1), (rows,)))
        found = list(trials("repeated", both, v, u, w))
        assert check(found, tmp_path, [0, 4 if dtype == np.float32 else 8])
        if min(shape) > 1:
            assert any(map(has_repeated_total, found))


def has_repeated_total(trial: Trial) -> bool:
    kernel = trial.kernel
    return any(
        isinstance(value := kernel.values[s.value], Reduce)
        and value.across
        and bool(s.at.loops & kernel.reduced)
        and not kernel.varies[value.operand] & kernel.reduced
        for s in kernel.stores
    )


# --- the op table -----------------------------------------------------------------------------------------------


def check_op(op: Op, rows: Sequence[tuple[Any, Any, list[Array]]], emulator: Emulator, cases: Sequence[Case]) -> None:
    for (graph, attrs, operands), case in zip(rows, cases, strict=True):
        expected, ulps = meant(op, operands, attrs, graph.output_types[0].dtype)
        actual = case.run(emulator)[graph.outputs[0]]
        assert_near(actual, expected, ulps, (op.name, operands[0].dtype, attrs))


def op_case(graph: Graph, operands: Sequence[Array], device: Device = SMALL) -> Case:
    type = graph.output_types[0]
    kernel = kernel_of(graph)
    given = {node: x for node, x in zip(graph.inputs, operands, strict=True) if node in kernel.roots}
    return Case(kernel, given, {graph.outputs[0]: (type.shape, type.dtype)}, (), device)


FEW = ("add", "sub", "integer_pow", "floor_divide", "remainder", "cast", "maximum", "left_shift", "sign", "exp", "pow",
       "arctan2", "erfc", "random_word", "bitwise_count", "where", "log1mexp", "ndtri")  # fmt: skip


def check_table(ops: Sequence[Op], folder: Path) -> None:
    found = [(op, list(elementwise_rows(op))) for op in ops]
    cases = [(op, rows, [op_case(graph, operands) for graph, _, operands in rows]) for op, rows in found]
    emulator = Emulator((t for _, _, made in cases for case in made for t in case.texts), folder)
    for op, rows, made in cases:
        assert rows, op.name
        check_op(op, rows, emulator, made)


def test_a_sample_of_ops_means_what_numpy_means(tmp_path: Path) -> None:
    check_table([TABLE[name] for name in FEW], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_elementwise_ops_mean_what_numpy_means(op: Op, tmp_path: Path) -> None:
    check_table([op], tmp_path)


FOLD_SHAPES = [((5,), (0,)), ((300,), (0,)), ((9001,), (0,)), ((7, 33), (1,)), ((7, 33), (0,)), ((4, 5, 6), (0, 2)),
               ((4, 5, 6), (1,)), ((3, 0), (1,)), ((0, 3), (1,)), ((0, 3), (0,)), ((6, 1, 70), (0,)), ((2100, 3), (0,)),
               ((3, 20000), (1,)), ((500, 130), (0,)), ((1,), (0,))]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("op", FOLDS, ids=lambda op: op.name)
def test_folds_mean_what_numpy_means(op: Op, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = []
    for dtype in dtypes_of(op, 1):
        for shape, axes in FOLD_SHAPES:
            attrs = {"axes": axes, "keepdims": False}
            operand = fold_operand(rng, op, shape, dtype)
            try:
                graph = one_node(op, [TensorType(shape, dtype)], attrs)
            except graphc.errors.ShapeError:
                continue
            rows.append((graph, attrs, operand, op_case(graph, [operand])))
    emulator = Emulator((t for *_, case in rows for t in case.texts), tmp_path)
    for graph, attrs, operand, case in rows:
        dtype = operand.dtype
        exact = operand.astype(np.float64 if dtype.kind == "f" else dtype)
        expected = evaluate(op, [exact], attrs).astype(dtype)
        for order in ORDERS:
            actual = case.run(emulator, order)[graph.outputs[0]]
            if dtype.kind != "f":
                np.testing.assert_array_equal(actual, expected)
                continue
            magnitude = np.abs(exact).sum(axis=attrs["axes"])
            error = np.abs(actual.astype(exact.dtype) - expected.astype(exact.dtype))
            most = 0.51 if dtype == np.float16 and op.fold != "prod" else 4
            assert np.all(error <= most * np.finfo(dtype).eps * magnitude), (dtype, operand.shape, attrs)


# --- random programs ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(12))
def test_random_programs(batch: int, tmp_path: Path) -> None:
    found: list[Trial] = []
    with installed(DIVISION), np.errstate(all="ignore"):
        for seed in range(20 * batch, 20 * batch + 20):
            program = draw(seed)
            if program is None or not hasattr(program, "trace"):
                continue
            try:
                compiled = graphc.compile(program.trace(), kernels="ufunc")
            except graphc.errors.GraphcError:
                continue
            found += trials_of(
                f"seed {seed}", compiled, [np.asarray(v) for v in program.values[: len(compiled.graph.inputs)]]
            )
    check(found, tmp_path)


# --- texts that no op record describes ----------------------------------------------------------------------------


def run_text(text: str, folder: Path, arrays: Sequence[Array], numbers: Sequence[int]) -> None:
    """Run a text on arrays, which are its pointers in order, by a few blocks."""
    emulator = Emulator([text], folder)
    emulator.launch(
        Launch(text, (3, 1), (64, 1), tuple(range(len(arrays))), tuple(numbers)), dict(enumerate(arrays)), 0
    )


ADDED = [np.float32, *(pytest.param(t, marks=pytest.mark.slow) for t in (np.float16, np.float64, np.int16, np.bool_))]


@pytest.mark.parametrize("dtype", ADDED)
def test_adding_at_repeated_positions(dtype: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    lead, count, sizes, rest = 2, 40, (3, 5), 4
    values = rng.integers(-3, 9, (lead, count, rest)).astype(dtype)
    first, second = rng.integers(-3, 3, count), rng.integers(-5, 5, count).astype(np.int32)
    expected = np.zeros((lead, *sizes, rest), dtype)
    np.add.at(expected, (slice(None), first, second), values)
    fold = "AnyOf" if dtype is np.bool_ else fold_type("sum", np.dtype(dtype), False)
    kind = "u8" if dtype is np.bool_ else C_TYPES[np.dtype(dtype)]
    numbers = [lead, count, 15, rest]
    few = np.zeros((lead, 15, rest), dtype)
    text = scattering.few_text(kind, fold, ["i64", "i32"])
    run_text(text, tmp_path, [values, few, first, second], [*numbers, *sizes])
    np.testing.assert_array_equal(few.reshape(expected.shape), expected)
    text = scattering.searched_text(kind, fold, ("i64", "i32"))
    searched = np.full((lead, 15, rest), 77).astype(dtype)
    run_text(text, tmp_path, [values, searched, first, second], [*numbers, *sizes, 1])
    np.testing.assert_array_equal(searched.reshape(expected.shape), expected)
    run_text(text, tmp_path, [values, searched, first, second], [*numbers, *sizes, 0])
    np.add.at(ones := np.zeros_like(expected), (slice(None), first, second), values.flat[0])
    np.testing.assert_array_equal(searched.reshape(expected.shape), ones)
    flat = first % 3 * 5 + second % 5
    order = np.argsort(flat, kind="stable")
    latest, wanted = np.full(15, -1), np.full(15, -1)
    wanted[flat] = np.arange(count)
    run_text(scattering.LAST, tmp_path, [order, flat[order], latest], [count, 15])
    np.testing.assert_array_equal(latest, wanted)


def added_by_buckets(values: Array, indices: Sequence[Array], sizes: tuple[int, ...], folder: Path) -> list[Array]:
    """What the texts that gather positions first give, in each order of threads and blocks."""
    dtype = values.dtype
    lead, count, rest = values.shape
    span = math.prod(sizes)
    fold = "AnyOf" if dtype == np.bool_ else fold_type("sum", dtype, False)
    kind = "u8" if dtype == np.bool_ else C_TYPES[dtype]
    shape = buckets.sharing(span, lead * rest, rest, dtype.itemsize, 16)
    number = np.dtype(np.uint32)
    texts = scattering.gathered_texts(kind, fold, tuple(C_TYPES[i.dtype] for i in indices), "u32", shape)
    emulator = Emulator(texts, folder)
    found = []
    for order in ORDERS:
        result = placed(np.full((lead, span, rest), 77).astype(dtype), 0)
        counts, firsts = np.zeros(span + 1, number), np.full(span, 1 << 31, number)
        arrivals, positions = np.full(count, 1 << 31, number), np.full(count, 1 << 31, number)
        arrays = dict(enumerate([placed(values, 0), result, counts, firsts, arrivals, positions, *indices]))
        places = tuple(range(6, 6 + len(indices)))
        for text, given, sized, grid in (
            (texts[0], (2, 4, *places), (count, span, *sizes), (3, 1)),
            (texts[1], (2, 3), (span,), (2, 1)),
            (texts[2], (3, 4, 5, *places), (count, span, *sizes), (3, 1)),
            (texts[3], (0, 1, 2, 3, 5), (lead, count, span, rest), shape.grid),
        ):
            emulator.launch(Launch(text, grid, (buckets.THREADS, 1), given, sized), arrays, order)
        found.append(result.reshape(lead, *sizes, rest))
    return found


@pytest.mark.parametrize("dtype", ADDED)
@pytest.mark.parametrize(
    ("lead", "count", "sizes", "rest"),
    [(2, 300, (3, 5), 4), (1, 4000, (70,), 1), (1, 33, (1000,), 70), (3, 5000, (2,), 3), (1, 70_000, (1,), 2)],
)
def test_positions_gathered_first(
    lead: int, count: int, sizes: tuple[int, ...], rest: int, dtype: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(12)
    values = rng.integers(-3, 9, (lead, count, rest)).astype(dtype)
    indices = [rng.integers(-n, n, count).astype(kind) for n, kind in zip(sizes, (np.int64, np.int32), strict=False)]
    # NumPy adds half precision up step by step, and could not count on beyond 2048
    wide = np.float32 if dtype is np.float16 else dtype
    expected = np.zeros((lead, *sizes, rest), wide)
    np.add.at(expected, (slice(None), *indices), values.astype(wide))
    for result in added_by_buckets(values, indices, sizes, tmp_path):
        np.testing.assert_array_equal(result, expected.astype(dtype))


def test_elements_of_a_place_are_added_in_order(tmp_path: Path) -> None:
    """Whichever comes first by chance; those of a place with many in some other fixed order."""
    rng = np.random.default_rng(13)
    span = 40
    often = np.minimum(rng.geometric(0.15, 3000) - 1, span - 1)
    i = np.concatenate([often, np.full(200, 7), [span + 3, -span - 1], rng.integers(10, span, 100)]).astype(np.int64)
    values = (rng.normal(size=(1, i.size, 6)) * 10.0 ** rng.integers(-9, 9, (1, i.size, 1))).astype(np.float32)
    first, *others = added_by_buckets(values, [i], (span,), tmp_path)
    for other in others:
        np.testing.assert_array_equal(first, other)
    exact = np.zeros((span, 6))
    few = 0
    for place in range(span):
        mine = np.flatnonzero(i % span == place)  # those outside wrap around
        for j in mine:
            exact[place] += values[0, j].astype(np.float64)
        if mine.size <= buckets.SHORT:
            few += mine.size > buckets.AT_ONCE
            np.testing.assert_array_equal(first[0, place], exact[place].astype(np.float32))
    assert few > 3
    size = np.zeros((span, 6))
    np.add.at(size, i % span, np.abs(values[0]).astype(np.float64))
    assert np.all(np.abs(first[0] - exact) <= 6e-8 * np.abs(exact) + 1e-14 * size)


def added(values: Array, indices: Sequence[Array], sizes: tuple[int, ...], folder: Path) -> Iterator[Array]:
    """What each way to add up at positions gives."""
    dtype = values.dtype
    lead, count, rest = values.shape
    fold, kind, kinds = fold_type("sum", dtype, False), C_TYPES[dtype], tuple(C_TYPES[i.dtype] for i in indices)
    numbers = [lead, count, math.prod(sizes), rest]
    few = scattering.few_text(kind, fold, kinds)
    searched = scattering.searched_text(kind, fold, kinds)
    for text, more in ((few, []), (searched, [1])):
        result = np.zeros((lead, *sizes, rest), dtype)
        run_text(text, folder, [values, result, *indices], [*numbers, *sizes, *more])
        yield result
    yield from added_by_buckets(values, indices, sizes, folder)


def test_positions_outside_wrap_around(tmp_path: Path) -> None:
    """As they do where elements are read: an element adds its gradient where it was taken from."""
    i, j = np.array([0, 3, -4, 7, -9, 1]), np.array([0, -1, 5, -11, 12, 4], np.int32)
    values = 2.0 ** np.arange(12).reshape(1, 6, 2)
    expected = np.zeros((1, 3, 5, 2))
    np.add.at(expected, (slice(None), i % 3, j % 5), values)
    for result in added(values, [i, j], (3, 5), tmp_path):
        np.testing.assert_array_equal(result, expected)


def test_sums_of_half_precision_at_positions_are_rounded_once(tmp_path: Path) -> None:
    """A little more than halfway between two numbers, of which single precision does not see that it is more."""
    values = np.array([1, 2.0**-11, 2.0**-24, 5], np.float16).reshape(1, 4, 1)
    for result in added(values, [np.array([0, 0, 0, 1])], (2,), tmp_path):
        np.testing.assert_array_equal(result.ravel(), [1 + 2.0**-10, 5])


def test_random_numbers_are_those_of_the_cpu(tmp_path: Path) -> None:
    rng = np.random.default_rng(10)
    keys = rng.integers(0, 1 << 32, (6, 4), np.uint32)
    positions = rng.integers(0, 1 << 63, 6).astype(np.uint64)
    blocks = np.empty((6, 4), np.uint32)
    run_text(philox.BLOCKS, tmp_path, [keys, positions, blocks], [6, SPLIT])
    np.testing.assert_array_equal(blocks, numpy_philox.derived_key(keys, positions, "split"))
    stream = np.empty((6, 20), np.uint32)
    run_text(philox.STREAMS, tmp_path, [keys, stream], [6, 5])
    np.testing.assert_array_equal(stream, numpy_philox.random_bits(keys, (20,), np.dtype(np.uint32)))
    for dtype, spans in (
        (np.uint32, (0, 1, 7, 3 << 30, (1 << 32) - 5)),
        (np.uint64, (0, 1, 7, 3 << 62, (1 << 64) - 5)),
    ):
        span = np.resize(np.array(spans, dtype), (6, 50))
        found = np.empty((6, 50), dtype)
        run_text(philox.below_text(8 * span.itemsize), tmp_path, [keys, span, found], [6, 50])
        np.testing.assert_array_equal(found, numpy_philox.random_below(keys, span, (50,)))


def test_arrays_are_copied_by_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    sources = [
        placed(rng.integers(0, 255, n, np.uint8), offset)
        for n, offset in ((1, 0), (1000, 0), (1000, 3), (64, 8), (20_001, 0))
    ]
    targets = [np.zeros_like(a) for a in sources]
    table = np.array([[a.ctypes.data, a.nbytes] for a in targets], np.int64)
    text = copy_text(len(sources))
    launch = Launch(text, (2, len(sources)), (64, 1), tuple(range(len(sources) + 1)), ())
    Emulator([text], tmp_path).launch(launch, dict(enumerate([table, *sources])), 0)
    for a, b in zip(sources, targets, strict=True):
        np.testing.assert_array_equal(a, b)


# --- the vocabulary, and what tests cannot show by running --------------------------------------------------------


def test_both_generators_offer_the_whole_vocabulary() -> None:
    """A record's scalar meaning may use any function that LLVM's kernels have."""
    from graphc.backends.numpy.llvm.scalars import LlvmScalars

    ours = CudaScalars(CudaEmitter())
    for name in {*ACCURATE, *(n for n in vars(LlvmScalars) if not n.startswith("_"))}:
        assert callable(getattr(ours, name)) or name in ("e", "fast", "calls"), name
    with pytest.raises(AttributeError):
        ours.no_such_function  # noqa: B018


def logsumexp(x: Any) -> Any:
    largest = np.max(x, axis=0)
    return largest + np.log(np.sum(np.exp(x - largest), axis=0)), 2 * largest


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("processors", [2, 132])
def test_sums_of_exponentials_take_one_sweep(dtype: Any, processors: int, tmp_path: Path) -> None:
    """Of exponents in any order, with infinities, NaN, and none but -inf."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1000, 64)).astype(dtype)
    x[:, 1] *= 500
    x[:, 2] = np.linspace(-700, 700, 1000)
    x[:, 3] = np.linspace(700, -700, 1000)
    x[:, 4] = -np.inf
    x[::7, 5] = -np.inf
    x[300, 6] = np.inf
    x[3, 7], x[900, 7] = np.inf, np.nan
    x[500, 8] = np.nan
    x[:, 9] = 1e30
    x[0, 10] = 1e30
    x[:999, 11] = -np.inf
    x[:, 12] = -3e4
    compiled = graphc.compile(logsumexp, x, kernels="ufunc")
    (trial,) = trials_of("logsumexp", compiled, [x])
    case = trial.case(Device(processors=processors))
    assert "ExpSum" in case.texts[0]
    assert len(case.texts) <= 2
    emulator = Emulator(case.texts, tmp_path)
    finite = np.where(np.isfinite(x), x, 0).astype(np.float64)
    top = np.max(finite, axis=0)
    exact = top + np.log(np.sum(np.exp(x.astype(np.float64) - top), axis=0))
    exact[4], exact[6] = -np.inf, np.inf
    exact, wanted = exact.reshape(1, -1), 2 * np.max(x, axis=0)
    for order in ORDERS:
        found, largest = case.run(emulator, order).values()
        np.testing.assert_allclose(found, exact, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(largest, wanted)


# --- sums of squared deviations ---------------------------------------------------------------------------------


def deviations(x: Any, axis: int | None) -> Any:
    """What standardising needs: some of it once for each column, some for each element."""
    mean = np.mean(x, axis=axis, keepdims=True)
    variance = np.mean((x - mean) ** 2, axis=axis, keepdims=True)
    return mean, variance, (x - mean) / (1 + np.std(x, axis=axis, keepdims=True))


def far_from_zero(shape: tuple[int, int], axis: int | None) -> Array:
    """Columns, or rows: with a mean far from 0, all the same, with one large element at first, and plain ones."""
    rng = np.random.default_rng(14)
    x = rng.normal(size=shape).astype(np.float32)
    along = x.T if axis == 1 else x
    along[:, 0] += 1000
    if along.shape[1] > 1:
        along[:, 1] = 0.1
        along[0, 2 % along.shape[1]] = 1e6
    return x


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((2100, 3), 0), ((300, 100), 0), ((3, 9000), 1), ((200, 300), None), ((2, 6), 0), ((40, 130), 0)],
)
def test_squared_deviations_take_one_sweep(
    shape: tuple[int, int], axis: int | None, symbolic: bool, tmp_path: Path
) -> None:
    x = far_from_zero(shape, axis)
    specs = [graphc.Spec(("n", "m"), np.float32)] if symbolic else [x]
    compiled = graphc.compile(lambda x: deviations(x, axis), *specs, kernels="ufunc")
    found = list(trials_of("deviations", compiled, [x]))
    wide = x.astype(np.float64)
    mean = np.mean(wide, axis=axis, keepdims=True)
    (trial,) = found
    # rows of which there are fewer than processors are shared by several blocks
    case = trial.case(Device(processors=2 if symbolic else 6))
    # all sums are made by one kernel, and perhaps another one that joins them
    assert sum("SumPlain<double, double>::Acc acc" in text for text in case.texts) <= 2
    assert any("SumPlain<double, double>::Acc acc" in text for text in case.texts)
    emulator = Emulator(case.texts, tmp_path)
    for order in ORDERS:
        results = case.run(emulator, order).values()
        means, variances, normal = (v.reshape(w.shape) for v, w in zip(results, (mean, mean, x), strict=True))
        np.testing.assert_allclose(means, mean, rtol=2e-7)
        centre = means.astype(np.float64)
        about = np.mean((wide - centre) ** 2, axis=axis, keepdims=True)
        np.testing.assert_allclose(variances, about, rtol=3e-7, atol=1e-12)
        spread = 1 + np.sqrt(about)
        np.testing.assert_allclose(normal * spread, wide - centre, rtol=1e-6, atol=1e-6 * float(np.max(spread)))


@pytest.mark.parametrize("processors", [2, 132])
def test_squared_deviations_of_what_is_not_finite(processors: int, tmp_path: Path) -> None:
    """They are what the two sweeps of the processor give, wherever infinities and NaN stand."""
    rng = np.random.default_rng(15)
    x = rng.normal(size=(700, 40)).astype(np.float32)
    x[0, 0], x[3, 1], x[0, 2], x[699, 3] = np.inf, -np.inf, np.nan, np.nan
    x[0, 4], x[5, 4] = np.inf, -np.inf
    x[:, 5] = np.inf
    x[:, 6] *= 1e-30
    x[:, 7] *= np.float32(1e18)
    x[:, 8] = -0.0

    def spread(x: Any) -> Any:
        mean = np.mean(x, axis=0)
        bounded = np.minimum(np.maximum(mean, np.float32(-1e30)), np.float32(1e30))
        centred = x - mean
        return np.sum(centred * centred, axis=0), np.var(x, axis=0), np.sum((bounded - x) ** 2, axis=0), mean

    compiled = graphc.compile(spread, x, kernels="ufunc")
    for trial in trials_of("spread", compiled, [x]):
        case = trial.case(Device(processors=processors))
        emulator = Emulator(case.texts, tmp_path)
        for order in ORDERS:
            for node, actual in case.run(emulator, order).items():
                np.testing.assert_allclose(actual, trial.expected[node], rtol=1e-4, atol=1e-30)


BINARY = ("arctan2", "fmod", "remainder", "floor_divide", "hypot", "pow", "logaddexp", "logaddexp2", "xlogy", "xlog1py")


@pytest.mark.parametrize("name", ACCURATE)
@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
def test_every_function_is_written(name: str, dtype: Any) -> None:
    e = CudaEmitter()
    operands = [e.value(f"x{k}", dtype) for k in range(2)]
    arity = 2 if name in BINARY else 1
    result = getattr(CudaScalars(e), name)(*operands[:arity])
    assert result.dtype == dtype
    assert e.lines
    text = "\n".join(e.lines)
    assert "llvm" not in text
    assert "%" not in text


def test_library_functions_have_documented_errors() -> None:
    assert {name for name, *_ in LIBRARY} <= set(ACCURATE) | {"exp2"}


def load_kernel(size: int, stride: int = 1) -> Kernel:
    from graphc.kernels import Store

    at = Affine(0, (stride,))
    return Kernel((size,), (Load(F32, 1, at),), (Store(0, 2, Affine(0, (1,))),))


def test_large_arrays_have_wide_indices() -> None:
    """Above 2**31 elements 32 bits are not enough; nor where a stride leads that far."""
    for size, stride, wide in ((1000, 1, False), (3 << 30, 1, True), (1000, 1 << 24, True)):
        made = Program(load_kernel(size, stride)).schedule((), {1: 16, 2: 16}, Device())
        (launch,) = made.launches
        assert ("typedef i64 idx;" in launch.source) == wide
        assert launch.grid[0] * launch.block[0] < 1 << 31


def test_wide_indices_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "NARROW", 1)
    found = list(program_trials({"softmax": ((3, 9000),), "columns": ((40, 130),), "padded": ((3001,),)}, [np.float32]))
    found += trials("gradient of weights", gradient_of_weights, *with_weights(20, 256))
    assert all("typedef i64 idx;" in text for trial in found for text in trial.case().texts)
    check(found, tmp_path)


def test_what_is_empty_is_not_launched() -> None:
    assert Program(load_kernel(0)).schedule((), {1: 16, 2: 16}, Device()).launches == ()


def test_arrays_that_are_not_aligned_are_read_one_by_one() -> None:
    texts = {}
    for address in (16, 8, 4):
        (launch,) = Program(load_kernel(1 << 20)).schedule((), {1: address, 2: 16}, Device()).launches
        texts[address] = launch.source
    assert "*(const Pack<float, 4>*)(r0" in texts[16]
    for address in (8, 4):
        assert "(const Pack<float, 4>*)(r0" not in texts[address]
        assert "*(Pack<float, 4>*)(w0" in texts[address]


def test_a_missing_barrier_is_noticed(tmp_path: Path) -> None:
    """The emulation does its work: without its barriers a kernel gives other numbers in some order of warps."""
    x = np.random.default_rng(3).normal(size=(4, 3000)).astype(np.float32)
    (trial,) = trials("softmax", PROGRAMS["softmax"][0], x)
    case = trial.case()
    broken = tmp_path / "broken"
    broken.mkdir()
    emulator = Emulator(case.texts, broken, ["-DWITHOUT_BARRIERS"])
    wrong = False
    for order in ORDERS:
        actual = case.run(emulator, order)
        wrong |= any(not np.allclose(actual[n], w, rtol=1e-3) for n, w in trial.expected.items())
    assert wrong


@pytest.mark.slow
def test_kernels_touch_only_their_arrays(tmp_path: Path) -> None:
    """A sample of the families once more, with every access to memory watched by the address sanitizer."""
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    library = found.stdout.strip()
    if not os.path.isabs(library):
        pytest.skip("there is no address sanitizer beside the C++ compiler")
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from tests.test_cuda_kernels import *\n"
        "found = list(program_trials(dict(SAMPLE), [np.float32]))\n"
        "found += trials('weights', gradient_of_weights, *with_weights(20, 256))\n"
        "print(check(found, Path(sys.argv[1]), flags=['-fsanitize=address', '-g']))\n"
    )
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=False, env=environment, cwd=Path(__file__).resolve().parents[1],
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert int(run.stdout.split()[-1]) > 20


# --- CUDA's own compiler, which needs no GPU ----------------------------------------------------------------------

ARCHITECTURES = (80, 90)
SPILLED = re.compile(r"[1-9]\d* bytes spill")


def compiled_for_gpu(text: str, architecture: int) -> str:
    """What NVRTC and its assembler say of a text: registers, and how many of them were spilled."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason='NVRTC is not installed: pip install ".[cuda-check]"')
    from graphc.backends.cupy.compiling import OPTIONS

    def done(result: tuple[Any, ...]) -> Any:
        assert result[0] == nvrtc.nvrtcResult.NVRTC_SUCCESS, result
        return result[1] if len(result) == 2 else result[1:]

    program = done(nvrtc.nvrtcCreateProgram(text.encode(), b"kernel.cu", 0, [], []))
    options = [*OPTIONS, f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v"]
    status = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])[0]
    log = b" " * done(nvrtc.nvrtcGetProgramLogSize(program))
    done(nvrtc.nvrtcGetProgramLog(program, log))
    done(nvrtc.nvrtcDestroyProgram(program))
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    return log.decode()


def assert_no_spills(texts: Sequence[str]) -> int:
    """Compile each text for each architecture; the most registers that one takes."""
    most = 0
    for text in dict.fromkeys(texts):
        for architecture in ARCHITECTURES:
            log = compiled_for_gpu(text, architecture)
            if SPILLED.search(log):
                log = compiled_for_gpu(relaxed(text), architecture)
            spilled = SPILLED.search(log)
            assert spilled is None, f"{log}\n{text.removeprefix(PRELUDE)}"
            used = re.search(r"Used (\d+) registers", log)
            assert used is not None, log
            most = max(most, int(used[1]))
    return most


def test_a_sample_compiles_for_gpus() -> None:
    found = list(program_trials({"softmax": ((64, 64), (3, 9000)), "columns": ((40, 130),)}, [np.float32]))
    found += program_trials({"softmax": ((64, 64),), "casts": ((64, 64),)}, [np.float16])
    texts = [text for trial in found for text in trial.case().texts]
    texts += [philox.BLOCKS, philox.STREAMS, philox.below_text(32), philox.below_text(64), scattering.LAST]
    texts += [
        scattering.few_text("float", "SumF32<double>", ["i64", "i32"]),
        scattering.searched_text("float", "SumF32<double>", ("i64", "i32")),
        *scattering.gathered_texts("double", "SumF64", ("i64", "i32"), "u64", buckets.sharing(9000, 700, 700, 8, 16)),
        *scattering.gathered_texts("float", "SumF32<double>", ("i32",), "u32", buckets.sharing(20000, 64, 64, 4, 16)),
        *scattering.gathered_texts("float", "SumF32<double>", ("i32",), "u32", buckets.sharing(9, 1, 1, 4, 16)),
        *scattering.gathered_texts("u8", "AnyOf", ("i32",), "u32", buckets.sharing(9, 8, 8, 1, 16)),
        *scattering.gathered_texts("f16", "SumPlain<f16, double>", ("i32",), "u32", buckets.sharing(9, 8, 8, 2, 16)),
    ]
    texts += [copy_text(3), GATHER, ONE, joining.rows_text(1), joining.rows_text(16)]
    texts += [small_products.text("float", 1), small_products.text("float", 4), small_products.text("double", 32)]
    for along, wide in ((False, True), (True, True), (True, False)):
        operands = tiled_products.Operand(along, wide), tiled_products.Operand(not along, wide)
        texts.append(tiled_products.text(*operands, wide))
    texts += [tiled_products.join_text(1), tiled_products.join_text(8)]
    texts += [gathering.text(("i64", "u8"), width, width == 2) for width in (1, 2, 4, 8, 16)]
    assert 8 < assert_no_spills(texts) <= 255


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_compile_for_gpus(name: str) -> None:
    shapes = {name: SAMPLE.get(name, SHAPES[PROGRAMS[name][1]][1:3])}
    found = list(program_trials(shapes, [np.float16, np.float32, np.float64]))
    assert_no_spills([text for trial in found for device in (SMALL, Device()) for text in trial.case(device).texts])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(200, 64), (2000, 256), (3, 1000), (300, 131), (5, 4100)])
def test_folds_in_both_directions_compile_for_gpus(shape: tuple[int, int], dtype: Any) -> None:
    found = list(trials("gradient", gradient_of_weights, *with_weights(*shape, dtype)))
    assert_no_spills([text for trial in found for device in (SMALL, Device()) for text in trial.case(device).texts])


@pytest.mark.slow
@pytest.mark.parametrize("op", [*ELEMENTWISE, *FOLDS], ids=lambda op: op.name)
def test_ops_compile_for_gpus(op: Op) -> None:
    texts = []
    attrs = next((dict(s.attrs) for s in samples(op)), {})
    for dtype in dtypes_of(op, len(op.domains)):
        types = [TensorType((300, 500), dtype)] * len(op.domains)
        if op.name == "where":
            types[0] = TensorType((300, 500), np.dtype(np.bool_))
        if op.fold is not None:
            attrs = {"axes": (1,), "keepdims": False}
        kernel = kernel_of(one_node(op, types, attrs))
        aligned = dict.fromkeys((*kernel.roots, *kernel.nodes), 16)
        texts += [launch.source for launch in Program(kernel).schedule((), aligned, Device()).launches]
    assert_no_spills(texts)
