"""The CuPy executor's Python, run over NumPy arrays with its kernels emulated: plans become the right calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.backends.cupy import executor
from graphc.backends.cupy.meanings import MEANINGS, MISSING
from graphc.backends.cupy.schedule import Device, Program
from graphc.backends.numpy.executor import define
from graphc.compiler.compiled import Compiled
from graphc.errors import UnsupportedError
from graphc.ir import TensorType
from graphc.ops import TABLE
from graphc.ops import functions as numpy_functions
from graphc.ops.record import Op
from graphc.passes import pipeline
from graphc.passes.fuse import fuse
from graphc.passes.plan import plan as make_plan
from tests.cuda_emulation import COMPILER, Emulator, placed
from tests.op_kernels import dtypes_of, one_node
from tests.test_cuda_kernels import SMALL
from tests.test_kernels import leaves

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX")


def plan_of(compiled: Compiled) -> Any:
    """The plan that the CuPy backend gets for a graph."""
    steps = pipeline.run(compiled.graph, pipeline.DEVICE_PIPELINE, None)
    return make_plan(steps[-1].graph, overwrite=False, groups=fuse(steps[-1].graph, every=True).groups)


class Kernels:
    """Stand-ins for the kernels of a function: they note what they are called with, and run by emulation."""

    def __init__(self, kernels: Any, folder: Path, device: Device) -> None:
        self.programs = [Program(kernel) for kernel in kernels]
        self.folder = folder
        self.device = device

    def __getitem__(self, number: int) -> Callable[..., None]:
        program = self.programs[number]
        nodes = (*program.kernel.roots, *program.kernel.nodes)

        def run(*args: Any) -> None:
            given = args[: len(nodes)]
            assert all(a.flags.c_contiguous for a in given)
            arrays = {node: placed(a, 0) for node, a in zip(nodes, given, strict=True)}
            schedule = program.schedule(args[len(nodes) :], dict.fromkeys(nodes, 16), self.device)
            arrays |= {k: placed(np.full(size, 0xA5, np.uint8), 0) for k, size in schedule.workspaces.items()}
            emulator = Emulator((launch.source for launch in schedule.launches), self.folder)
            for launch in schedule.launches:
                emulator.launch(launch, arrays, 2)
            for node, a in zip(nodes, given, strict=True):
                if node in program.kernel.nodes:
                    a[...] = arrays[node]

        return run


class Constant:
    def __init__(self, array: Any) -> None:
        self.array = array

    def __call__(self) -> Any:
        return self.array


def on_processor(
    compiled: Compiled, folder: Path, more: Mapping[str, Callable[..., Any]] | None = None
) -> Callable[..., Any]:
    """What the CuPy backend would run, with NumPy's arrays in the place of CuPy's; `more` array functions by name."""
    plan = plan_of(compiled)
    writer, source = executor.written(plan)

    class Functions:
        gather = staticmethod(numpy_functions.gather)
        unslice = staticmethod(numpy_functions.unslice)
        scatter_add = staticmethod(numpy_functions.scatter_add)
        on_device = staticmethod(np.asarray)
        matmul = staticmethod(np.matmul)
        concatenate = staticmethod(np.concatenate)

    for name, function in (more or {}).items():
        setattr(Functions, name, staticmethod(function))
    kernels = Kernels(writer.kernels, folder, SMALL)
    scope = {**writer.scope, "cp": np, "ck": Functions, "ndarray": np.ndarray}
    scope.update((name, Constant(array)) for name, array in writer.constants.items())
    scope.update((f"kernel{k}", kernels[k]) for k in range(len(writer.kernels)))
    return define(plan.graph.name, source, scope)


def mlp(w: Any, v: Any, x: Any, t: Any) -> Any:
    def loss(w: Any, v: Any) -> Any:
        return np.mean((np.tanh(x @ w) @ v - t) ** 2)

    value, (gw, gv) = graphc.value_and_grad(loss, argnums=(0, 1))(w, v)
    return value, w - 0.1 * gw, v - 0.1 * gv


def embedding(table: Any, where: Any) -> Any:
    return graphc.grad(lambda table: np.sum(np.tanh(np.take(table, where, axis=0)) ** 2))(table)


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "training step": (mlp, ((1, 10), (10, 1), (64, 1), (64, 1))),
    "embedding": (embedding, ((7, 5), np.array([1, 2, 1, -1]))),
    "sizes as numbers": (lambda x: (x.shape[0] * 2.0, x / x.shape[0], np.float64(3.0)), ((40, 3),)),
    "a variable called h5": (lambda x: (lambda h5: np.exp(h5) @ x.T + x.shape[0] * 2.0)(x + 1), ((8, 3),)),
    "views": (lambda x: (x, x.T, x[1:], (x + 1).T, np.broadcast_to(x[0], (4, 3)), x[0, 0]), ((40, 3),)),
    "transposed products": (lambda x: np.exp((x.T @ x).T) + (x @ x.T).sum(), ((8, 3),)),
    "joined": (lambda x: np.concatenate([x, np.exp(x)], axis=1)[:, ::-1].sum(1), ((8, 3),)),
    "a cheap op alone": (lambda x: x + 1, ((8, 3),)),
}


@needs_compiler
@pytest.mark.parametrize("name", PROGRAMS)
def test_plans_become_the_right_calls(name: str, tmp_path: Path) -> None:
    f, shapes = PROGRAMS[name]
    rng = np.random.default_rng(4)
    given = [rng.normal(size=s) if isinstance(s, tuple) else s for s in shapes]
    compiled = graphc.compile(f, *given)
    actual = on_processor(compiled, tmp_path)(*given)
    wanted = leaves(compiled(*given))
    assert len(actual) == len(wanted)
    for a, b in zip(actual, wanted, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        assert not any(np.may_share_memory(a, x) for x in given)


def test_the_source_is_readable() -> None:
    compiled = graphc.compile(lambda x, w: np.exp(x @ w) + 1, "f32[n,3]", "f32[3,4]")
    line = compiled.graph._node[compiled.graph.outputs[0]]["loc"][0].line
    writer, source = executor.written(plan_of(compiled))
    assert source == (
        "def run(x, w):\n"
        "    if type(x) is not ndarray or x.dtype != dtype0 or x.ndim != 2 or not x.flags.c_contiguous:\n"
        "        x = spec0.convert(x)\n"
        "    n = x.shape[0]\n"
        "    if type(w) is not ndarray or w.dtype != dtype1 or w.shape != (3, 4,) or not w.flags.c_contiguous:\n"
        "        w = spec1.convert(w)\n"
        "    if x.shape[1] != 3: spec0.refuse_size(1, x.shape[1], 3)\n"
        f"    v2 = ck.matmul(x, w)  # test_cuda_programs.py:{line} <lambda>\n"
        "    v2 = cp.ascontiguousarray(v2)\n"
        "    v5 = cp.empty((n, 4,), f32)\n"
        "    kernel0(v2, v5, 4*n)  # exp add\n"
        "    del v2\n"
        "    return (v5, )\n"
    )
    assert len(writer.kernels) == 1


def test_every_op_runs_or_is_refused_by_name() -> None:
    """An op has a kernel, or a meaning in CuPy, or a reason why not; none has two of them without need."""
    for name, op in TABLE.items():
        fused = op.kernel is not None or op.fold is not None
        assert fused or name in MEANINGS or name in MISSING or name in ("const", "dim", "pi"), name
        assert not (name in MEANINGS and name in MISSING), name


@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.fold is not None], ids=lambda op: op.name)
@pytest.mark.parametrize("shape", [(1, 33), (1, 1)])
def test_folds_over_one_element_are_not_refused(op: Op, shape: tuple[int, int]) -> None:
    """There is no loop for a kernel."""
    for dtype in dtypes_of(op, 1):
        graph = one_node(op, [TensorType(shape, dtype)], {"axes": (0,), "keepdims": False})
        executor.written(plan_of(graphc.compile(graph)))


def test_what_cupy_has_not_is_refused_by_name() -> None:
    compiled = graphc.compile(lambda x: graphc.scipy.special.jv(3, x), "f64[n]")
    with pytest.raises(UnsupportedError, match="bessel_j does not run") as caught:
        executor.written(plan_of(compiled))
    assert 'backend="numpy"' in str(caught.value)


def test_without_cupy_or_a_gpu_one_error_says_what_is_missing() -> None:
    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount():
            pytest.skip("there is a GPU")
    except Exception:
        pass
    with pytest.raises(UnsupportedError, match='backend="cupy" needs') as caught:
        graphc.compile(lambda x: x + 1, "f64[n]", backend="cupy")
    assert caught.value.fix
    with pytest.raises(UnsupportedError, match='backend="cupy" needs'):
        graphc.jit(lambda x: x + 1, backend="cupy")(np.ones(3))
