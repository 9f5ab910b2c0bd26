"""Small matrix products, of which blocks stay in registers: every size, layout and machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import entry
from graphc.backends.numpy.llvm.effort import look
from graphc.backends.numpy.llvm.instructions import Product
from graphc.backends.numpy.llvm.loops import function
from graphc.backends.numpy.llvm.machine import ARM_NEON, X86_AVX2, X86_AVX512, X86_BASELINE, Machine, assemble
from graphc.backends.numpy.llvm.matmul import BLOCKS
from graphc.backends.numpy.llvm.module import Module
from graphc.backends.numpy.llvm.small_products import pieces, rows_of_block, small_product
from graphc.backends.numpy.llvm.steps import lower

pytestmark = pytest.mark.skipif(not entry.SUPPORTED, reason="arrays of this interpreter are not laid out as known")

LAYOUTS = ("as it is", "transposed", "every second", "reversed", "broadcast")


def operand(layout: str, stack: tuple[int, ...], rows: int, columns: int, dtype: Any, rng: Any) -> tuple[Any, Any]:
    """An array, and a function of it that gives matrices of these sizes."""
    match layout:
        case "transposed":
            return rng.normal(size=(*stack, columns, rows)).astype(dtype), lambda a: np.swapaxes(a, -1, -2)
        case "every second":
            return rng.normal(size=(*stack, 2 * rows, 2 * columns)).astype(dtype), lambda a: a[..., ::2, ::2]
        case "reversed":
            return rng.normal(size=(*stack, rows, columns)).astype(dtype), lambda a: a[..., ::-1, ::-1]
        case "broadcast":
            return rng.normal(size=(rows, columns)).astype(dtype), lambda a: a
    return rng.normal(size=(*stack, rows, columns)).astype(dtype), lambda a: a


def blocked(f: Any) -> bool:
    """Whether the program's product is done by blocks in registers."""
    program = lower(f.plan)
    if any(isinstance(i, Product) for i in program.instructions):
        return False
    return any(small_product(kernel) is not None for kernel in program.kernels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(12))
def test_every_size_and_layout(seed: int, dtype: Any) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(4):
        rows, inner, columns = (int(d) for d in rng.integers(2, 33, 3))
        stack = tuple(int(d) for d in rng.integers(1, 4, rng.integers(0, 3)))
        a, first = operand(rng.choice(LAYOUTS), stack, rows, inner, dtype, rng)
        b, second = operand(rng.choice(LAYOUTS), stack, inner, columns, dtype, rng)

        def f(a: Any, b: Any, first: Any = first, second: Any = second) -> Any:
            return first(a) @ second(b)

        found = graphc.compile(f, a, b, kernels="llvm")(a, b)
        wide = f(a.astype(np.longdouble), b.astype(np.longdouble))
        scale = np.abs(first(a).astype(np.longdouble)) @ np.abs(second(b).astype(np.longdouble))
        assert found.shape == wide.shape
        assert (np.abs(found - wide) <= inner * np.finfo(dtype).eps * scale).all()


@pytest.mark.parametrize("size", [2, 3, 4, 8, 16, 31])
def test_tiny_matrices_are_multiplied_in_registers(size: int) -> None:
    f = graphc.compile(lambda a, b: a @ b, f"f32[{size},{size}]", f"f32[{size},{size}]", kernels="llvm")
    assert blocked(f)
    assert size**3 <= BLOCKS
    g = graphc.compile(lambda a, b: a @ b, f"f32[n,{size},{size}]", f"f32[n,{size},{size}]", kernels="llvm")
    assert blocked(g)
    rng = np.random.default_rng(0)
    for n in (0, 1, 50):
        a, b = rng.normal(size=(2, n, size, size)).astype(np.float32)
        np.testing.assert_allclose(g(a, b), a @ b, rtol=0, atol=1e-4)


def test_large_ones_and_long_sums_are_not() -> None:
    assert not blocked(graphc.compile(lambda a, b: a @ b, "f32[40,40]", "f32[40,40]", kernels="llvm"))
    assert not blocked(graphc.compile(lambda a, b: a @ b, "f32[3,1000]", "f32[1000,3]", kernels="llvm"))
    assert not blocked(graphc.compile(lambda a, b: a @ b, "f32[n,4]", "f32[4,m]", kernels="llvm"))


def test_a_stack_times_one_matrix() -> None:
    f = graphc.compile(lambda a, b: a @ b, "f64[n,3,4]", "f64[4,5]", kernels="llvm")
    assert blocked(f)
    b = np.arange(20.0).reshape(4, 5)
    for n in (0, 1, 7, 100):
        a = np.arange(12.0 * n).reshape(n, 3, 4)
        np.testing.assert_array_equal(f(a, b), a @ b)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 3, 0), (4, 0, 3), (0, 2, 0)])
def test_empty_ones(shape: tuple[int, int, int]) -> None:
    n, k, m = shape
    for stack in ((), (3,), (0,)):
        a, b = np.ones((*stack, n, k)), np.ones((*stack, k, m))
        np.testing.assert_array_equal(graphc.compile(lambda a, b: a @ b, a, b, kernels="llvm")(a, b), a @ b)


def test_what_is_not_finite_stays_where_it_belongs() -> None:
    a, b = np.ones((5, 6)), np.ones((6, 7))
    a[1, 2], b[3, 4] = np.nan, np.inf
    found = graphc.compile(lambda a, b: a @ b, a, b, kernels="llvm")(a, b)
    np.testing.assert_array_equal(found, a @ b)


@pytest.mark.parametrize("machine", [X86_BASELINE, X86_AVX2, X86_AVX512, ARM_NEON], ids=lambda m: m.cpu)
@pytest.mark.parametrize("size", [2, 3, 8, 16, 31])
def test_every_machine_has_them(size: int, machine: Machine) -> None:
    f = graphc.compile(lambda a, b: a @ b.T, "f32[n,6,4]", f"f32[{size},4]", kernels="llvm")
    g = graphc.compile(lambda a, b: a @ b, f"f64[n,5,{size}]", f"f64[n,{size},{size}]", kernels="llvm")
    for compiled in (f, g):
        (kernel,) = (k for k in lower(compiled.plan).kernels if small_product(k))
        module = Module(machine.features_used)
        text = function(kernel, "kernel", machine, module, False, look(kernel))
        assert len(assemble(f"{module.text()}\n{text}", machine)) > 200


def test_columns_are_cut_into_vectors() -> None:
    for columns in range(1, 70):
        for lanes in (2, 4, 8, 16):
            found = pieces(columns, lanes)
            assert [start for start, _ in found] == [sum(n for _, n in found[:k]) for k in range(len(found))]
            assert sum(n for _, n in found) == columns
            assert all(n <= lanes and n & (n - 1) == 0 for _, n in found)
    for rows in range(1, 40):
        for most in range(1, 25):
            assert 1 <= rows_of_block(rows, most) <= min(rows, most)
