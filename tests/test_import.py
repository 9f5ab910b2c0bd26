"""Importing graphc: light, once, and the same from a checkout and from an installed copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HEAVY = ("cupy", "dask", "flint", "matplotlib", "scipy", "sympy")
NATIVE = ("llvmlite.binding", "graphc.backends.numpy.llvm.native")

# Run first in a fresh process: look for graphc in one folder, and in no editable install.
LOOK_IN = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
sys.path.insert(0, {folder!r})
"""

IMPORT_ALL = """
import graphc, graphc.passes, graphc.backends.numpy, graphc.backends.exact
print(graphc.__file__, graphc.passes.__file__, graphc.backends.numpy.__file__, sep="\\n")
"""


def fresh_python(code: str, cwd: Path, **variables: str) -> str:
    """What a fresh process prints."""
    env = {name: value for name, value in os.environ.items() if name != "GRAPHC_KERNELS"} | variables
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copied(root: Path, source: Path) -> Path:
    """A copy of what graphc is built from, as a clone has it."""
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(root / name, source)
    for folder in ("graphc", "passes", "backends"):
        shutil.copytree(root / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.objects"))
    return source


@pytest.fixture(scope="session")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a copy of the source tree is installed as a wheel."""
    base = tmp_path_factory.mktemp("installed")
    source, target = copied(root, base / "source"), base / "target"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    env = {name: value for name, value in os.environ.items() if name != "GRAPHC_BUILD_FOR"}
    done = subprocess.run([*pip, *offline, "--target", target, source], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_import_is_light(root: Path) -> None:
    code = f"import sys, graphc; print(*sorted(set(sys.modules) & set({HEAVY})))"
    assert fresh_python(code, cwd=root).split() == []


@pytest.mark.parametrize("kernels", ["", "llvm", "ufunc", "none", "nonsense"])
def test_the_compiler_is_loaded_where_it_is_the_default(root: Path, kernels: str) -> None:
    """Wherever compiled functions would need it; a wrong variable is an error of the first function, not of this."""
    code = f"import sys, graphc; print(*sorted(set(sys.modules) & set({NATIVE})))"
    wanted = sorted(NATIVE) if kernels in ("", "llvm") and find_spec("llvmlite") else []
    assert fresh_python(code, cwd=root, GRAPHC_KERNELS=kernels).split() == wanted


NO_COMPILER = {
    "missing": "find = util.find_spec; util.find_spec = lambda name: None if name == 'llvmlite' else find(name)",
    "broken": "sys.modules['llvmlite.binding'] = None",  # importing it raises ImportError
}


@pytest.mark.parametrize("how", NO_COMPILER)
def test_import_does_without_the_compiler(root: Path, how: str) -> None:
    code = f"import sys; from importlib import util; {NO_COMPILER[how]}\nimport graphc; print(graphc.grad)"
    assert "function grad" in fresh_python(code, cwd=root)


def test_tools_are_loaded_when_they_are_asked_for(root: Path) -> None:
    code = """
import sys, graphc
loaded = lambda: [m for m in ("graphc.inspection", "graphc.verification") if m in sys.modules]
print(loaded(), graphc.cost.__name__, loaded(), graphc.verify.__name__, loaded(), "verify" in dir(graphc))
"""
    first = "['graphc.inspection']"
    assert fresh_python(code, cwd=root) == (
        f"[] cost {first} verify ['graphc.inspection', 'graphc.verification'] True\n"
    )


@pytest.mark.skipif(find_spec("llvmlite") is None, reason="products are called from machine code")
def test_a_product_loads_blas_alone(root: Path) -> None:
    """And leaves SciPy's module to whoever imports it with its package."""
    code = """
import sys, numpy, graphc
a = numpy.arange(16384.0).reshape(128, 128) / 16384
assert numpy.allclose(graphc.jit(lambda x: x @ x)(a), a @ a)
print([name in sys.modules for name in ("scipy.linalg", "scipy.linalg.cython_blas")])
import scipy.linalg.cython_blas
from graphc.ops import scipy_modules
print(scipy.linalg.cython_blas is scipy_modules.alone("scipy.linalg.cython_blas"))
assert numpy.allclose(scipy.linalg.blas.dgemm(2.0, a, a), 2 * a @ a)
assert numpy.allclose(graphc.jit(lambda x: (x + 1) @ x)(a), (a + 1) @ a)
"""
    assert fresh_python(code, cwd=root).splitlines() == ["[False, False]", "True"]


def test_a_factorisation_loads_lapack_alone(root: Path) -> None:
    """And SciPy's functions serve all the same when its package comes later."""
    code = """
import sys, numpy, graphc
a = numpy.arange(9.0).reshape(3, 3) + 9 * numpy.eye(3)
f = graphc.jit(lambda x: (numpy.linalg.inv(x), numpy.linalg.det(x)))
assert numpy.allclose(f(a)[0] @ a, numpy.eye(3))
print([name in sys.modules for name in ("scipy.linalg", "scipy.linalg._flapack")])
import scipy.linalg
for inverse in (scipy.linalg.inv(a), f(a)[0], scipy.linalg.lu_solve(scipy.linalg.lu_factor(a), numpy.eye(3))):
    assert numpy.allclose(inverse @ a, numpy.eye(3))
"""
    assert fresh_python(code, cwd=root).splitlines() == ["[False, False]"]


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_import_leaves_the_garbage_collector_as_it_was(root: Path, before: str) -> None:
    code = f"import gc; gc.{before}(); import graphc; print(gc.isenabled())"
    assert fresh_python(code, cwd=root) == f"{before == 'enable'}\n"


def test_every_public_name_is_documented() -> None:
    import graphc

    assert [name for name in graphc.__all__ if not getattr(graphc, name).__doc__] == []


def test_import_from_a_checkout(root: Path, tmp_path: Path) -> None:
    files = fresh_python(LOOK_IN.format(folder=str(root)) + IMPORT_ALL, cwd=tmp_path).split("\n")[:3]
    assert [Path(file) for file in files] == [
        root / "graphc" / "__init__.py",
        root / "passes" / "__init__.py",
        root / "backends" / "numpy" / "__init__.py",
    ]


def test_import_when_installed(installed: Path, tmp_path: Path) -> None:
    files = fresh_python(LOOK_IN.format(folder=str(installed)) + IMPORT_ALL, cwd=tmp_path).split("\n")[:3]
    assert [Path(file) for file in files] == [
        installed / "graphc" / "__init__.py",
        installed / "graphc" / "passes" / "__init__.py",
        installed / "graphc" / "backends" / "numpy" / "__init__.py",
    ]


def test_every_module_is_installed(installed: Path, source_modules: tuple[Any, ...]) -> None:
    """A package that [tool.setuptools] does not list would be missing from the wheel."""
    found = {path.relative_to(installed).as_posix() for path in installed.glob("graphc/**/*.py")}
    ending = {True: "/__init__.py", False: ".py"}
    wanted = {module.name.replace(".", "/") + ending[module.is_package] for module in source_modules}
    assert found == wanted
    assert (installed / "graphc" / "py.typed").is_file()
    assert not (installed / "passes").exists()
    assert not (installed / "backends").exists()


USE = """
import sys, numpy, graphc
from graphc.backends.numpy.llvm import code
assemble, texts = code.assemble, []
code.assemble = lambda text, *rest: texts.append(text) or assemble(text, *rest)
def f(x):
    for _ in range(20):
        x = numpy.sin(x) * x
    return x
graphc.compile(f, "f64[n]")(numpy.ones(1_000_000))
print(code.__file__, len(texts))
"""


def test_what_kernels_call_is_installed_compiled(installed: Path, tmp_path: Path) -> None:
    """A first process, with nothing in its cache, compiles the kernel and what is around it.

    It does not compile the threads and the kept memory, either, that large arrays take.
    """
    pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")
    from graphc.backends.numpy.llvm.kinds import kind_of
    from graphc.backends.numpy.llvm.machine import host

    kind = kind_of(host())
    found = [path.name for path in installed.rglob("*.objects")]
    assert found == ([] if kind is None else [f"{kind.name}.objects"])
    assert list(installed.rglob("setup.py")) == []
    code = LOOK_IN.format(folder=str(installed)) + USE
    variables = {"GRAPHC_CACHE_DIR": "off", "GRAPHC_KERNELS": "llvm", "GRAPHC_NUM_THREADS": "2"}
    file, count = fresh_python(code, cwd=tmp_path, **variables).split()
    assert Path(file).is_relative_to(installed)
    assert (int(count) == 2) == (kind is not None)


def test_the_mapped_folders_refuse_their_bare_names() -> None:
    with pytest.raises(ImportError, match=r"import graphc\.passes"):
        import passes  # noqa: F401, TID251
    with pytest.raises(ImportError, match=r"import graphc\.backends"):
        import backends  # noqa: F401, TID251
