"""What errors say: the whole text of each, in user programs that go wrong; and what kind of exception it is."""

from __future__ import annotations

import copy
import inspect
import linecache
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import errors
from graphc.errors import GraphcError, LeakedTracerError, Loc, TraceError
from graphc.numpy.alternatives import METHODS, MODULES, REFUSED
from graphc.numpy.dispatch import FUNCTIONS
from graphc.tracing import UnsupportedAttribute

HEAD = "import math, graphc, numpy as np\n"


@dataclass(frozen=True, slots=True)
class Program:
    """A user's module that fails when it is imported, and the exception a NumPy user would expect there."""

    name: str
    expects: type[Exception]
    code: str
    other: str = ""  # the text of layers.py, a second module

    def __str__(self) -> str:
        return self.name


PROGRAMS = (
    # shapes, axes, dtypes
    Program("matmul", ValueError,
            'def predict(x, w):\n    return x @ w\n\ngraphc.trace(predict, "f64[3,4]", "f64[3,4]")'),
    Program("matmul_in_grad", ValueError, "def loss(w, x):\n    return (x @ w).sum()\n\n"
            "graphc.grad(loss)(np.ones(2), np.ones((4, 3)))"),
    Program("matmul_in_jit", ValueError, "@graphc.jit\ndef predict(x, w):\n    return np.tanh(x) @ w\n\n"
            "predict(np.ones((2, 3)), np.ones((2, 3)))"),
    Program("matmul_in_another_module", ValueError,
            "from layers import linear\n\ndef loss(x, w):\n    hidden = linear(x, w)\n    return hidden.sum()\n\n"
            "graphc.hessian(loss)(np.ones((3, 4)), np.ones((3, 4)))",
            "import numpy as np\n\n"
            "def linear(x, w):\n    def inner(y):\n        return np.matmul(y, w)\n    return inner(x)\n"),
    Program("axis", IndexError, 'graphc.trace(lambda x: np.sum(x, axis=2), "f64[3,4]")'),
    Program("axis_of_a_scalar", IndexError, 'graphc.trace(lambda x: x.max(axis=1), "f64[]")'),
    Program("axis_twice", ValueError, 'graphc.trace(lambda x: x.sum(axis=(0, -2)), "f64[3,4]")'),
    Program("broadcast", ValueError, 'graphc.trace(lambda x, y: x + y, "f64[3,4]", "f64[3]")'),
    Program("broadcast_with_an_array", ValueError, 'graphc.trace(lambda x: np.ones(3) * x, "f64[2]")'),
    Program("reshape", ValueError, 'graphc.trace(lambda x: x.reshape(2, -1), "f64[3]")'),
    Program("concatenate", ValueError, 'graphc.trace(lambda x, y: np.concatenate([x, y]), "f64[2,3]", "f64[2,4]")'),
    Program("bitwise_of_floats", TypeError, 'graphc.trace(lambda x: (x > 0) & x, "f64[3]")'),
    Program("complex_argument", TypeError, "graphc.jit(lambda z: z.real)(np.array([1 + 2j]))"),
    Program("complex_spec", TypeError, 'graphc.trace(lambda z: z.imag, "c128[]")'),
    Program("complex_for_float", TypeError, 'graphc.compile(lambda x: 2 * x, "f64[2]")(np.array([1j, 2]))'),
    Program("complex_constant", TypeError, 'z = np.array([1j, 2])\ngraphc.trace(lambda x: x * z, "f64[2]")'),
    Program("complex_cast", TypeError, 'graphc.trace(lambda x: x.astype(complex), "f64[3]")'),
    # Python asks for values
    Program("if", TypeError,
            'def f(x):\n    if x.sum() > 0:\n        return x\n    return -x\n\ngraphc.trace(f, "f64[3]")'),
    Program("while", TypeError,
            'def f(x):\n    while x > 1:\n        x = x / 2\n    return x\n\ngraphc.trace(f, "f64[]")'),
    Program("assert", TypeError, 'def f(x):\n    assert x > 0, "positive"\n    return x\n\ngraphc.trace(f, "f64[]")'),
    Program("or", TypeError, 'def f(x, y):\n    return x or y\n\ngraphc.trace(f, "f64[]", "f64[]")'),
    Program("comprehension", TypeError,
            'def f(x):\n    return [v for v in (x, 2 * x) if v > 0]\n\ngraphc.trace(f, "f64[]")'),
    Program("float", TypeError, 'def f(price):\n    return float(price) * 2\n\ngraphc.trace(f, "f64[]")'),
    Program("float_of_an_unnamed_value", TypeError, 'graphc.trace(lambda x: float(x * 2), "f64[]")'),
    Program("math", TypeError, 'graphc.trace(lambda x: math.sin(x), "f64[]")'),
    Program("builtin_max", TypeError, 'graphc.trace(lambda x: max(0, x), "f64[]")'),
    Program("method_all", TypeError, 'graphc.trace(lambda x: 1 if (x > 0).all() else 0, "f64[3]")'),
    Program("range", TypeError,
            'def f(x, n):\n    for _ in range(n):\n        x = x * 2\n    return x\n\n'
            'graphc.trace(f, "f64[]", "i64[]")'),
    Program("zeros_of_a_count", TypeError, 'graphc.trace(lambda x, n: np.zeros(n) + x, "f64[]", "i64[]")'),
    Program("arange_of_a_size", TraceError, 'graphc.trace(lambda x: x + np.arange(x.shape[0]), "f64[n]")'),
    Program("zeros_of_a_size", TraceError, 'graphc.trace(lambda x: x + np.zeros(x.shape[0]), "f64[n]")'),
    Program("range_of_a_size", TypeError, 'graphc.trace(lambda x: [x[i] for i in range(len(x))], "f64[n]")'),
    Program("compare_a_size", TypeError,
            'def f(x):\n    if x.shape[0] > 3:\n        return x\n    return 2 * x\n\ngraphc.trace(f, "f64[n]")'),
    Program("format", TypeError, 'def f(x):\n    print(f"{x:.3f}")\n    return x\n\ngraphc.trace(f, "f64[]")'),
    # values that leave their trace
    Program("leaked", TypeError,
            'kept = []\n\n'
            'def f(x):\n    kept.append(x * 2)\n    return x\n\ngraphc.trace(f, "f64[3]")\nprint(kept[0] + 1)'),
    Program("leaked_global", TypeError, 'def f(x):\n    global state\n    state = np.sin(x)\n    return x\n\n'
            'graphc.jit(f)(1.0)\ngraphc.jit(lambda x: x * state)(1.0)'),
    Program("leaked_into_jit", TypeError, 'def f(x):\n    global state\n    state = np.sin(x)\n    return x\n\n'
            'graphc.jit(f)(1.0)\ngraphc.jit(lambda x: x)(state)'),
    # arrays that are not traced
    Program("array_of_traced", TypeError, 'graphc.trace(lambda x: np.array([x, 2 * x]), "f64[]")'),
    Program("asarray", TypeError, 'def f(weights):\n    return np.asarray(weights)\n\ngraphc.trace(f, "f64[3]")'),
    Program("store_in_an_array", TypeError,
            "def f(x):\n    y = np.zeros(3)\n    y[0] = x\n    return y\n\ngraphc.trace(f, \"f64[]\")"),
    Program("store_a_row", TypeError,
            "def f(x):\n    y = np.zeros((2, 3))\n    y[0] = x\n    return y\n\ngraphc.grad(f)(np.ones(3))"),
    Program("in_place_operator", TypeError,
            'def f(x):\n    total = y = np.zeros(3)\n    total += x\n    return y\n\ngraphc.trace(f, "f64[3]")'),
    Program("index_into_a_plain_array", TypeError,
            'def f(i):\n    table = np.eye(3)\n    return table[i]\n\ngraphc.trace(f, "i64[2]")'),
    Program("out", TypeError, 'graphc.trace(lambda x: np.exp(x, out=np.zeros(3)), "f64[3]")'),
    Program("write_to_a_read_only_view", ValueError,
            'def f(x):\n    y = np.broadcast_to(x, (2, 3))\n    y[0] = 1.0\n    return y\n\ngraphc.trace(f, "f64[3]")'),
    Program("write_from_an_inner_function", TypeError,
            "def f(x):\n    def g(s):\n        x[0] = s\n        return s\n    return graphc.grad(g)(x[1])\n\n"
            'graphc.trace(f, "f64[3]")'),
    Program("write_of_another_kind", TypeError, 'def f(x):\n    x += 0.5\n    return x\n\ngraphc.trace(f, "i64[3]")'),
    Program("write_of_another_shape", ValueError,
            'def f(x):\n    x[1:] = np.ones(3)\n    return x\n\ngraphc.trace(f, "f64[3]")'),
    Program("scipy_stats", TypeError,
            'from scipy import stats\n\ngraphc.trace(lambda x: stats.norm.cdf(x), "f64[3]")'),
    # indexing
    Program("index", IndexError, 'graphc.trace(lambda x: x[5], "f64[3]")'),
    Program("index_array", IndexError, 'graphc.trace(lambda x: x[np.array([0, -4])], "f64[3]")'),
    Program("too_many_indices", IndexError, 'graphc.trace(lambda x: x[1, 2], "f64[3]")'),
    Program("float_index", IndexError, 'graphc.trace(lambda x: x[1.0], "f64[3]")'),
    Program("constant_mask", IndexError, 'graphc.trace(lambda x: x[np.ones(4, bool)], "f64[3]")'),
    Program("traced_mask", TypeError, 'graphc.trace(lambda x: x[x > 0], "f64[3]")'),
    # what NumPy has and a trace has not
    Program("unsupported_function", TypeError, 'graphc.trace(lambda x: np.unique(x), "f64[3]")'),
    Program("unsupported_with_a_formula", TypeError, 'graphc.trace(lambda x: np.argwhere(x), "f64[3]")'),
    Program("unsupported_linalg", TypeError, 'graphc.trace(lambda x: np.linalg.eigvals(x), "f64[3,3]")'),
    Program("unsupported_of_scipy", TypeError,
            'import scipy.special\ngraphc.trace(lambda x: scipy.special.hyp2f1(1, 2, 3, x), "f64[3]")'),
    Program("unsupported_ufunc", TypeError, 'graphc.trace(np.frompyfunc(lambda v: v + 1, 1, 1), "f64[3]")'),
    Program("unsupported_method", TypeError, 'graphc.trace(lambda x: x.resize(2), "f64[3]")'),
    Program("unsupported_argument", TypeError, 'graphc.trace(lambda x: np.quantile(x, 0.5, weights=x), "f64[2]")'),
    Program("complex_operand", TypeError, 'graphc.trace(lambda x: 1j * x, "f64[3]")'),
    Program("list_operand", TypeError, 'graphc.trace(lambda x: x.shape[0] * [0], "f64[n]")'),
    Program("none_operand", TypeError, 'def f(x, bias=None):\n    return x + bias\n\ngraphc.trace(f, "f64[3]")'),
    Program("returned_text", TypeError, 'def f(x):\n    return x, "done"\n\ngraphc.trace(f, "f64[3]")'),
    # random numbers
    Program("random", TypeError,
            'def noisy(x):\n    noise = np.random.normal(size=3)\n    return x + noise\n\n'
            'graphc.jit(noisy)(np.ones(3))'),
    Program("random_in_another_module", TypeError,
            "from layers import dropout\n\ngraphc.vjp(lambda x: dropout(x) * 2, np.ones(3))",
            "from numpy.random import rand\n\ndef dropout(x):\n    keep = rand(3) > 0.5\n    return x * keep\n"),
    Program("random_generator", TypeError,
            "rng = np.random.default_rng(0)\n\ndef noisy(x):\n    return x + rng.normal(0, 0.1, size=x.shape)\n\n"
            "graphc.jit(noisy)(np.ones(3))"),
    Program("random_without_a_seed", TypeError,
            'graphc.trace(lambda x: x + np.random.default_rng().random(3), "f64[3]")'),
    Program("random_of_python", TypeError,
            "import random\n\ndef flip(x):\n    if random.random() < 0.5:\n        return -x\n    return x\n\n"
            'graphc.trace(flip, "f64[3]")'),
    Program("random_seed_for_a_key", TypeError, "graphc.random.normal(42, (3,))"),
    Program("random_generator_for_a_key", TypeError, "graphc.random.normal(np.random.default_rng(0), (3,))"),
    Program("random_stack_of_keys", ValueError,
            "def f(keys):\n    return graphc.random.uniform(keys, 3)\n\n"
            "graphc.jit(f)(graphc.random.split(graphc.random.key(0)))"),
    Program("random_float_key", TypeError, "graphc.random.bits(np.zeros(4), 3)"),
    Program("random_saved_key", TypeError, "graphc.random.bits(np.array([1, 2, 3, 4]), 3)"),
    Program("random_shape", TypeError, "graphc.random.normal(graphc.random.key(0), 0.0, 1.0)"),
    Program("random_traced_shape", TypeError,
            'graphc.trace(lambda k, n: graphc.random.uniform(k, (n,)), "u32[4]", "i64[]")'),
    Program("random_parameters", ValueError,
            'graphc.trace(lambda k, m: graphc.random.normal(k, (2,), loc=m), "u32[4]", "f64[3]")'),
    Program("random_integer_bound", TypeError, "graphc.random.integers(graphc.random.key(0), 3, 0.5, 2.5)"),
    Program("random_integer_of_uniform", TypeError,
            "graphc.random.uniform(graphc.random.key(0), 3, np.int64)"),
    Program("random_name_of_numpy", TypeError, "graphc.random.standard_normal(3)"),
    Program("random_not_yet", TypeError, "graphc.random.poisson(graphc.random.key(0), 3.0)"),
    # derivatives
    Program("grad_of_a_vector", TypeError, "def model(x):\n    return x * 2\n\ngraphc.grad(model)(np.ones(3))"),
    Program("grad_of_several", TypeError, "def model(x):\n    return x.sum(), x\n\ngraphc.grad(model)(np.ones(3))"),
    Program("grad_of_a_list", TypeError, "def model(x):\n    return [x.sum()]\n\ngraphc.grad(model)(np.ones(3))"),
    Program("grad_of_nothing", TypeError, "def model(x):\n    x.sum()\n\ngraphc.grad(model)(np.ones(3))"),
    Program("grad_of_an_integer", TypeError, "graphc.grad(lambda x: x * 2.0)(3)"),
    Program("argnums", TypeError, "graphc.grad(lambda x, y: x * y, argnums=2)(1.0, 2.0)"),
    Program("argnums_by_name", TypeError, "graphc.grad(lambda x, y: x * y, argnums='y')(1.0, 2.0)"),
    Program("hvp_of_two_arguments", TypeError, "graphc.hvp(lambda x, y: x * y, argnums=(0, 1))"),
    Program("primals_without_a_tuple", TypeError, "graphc.jvp(np.sin, np.ones(3), np.ones(3))"),
    Program("tangents_without_a_tuple", TypeError, "graphc.jvp(np.sin, (np.ones(3),), np.ones(3))"),
    Program("derivative_of_a_callback", TypeError, "def model(x):\n"
            "    return graphc.pure_callback(np.sum, 'f64[]', x)\n\ngraphc.grad(model)(np.ones(3))"),
    Program("tangent_shape", ValueError, "graphc.jvp(np.sin, (np.ones(3),), (np.ones(2),))"),
    Program("cotangent_structure", TypeError,
            "y, pullback = graphc.vjp(lambda x: {'a': x, 'b': (x, 1.0)}, 2.0)\npullback({'a': 1.0})"),
    # rows
    Program("vmap_sizes", ValueError, "def scaled(x, factor):\n    return x * factor\n\n"
            "graphc.vmap(scaled)(np.ones((3, 2)), np.ones(2))"),
    Program("vmap_axis", IndexError, "graphc.vmap(np.sum, in_axes=2)(np.ones((3, 2)))"),
    Program("vmap_nothing", TypeError, "graphc.vmap(np.add, in_axes=None)(np.ones(3), np.ones(3))"),
    Program("vmap_structure", TypeError, "def model(p):\n    return p['a']\n\n"
            "graphc.vmap(model, in_axes=({'a': 0, 'b': 0},))({'a': np.ones(3)})"),
    Program("vmap_axes_of_one_argument", TypeError, "graphc.vmap(lambda p: p['a'], in_axes={'a': 0})"),
    Program("vmap_out_axes", TypeError, "def model(x):\n    return x * 2\n\n"
            "graphc.vmap(model, out_axes=None)(np.ones(3))"),
    Program("vmap_body", ValueError, "def model(x, w):\n    return x @ w\n\n"
            "graphc.vmap(model, (0, None))(np.ones((5, 3)), np.ones(4))"),
    Program("vmap_callback", TypeError, "def model(x):\n    return graphc.pure_callback(np.sort, 'f64[3]', x)\n\n"
            "graphc.vmap(model)(np.ones((5, 3)))"),
    # expressions
    Program("symbol_not_listed", TypeError, 'x = graphc.symbol("x", "f64[3]")\ny = graphc.symbol("y", "f64[3]")\n'
            "graphc.compile([x], [y])"),
    Program("symbols_of_one_name", TypeError, 'a, b = graphc.symbol("x", "f64[]"), graphc.symbol("x", "f64[]")\n'
            "graphc.compile([a], [a * b])"),
    Program("symbol_dtype", ValueError, 'graphc.symbol("x", "f65[3]")'),
    Program("gradients_of_arrays", TypeError, "graphc.gradients(np.sum(np.ones(3)), [np.ones(3)])"),
    Program("gradients_by_one", TypeError, 'x = graphc.symbol("x", "f64[3]")\ngraphc.gradients(np.sum(x), x)'),
    Program("no_symbols", TypeError, "graphc.compile([np.ones(3)], [1.0])"),
    # calls of what was compiled
    Program("wrong_dtype", TypeError, 'f = graphc.compile(np.sin, "f32[3]")\nf(np.ones(3))'),
    Program("wrong_size", ValueError,
            'f = graphc.compile(lambda x, w: x @ w, "f64[n,3]", "f64[3]")\nf(np.ones((2, 4)), np.ones(3))'),
    Program("wrong_shared_size", ValueError,
            'f = graphc.compile(lambda x, y: x * y, "f64[n]", "f64[n]")\nf(np.ones(2), np.ones(3))'),
    Program("wrong_rank", ValueError, 'f = graphc.compile(lambda x: x.sum(), "f64[n,3]")\nf(np.ones(3))'),
    Program("wrong_structure", TypeError,
            'f = graphc.compile(lambda p, x: p["w"] * x, {"w": "f64[3]"}, "f64[3]")\nf({"v": np.ones(3)}, np.ones(3))'),
    Program("wrong_names", TypeError,
            'f = graphc.compile(lambda x, y: x - y, "f64[3]", "f64[3]")\nf(x=np.ones(3), y=np.ones(3))'),
    Program("text_argument", TypeError, 'f = graphc.compile(np.sin, "f64[3]")\nf("abc")'),
    Program("ragged_argument", ValueError, 'f = graphc.compile(np.sin, "f64[n,2]")\nf([[1.0, 2.0], [3.0]])'),
    Program("position", IndexError, "@graphc.jit\ndef look_up(table, codes):\n    return np.log(table)[codes]\n\n"
            "look_up(np.ones(3), np.array([0, 3]))"),
    Program("singular_matrix", np.linalg.LinAlgError,
            "@graphc.jit\ndef fit(x, y):\n    gram = x.T @ x\n    return np.linalg.solve(gram, x.T @ y)\n\n"
            "fit(np.ones((3, 2)), np.ones(3))"),
    Program("indefinite_matrix", np.linalg.LinAlgError,
            'f = graphc.compile(np.linalg.cholesky, "f64[n,n]")\nf(np.array([[1.0, 2.0], [2.0, 1.0]]))'),
    Program("float_position", TypeError, 'graphc.trace(lambda x, i: x[i], "f64[3]", "f64[]")'),
    Program("guard", ValueError, 'f = graphc.compile(lambda x: x[2:4], "f64[n]")\nf(np.ones(3))'),
    Program("text_for_jit", TypeError, 'graphc.jit(lambda x: x)("abc")'),
    Program("frame_for_jit", TypeError, "class Frame:\n    def __init__(self, rows):\n        self.rows = rows\n"
            "    def __array__(self, dtype=None, copy=None):\n        return np.array(self.rows)\n"
            "    def __repr__(self):\n        return str(self.rows)\n\ngraphc.jit(np.sin)(Frame([1.0, 2.0]))"),
    Program("jit_without_function", TypeError, 'graphc.jit("f")'),
    Program("memory_without_sizes", ValueError, 'f = graphc.compile(np.sin, "f64[n]")\nf.memory(m=3)'),
    Program("unhashable_static", TypeError,
            "graphc.jit(lambda x, axes: x.sum(axes), static_argnums=1)(np.ones(3), [0])"),
    Program("bad_spec", ValueError, 'graphc.trace(np.sin, "f64[3")'),
    Program("bad_dtype", ValueError, 'graphc.trace(np.sin, "float64[3]")'),
    Program("unknown_dtype", ValueError, 'graphc.trace(np.sin, "f65[3]")'),
    Program("complex_dtype", ValueError, 'graphc.trace(np.sin, "complex128[3]")'),
    Program("dtype_as_spec", TypeError, "graphc.trace(np.sin, np.float64)"),
    Program("python_type_as_spec", TypeError, "graphc.trace(np.sin, float)"),
    Program("objects", TypeError, "graphc.trace(np.sin, np.array([None]))"),
    Program("verify_argument", TypeError, 'graphc.verify(np.sin, "f64[]", wrt=[1])'),
    Program("verify_domain", TypeError, 'graphc.verify(np.log, "f64[]", domain="positiv")'),
    Program("verify_size", ValueError, 'graphc.verify(np.sum, "f64[n]", env={"m": 3})'),
    Program("bad_backend", TypeError, 'graphc.compile(np.sin, "f64[]", backend="torch")'),
)  # fmt: skip


