"""Functions of the CUDA kernels that are not CUDA's own: their largest errors, by emulation, against exact values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

from graphc.backends.numpy.llvm.values import F32, F64
from graphc.ir import TensorType
from graphc.ops import TABLE
from tests.cuda_emulation import COMPILER, Emulator
from tests.op_kernels import one_node
from tests.test_cuda_kernels import op_case
from tests.vector_functions import ROWS, reference

pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler: install g++, or set CXX"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

Array = np.ndarray[Any, Any]
POINTS = 4000
# (function, dtype, largest error in units in the last place)
STATED = [("erfc", F32, 2.5), ("erfc", F64, 2.3), ("exp", F64, 1.0), ("log", F32, 1.0), ("log", F64, 1.0)]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 1.0, 5e-324, 1e-310, -1e-310, 2.3e-308, 708.5, -708.5,
           709.9, -744.5, -746.0, 27.3, 27.2, 26.6]  # fmt: skip


def computed(name: str, x: Array, folder: Path, flags: Sequence[str] = ()) -> Array:
    """What the kernel of one op gives."""
    graph = one_node(TABLE[name], [TensorType(x.shape, x.dtype)], {})
    case = op_case(graph, [x])
    return case.run(Emulator(case.texts, folder, flags))[graph.outputs[0]]


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize(("name", "dtype", "ulps"), STATED)
def test_errors_are_as_stated(name: str, dtype: Any, ulps: float, off: int, tmp_path: Path) -> None:
    """Whatever the processor's inverse is off by."""
    if off and dtype == F64:
        pytest.skip("the inverse has 20 bits in any case")
    (x,), exact = reference(name, dtype, POINTS)
    found = computed(name, x, tmp_path, [f"-DINVERSE_OFF_BY={off}"])
    distances = exact.distances(found)
    worst = int(np.argmax(distances))
    assert distances[worst] <= ulps, (x[worst], found[worst], distances[worst])


DENSE: dict[str, tuple[Any, float, float]] = {"erfc": (scipy.special.erfc, -4.0, 10.2), "log": (np.log, 1e-38, 3e38)}


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("name", DENSE)
def test_errors_of_many_numbers(name: str, off: int, tmp_path: Path) -> None:
    """In single precision, against double: every so many-th float, and all around 1."""
    exactly, low, high = DENSE[name]
    ends = np.array([-low, high] if low < 0 else [low, high], np.float32).view(np.int32)
    x = np.arange(0 if low < 0 else ends[0], ends[1], 1511, dtype=np.int32).view(np.float32)
    x = np.concatenate([x, 1 + np.arange(-50000, 50000) * np.float32(2.0**-22)]).astype(np.float32)
    if low < 0:
        x = np.concatenate([x, -x[x < -low]])
    exact = exactly(x.astype(np.float64))
    unit = np.abs(np.spacing(exact.astype(np.float32)).astype(np.float64))
    errors = np.abs(computed(name, x, tmp_path, [f"-DINVERSE_OFF_BY={off}"]) - exact) / unit
    worst = int(np.argmax(errors))
    assert errors[worst] <= {stated: ulps for stated, dtype, ulps in STATED if dtype == F32}[name], x[worst]


@pytest.mark.parametrize(("name", "dtype", "ulps"), STATED)
def test_special_values(name: str, dtype: Any, ulps: float, tmp_path: Path) -> None:
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL, dtype)
        expected = ROWS[name].numpy(x)
    found = computed(name, x, tmp_path)
    np.testing.assert_array_max_ulp(found[np.isfinite(expected)], expected[np.isfinite(expected)], 3)
    np.testing.assert_array_equal(found[~np.isfinite(expected)], expected[~np.isfinite(expected)])


@pytest.mark.parametrize("dtype", [F32, F64], ids=["f32", "f64"])
def test_quotients_are_rounded_correctly(dtype: Any, tmp_path: Path) -> None:
    """Numbers of all sizes, ones that differ by few units, and quotients beside the middle of two floats."""
    rng = np.random.default_rng(3)
    fits, n = np.finfo(dtype), 30000
    size = [np.exp2(rng.uniform(fits.minexp - fits.nmant, fits.maxexp, n)).astype(dtype) for _ in range(2)]
    near = [dtype.type(1) + (rng.integers(0, 64, n) * fits.eps).astype(dtype) for _ in range(2)]
    b = (rng.integers(1 << fits.nmant, 2 << fits.nmant, n) | 1).astype(dtype)
    middle = (rng.integers(1 << fits.nmant, 2 << fits.nmant, n).astype(dtype) * (1 + fits.eps / 2)).astype(dtype)
    special = np.array([0, -0.0, np.inf, np.nan, 1, fits.max, fits.tiny, fits.smallest_subnormal, -1], dtype)
    pairs = [*np.meshgrid(special, special)]
    x, y = (np.concatenate(c) for c in ((size[0], near[0], middle * b, b, pairs[0].ravel()),
                                         (size[1], near[1], b, near[1], pairs[1].ravel())))  # fmt: skip
    x[::3] *= -1
    graph = one_node(TABLE["div"], [TensorType(x.shape, x.dtype)] * 2, {})
    case = op_case(graph, [x, y])
    found = case.run(Emulator(case.texts, tmp_path))[graph.outputs[0]]
    np.testing.assert_array_equal(found, x / y)
    same = ~np.isnan(found)
    np.testing.assert_array_equal(np.signbit(found[same]), np.signbit((x / y)[same]))
