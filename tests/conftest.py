"""What every test shares: golden files, hypothesis profiles, the list of modules, and counts by table."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from graphc.backends.numpy.llvm.pool import Pool

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"

# `make test` gives the same answer every time; `make fuzz` looks for new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile(
    "fuzz",
    max_examples=5_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("fuzz" if os.environ.get("GRAPHC_FUZZ") == "1" else "steady")


@dataclass(frozen=True, slots=True)
class Module:
    """A source file of the package, and the name it is imported by."""

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def __str__(self) -> str:
        return self.name


def modules() -> Iterator[Module]:
    """Every module of graphc/, passes/ and backends/, by its installed name."""
    for folder, prefix in (("graphc", ()), ("passes", ("graphc",)), ("backends", ("graphc",))):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = (*prefix, *path.relative_to(ROOT).with_suffix("").parts)
            yield Module(".".join(parts).removesuffix(".__init__"), path)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/ with what the tests give")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `module` runs once for each source file; `example_module`, for each with an example."""
    if "module" in metafunc.fixturenames:
        metafunc.parametrize("module", list(modules()), ids=str)
    if "example_module" in metafunc.fixturenames:
        found = [m for m in modules() if ">>>" in m.path.read_text(encoding="utf-8")]
        metafunc.parametrize("example_module", found, ids=str)


# Large tables of what tracing, differentiating and rewriting mean. Machine code for each of their rows would take most
# of the time of `make test`; there they run by NumPy's functions on blocks, and by machine code in `make test-all`.
TABLES = frozenset(
    f"test_{name}.py"
    for name in (
        *("aliasing", "batch", "every_callable", "every_method", "every_scipy_function", "gradients_everywhere"),
        *(
            "in_place",
            "indexing",
            "jacobians",
            "jit",
            "jit_arguments",
            "layout",
            "mutation",
            "numpy",
            "numpy_elementwise",
        ),
        *(
            "numpy_help",
            "numpy_structure",
            "random",
            "random_statistics",
            "rules",
            "sparsity",
            "special_points",
            "stable_formulas",
        ),
        *("transforms", "ufunc_methods", "vmap", "writes"),
    )
)


@pytest.fixture(autouse=True)
def _generator_of_tables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "not slow" in request.config.option.markexpr and request.path.name in TABLES:
        monkeypatch.setenv("GRAPHC_KERNELS", "ufunc")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def source_modules() -> tuple[Module, ...]:
    return tuple(modules())


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with tests/golden/NAME.txt, or rewrite that file under --update-golden."""

    def check(name: str, text: str) -> None:
        __tracebackhide__ = True
        path = GOLDEN / f"{name}.txt"
        actual = text.rstrip("\n") + "\n"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(actual, encoding="utf-8")
            return
        shown = path.relative_to(ROOT)
        if not path.is_file():
            pytest.fail(
                f"{shown} is missing; `pytest --update-golden` writes it, then read it\n{actual}",
                pytrace=False,
            )
        expected = path.read_text(encoding="utf-8")
        if actual != expected:
            lines = difflib.unified_diff(expected.splitlines(), actual.splitlines(), str(shown), "now", lineterm="")
            pytest.fail("\n".join([*lines, "if the change is meant: pytest --update-golden"]), pytrace=False)

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many rows of each table ran, so that a table that shrinks is seen."""
    rows: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error", "skipped", "xfailed", "xpassed"):
        for report in terminalreporter.getreports(outcome):
            test, bracket, _ = report.nodeid.partition("[")
            if bracket:
                rows[f"{outcome:8} {test}"] += 1
    if rows:
        terminalreporter.section("rows by table")
        for table, count in sorted(rows.items(), key=lambda row: row[0].split()[1]):
            terminalreporter.write_line(f"{count:7} {table}")
    for title, counts in sorted(_counts(terminalreporter).items()):
        terminalreporter.section(title)
        for label, count in counts.items():
            terminalreporter.write_line(f"{count:7} {label}")


def _counts(terminalreporter: pytest.TerminalReporter) -> dict[str, Counter[str]]:
    """What tests counted with `record_property("counts: TITLE", {label: number})`, added up by title."""
    found: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, counts in report.user_properties:
                if name.startswith("counts: "):
                    found.setdefault(name.removeprefix("counts: "), Counter()).update(counts)
    return found


@pytest.fixture(scope="session")
def cp() -> Any:
    """CuPy, with a GPU; without one the test is skipped."""
    try:
        cupy = import_module("cupy")
        found = cupy.cuda.runtime.getDeviceCount()
    except Exception:
        found = 0
    if not found:
        pytest.skip("there is no GPU that CuPy can use")
    return cupy


@lru_cache(maxsize=1)
def eager() -> Pool:
    """A pool of threads that wakes them for little work."""
    from graphc.backends.numpy.llvm import pool, workers

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(workers, "SHARE", 200_000.0)
        return pool.Pool(2)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """A pool that takes part whatever else the machine does, in kernels that cost an eighth of what is worth it."""
    from graphc.backends.numpy.llvm import body, entry, generator, pieces, pool, work

    found = eager()
    monkeypatch.setitem(pool._made, True, found)
    for module in (work, body, pieces, entry, generator):
        monkeypatch.setattr(module, "SHARED", 400_000.0)
    before = found.threads
    found.wary = False
    yield found
    found.threads, found.wary = before, True