def run(path: Path, code: str) -> dict[str, Any]:
    """Run a text as the module that a file holds."""
    path.write_text(code, encoding="utf-8")
    scope: dict[str, Any] = {"__name__": path.stem}
    exec(compile(code, str(path), "exec"), scope)
    return scope


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the user's modules."""
    monkeypatch.syspath_prepend(tmp_path)
    linecache.checkcache()
    yield tmp_path
    sys.modules.pop("layers", None)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_the_text(program: Program, folder: Path, golden: Callable[[str, str], None]) -> None:
    (folder / "layers.py").write_text(program.other, encoding="utf-8")
    with pytest.raises(GraphcError) as caught:
        run(folder / "model.py", HEAD + program.code)
    error = caught.value
    assert isinstance(error, program.expects)
    for part in ("expected", "actual", "at"):
        assert f"\n  {part} " in str(error)
    golden(f"errors/{program.name}", f"{type(error).__name__}: {error}")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert str(again) == str(error)


def test_every_text_has_a_program(root: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--update-golden"):
        files = {path.stem for path in (root / "tests" / "golden" / "errors").glob("*.txt")}
        assert files == {program.name for program in PROGRAMS}


# The line


@pytest.mark.parametrize("file", ["<string>", "<stdin>", "<ipython-input-3-0123456789ab>", "/nowhere/cell.py"])
def test_code_without_a_file(file: str) -> None:
    scope: dict[str, Any] = {"np": np}
    exec(compile("\ndef f(x):\n    return x @ x", file, "exec"), scope)
    with pytest.raises(GraphcError) as caught:
        graphc.trace(scope["f"], "f64[2,3]")
    assert caught.value.loc == Loc(file, 3, "f")
    assert f"  at        {file.rpartition('/')[2]}:3 in f\n" in str(caught.value)


def test_a_notebook_cell_shows_its_line() -> None:
    """IPython puts the source of cells where tracebacks look for it."""
    file, lines = "<ipython-input-7-aaaa>", ["def f(x):\n", "    return x @ x\n"]
    linecache.cache[file] = (len("".join(lines)), None, lines, file)
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec(compile("".join(lines), file, "exec"), scope)
    with pytest.raises(GraphcError, match=r"at +<ipython-input-7-aaaa>:2   return x @ x"):
        graphc.trace(scope["f"], "f64[2,3]")


CONDITION = "np.where(condition, a, b)"
NUMBER = "compute with the traced value itself"
COUNT = "make the argument static"


@pytest.mark.parametrize(("code", "fix"), [
    ("graphc.jit(lambda x: x if x.sum() > 0 else -x)(np.ones(3))", CONDITION),
    ("graphc.jit(lambda x: x if x.sum() > 0 else -x)(np.zeros(3))", CONDITION),
    ("graphc.jit(lambda x: x if x.sum() > 0 else -x)(np.arange(3.))", CONDITION),
    ("graphc.trace(lambda x: np.ones(3) if x[0] > 0 else np.zeros(3), 'f64[3]')", CONDITION),
    ("graphc.trace(lambda x: np.ones(3) * x if x[0] > 0 else np.zeros(x.shape[0]), 'f64[n]')", CONDITION),
    ("graphc.trace(lambda x: np.full(3, float(x[0])), 'f64[3]')", NUMBER),
    ("graphc.trace(lambda x: np.eye(3) * x.item(), 'f64[1]')", NUMBER),
    ("graphc.trace(lambda x: np.eye(3).dot(x.item()), 'f64[1]')", NUMBER),
    ("graphc.trace(lambda x: np.arange(0, float(x), 0.5), 'f64[]')", NUMBER),
    ("graphc.trace(lambda x, n: [np.ones(3) * x for _ in range(n)], 'f64[3]', 'i64[]')", COUNT),
    ("graphc.trace(lambda x, n: np.arange(3) * x + [1, 2, 3][n], 'f64[3]', 'i64[]')", "np.asarray(array, like=n)[n]"),
    # the value is an argument of the function
    ("graphc.trace(lambda x: x + np.zeros(x.shape[0]), 'f64[n]')", "graphc.numpy.zeros"),
    ("graphc.trace(lambda x: x @ np.full((3, x.shape[0]), 1.5).T, 'f64[n]')", "graphc.numpy.full"),
    ("graphc.trace(lambda x: x + np.eye(\n    x.shape[0],\n), 'f64[n]')", "graphc.numpy.eye"),
    ("from numpy import ones as einsen\ngraphc.trace(lambda x: x + einsen(x.shape[0]), 'f64[n]')", "graphc.numpy.ones"),
    ("import numpy as xp\nä = 'ä'; graphc.trace(lambda x: x + xp.arange(x.shape[0]), 'f64[n]')", "graphc.numpy.arange"),
    ("graphc.trace(lambda x, n: np.zeros(n) + x, 'f64[]', 'i64[]')", COUNT),
])  # fmt: skip
def test_advice_to_make_arrays_in_the_trace_is_for_arguments_of_their_maker(code: str, fix: str, folder: Path) -> None:
    with pytest.raises(TraceError) as caught:
        run(folder / "model.py", HEAD + code)
    assert str(caught.value.fix).startswith(fix)


def test_equal_functions_in_two_files_keep_their_files() -> None:
    """Python compares code objects by their content, in which the file does not count."""
    for file in ("one.py", "two.py"):
        scope: dict[str, Any] = {}
        exec(compile("def f(x):\n    return x @ x", file, "exec"), scope)
        with pytest.raises(GraphcError) as caught:
            graphc.trace(scope["f"], "f64[2,3]")
        assert caught.value.loc is not None
        assert caught.value.loc.file == file


def test_the_standard_library_is_not_the_users() -> None:
    """`colorsys` compares its arguments: the line that called it is shown."""
    import colorsys

    def hue(x: Any) -> Any:
        return colorsys.rgb_to_hsv(x, 0.5, 0.5)[0]

    with pytest.raises(GraphcError) as caught:
        graphc.trace(hue, "f64[]")
    assert caught.value.loc is not None
    assert caught.value.loc.function == "hue"


def test_a_long_line_is_cut() -> None:
    file = "long.py"
    code = "def f(x): return x @ x" + " + 0" * 100
    linecache.cache[file] = (len(code), None, [code], file)
    scope: dict[str, Any] = {}
    exec(compile(code, file, "exec"), scope)
    with pytest.raises(GraphcError) as caught:
        graphc.trace(scope["f"], "f64[2,3]")
    place = next(line for line in str(caught.value).split("\n") if line.startswith("  at"))
    assert len(place) < 130
    assert place.endswith(" …")


# Errors that other code hides


def test_numpy_is_the_cause_of_what_it_hid() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(3)
        y[0] = x
        return y

    with pytest.raises(TraceError) as caught:
        graphc.trace(f, "f64[]")
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.__cause__.__cause__ is None


def test_the_users_own_error_stays() -> None:
    class Rejected(Exception):
        pass

    def f(x: Any) -> Any:
        try:
            return float(x)
        except TraceError as error:
            raise Rejected("not a number") from error

    with pytest.raises(Rejected, match="not a number"):
        graphc.trace(f, "f64[]")


def test_an_error_that_has_nothing_to_do_with_graphc_stays() -> None:
    with pytest.raises(ZeroDivisionError):
        graphc.trace(lambda x: x * (1 // 0), "f64[]")


def test_a_caught_refusal_leaves_the_trace_alive() -> None:
    def f(x: Any) -> Any:
        try:
            return x * float(x)
        except TypeError:
            return x * 2

    assert graphc.jit(f)(3.0) == 6.0


# Leaked values


@pytest.mark.parametrize(
    "use",
    [
        lambda v: v + 1,
        lambda v: 1 - v,
        lambda v: -v,
        lambda v: v[0],
        lambda v: v**2,
        lambda v: v.T @ v,
        lambda v: np.add(v, 1),
        lambda v: np.stack([v, v]),
        lambda v: v.sum(),
        lambda v: float(v),
        bool,
        lambda v: graphc.jit(np.sin)(v),
        lambda v: graphc.compile(np.sin, "f64[3]")(v),
        lambda v: graphc.trace(lambda x: x * v, "f64[3]"),
        lambda v: graphc.grad(lambda x: x * v)(1.0),
    ],
)
def test_every_use_of_a_leaked_value_is_refused(use: Callable[[Any], Any]) -> None:
    kept: list[Any] = []
    graphc.trace(lambda x: kept.append(x) or x, "f64[3]")  # type: ignore[func-returns-value]
    with pytest.raises(LeakedTracerError):
        use(kept[0])


def test_a_leaked_value_can_be_printed() -> None:
    kept: list[Any] = []
    graphc.trace(lambda x: kept.append(x) or x, "f64[3]")  # type: ignore[func-returns-value]
    assert str(kept[0]) == f"{kept[0]}" == "<traced f64[3]>"


# Kinds of errors


def kinds() -> list[type[GraphcError]]:
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, GraphcError)]
    return [*found, UnsupportedAttribute]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_copies_and_pickles(kind: type[GraphcError]) -> None:
    error = kind("what", expected="a", actual="b", loc=Loc("model.py", 3, "f"), graph_line="%1 = f()", fix="c")
    error.add_note("a note")
    for again in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.loc == error.loc
        assert again.__notes__ == ["a note"]
    assert error.args == ("what",)


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (errors.ShapeError, ValueError),
        (errors.AxisError, np.exceptions.AxisError),
        (errors.AxisError, IndexError),
        (errors.IndexingError, IndexError),
        (errors.LinAlgError, np.linalg.LinAlgError),
        (errors.DTypeError, TypeError),
        (errors.UnsupportedError, TypeError),
        (errors.StructureError, TypeError),
        (errors.TraceError, TypeError),
        (errors.LeakedTracerError, TraceError),
        (errors.DifferentiationError, TypeError),
        (errors.GuardError, ValueError),
        (errors.ParseError, ValueError),
        (errors.IRError, ValueError),
        (errors.RuleError, RuntimeError),
        (UnsupportedAttribute, AttributeError),
    ],
)
def test_an_error_is_what_pythons_users_catch(kind: type[Exception], base: type[Exception]) -> None:
    assert issubclass(kind, base)


def test_an_axis_error_has_numpys_fields() -> None:
    with pytest.raises(np.exceptions.AxisError) as caught:
        graphc.trace(lambda x: x.sum(axis=2), "f64[3,4]")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.axis, again.ndim) == (2, 2)


def test_hasattr_sees_what_cannot_be_traced() -> None:
    assert graphc.trace(lambda x: x if not hasattr(x, "partition") and hasattr(x, "sum") else -x, "f64[3]")


def test_comparing_with_something_else_is_false() -> None:
    """As in NumPy: for a number at once, for an array element by element."""
    assert graphc.trace(lambda x: -x if x == "auto" or x in (None, "x") else x, "f64[]").output_types
    assert graphc.compile(lambda x: x[x != "x"] + (x == None), "f64[2]")(np.ones(2)).tolist() == [1, 1]  # noqa: E711
    assert graphc.compile(lambda x: x * (x != "x"), "f64[n]")(np.ones(2)).tolist() == [1, 1]
    with pytest.raises(ValueError, match="ambiguous"):
        graphc.trace(lambda x: -x if x == "auto" else x, "f64[3]")


# Advice


ADVICE = {
    **{name: text for one in (*REFUSED.values(), METHODS) for name, text in (one.instead | one.not_yet).items()},
    **MODULES,
}


@pytest.mark.parametrize("name", sorted(ADVICE))
def test_advice_names_what_can_be_traced(name: str) -> None:
    traceable = {getattr(function, "__name__", "") for function in FUNCTIONS.values()} | {"inf", "array", "ndindex"}
    assert set(re.findall(r"np\.([a-z]\w*)(?![.\w])", ADVICE[name])) - traceable == set()


def test_a_generator_for_an_argument_leads_to_keys() -> None:
    with pytest.raises(TraceError, match="a Generator is not an array") as found:
        graphc.jit(lambda x, rng: x + rng.normal(size=3))(np.ones(3), np.random.default_rng(0))
    assert "graphc.random.key(seed)" in (found.value.fix or "")
