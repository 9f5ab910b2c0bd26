"""The house rules on modules: who may import whom, and what a module may be called."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

# From the ground up. A module imports from lower rows and from its own package, never from its own row.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "forks"),
    ("dims", "environment"),
    ("ir",),
    ("text", "check_ir", "kernels"),
    ("plan",),
    ("ops",),
    ("passes", "backends", "tracing"),
    ("symbolic",),
    ("numpy", "random", "calling"),
    ("scipy",),
    ("compiler",),
    ("transforms", "control", "printing", "callbacks"),
    ("objective",),
    ("verification", "inspection", "exporting", "distributed"),
    ("testing",),
    ("functions",),
    ("links",),
    ("serializers", "optimizers"),
    ("training",),
    ("compat",),
    ("graphc",),  # the public face, graphc/__init__.py
    ("cli",),
    ("__main__",),
)
LEVEL = {name: level for level, row in enumerate(LAYERS) for name in row}

# The array namespaces stand on tracing alone, although passes and the rest of its row lie lower too.
APART = {
    (namespace, room) for namespace in (*LAYERS[LEVEL["numpy"]], "scipy") for room in ("passes", "backends", "symbolic")
}

# Upward imports that are allowed, inside a function or for the type checker only.
# (module, what it imports): why
LAZY_DELEGATES: dict[tuple[str, str], str] = {
    ("graphc.compiler.compiled", "graphc.objective"): "compiled.scipy()",
    ("graphc.ir.graphs", "graphc.text"): "str(graph) is its text",
    ("graphc.ir.graphs", "graphc.inspection"): "a notebook shows a graph as a picture",
    ("graphc.ir.graphs", "graphc.symbolic"): "graph.to_sympy()",
    ("graphc.numpy.dispatch", "graphc.scipy"): "what to write in place of a function of SciPy's",
    ("graphc.numpy.universal", "graphc.scipy.special"): "a SciPy ufunc of a traced value is graphc.scipy's",
    ("graphc.tracing.delegates", "graphc.numpy"): "np.f of a traced value is graphc.numpy's f",
}

VAGUE_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module; lazy if importing the file does not import it."""

    target: str
    line: int
    lazy: bool


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def imports(node: ast.AST, known: frozenset[str], lazy: bool = False) -> Iterator[Import]:
    """Every import of graphc in a syntax tree, those by `import_module("...")` included."""
    match node:
        case ast.Import(names=names):
            targets = [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0, names=names):
            # `from graphc import ir` names a module, `from graphc import trace` the public face.
            submodules = [f"{module}.{alias.name}" for alias in names]
            targets = [name if name in known else module for name in submodules]
        case ast.ImportFrom(level=level) if level > 0:
            raise ValueError(f"line {node.lineno}: relative import")
        case ast.Call(
            func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            targets = [name]
        case _:
            targets = []
    for target in dict.fromkeys(targets):
        if target.split(".")[0] in {"graphc", "passes", "backends"}:
            yield Import(target, getattr(node, "lineno", 0), lazy)
    inside = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    if isinstance(node, ast.If) and is_type_checking(node.test):
        for child in node.body:
            yield from imports(child, known, lazy=True)
        for child in node.orelse:
            yield from imports(child, known, lazy)
        return
    for child in ast.iter_child_nodes(node):
        yield from imports(child, known, inside)


def layer(module: str) -> str:
    """`graphc.ops.linear` lies in `ops`; `graphc` itself is the public face."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def delegate(module: str, target: str) -> tuple[str, str] | None:
    """The row of LAZY_DELEGATES that covers an import."""
    for row in LAZY_DELEGATES:
        if module == row[0] and f"{target}.".startswith(f"{row[1]}."):
            return row
    return None


def violations(module: str, source: str, known: frozenset[str]) -> list[str]:
    """What breaks the import rule in the source of a module, one line each."""
    if layer(module) not in LEVEL:
        return [f"{module} has no place in LAYERS"]
    try:
        found = list(imports(ast.parse(source), known))
    except ValueError as error:
        return [f"{module} {error}"]
    wrong = []
    for item in found:
        here, there = layer(module), layer(item.target)
        if not item.target.startswith("graphc"):
            wrong.append(f"{module} line {item.line}: import graphc.{item.target}, not {item.target}")
        elif there not in LEVEL:
            wrong.append(f"{module} line {item.line}: {item.target} has no place in LAYERS")
        elif here == there or (LEVEL[there] < LEVEL[here] and (here, there) not in APART):
            continue
        elif delegate(module, item.target) is None:
            wrong.append(f"{module} line {item.line}: {here} may not import {there}")
        elif not item.lazy:
            wrong.append(f"{module} line {item.line}: import {item.target} inside a function only")
    return wrong


@pytest.fixture(scope="session")
def known(source_modules: tuple[Any, ...]) -> frozenset[str]:
    return frozenset(module.name for module in source_modules)


def test_a_module_imports_only_from_below(module: Any, known: frozenset[str]) -> None:
    assert violations(module.name, module.path.read_text(encoding="utf-8"), known) == []


def test_every_lazy_delegate_is_in_use(source_modules: tuple[Any, ...], known: frozenset[str]) -> None:
    used = {
        delegate(module.name, item.target)
        for module in source_modules
        for item in imports(ast.parse(module.path.read_text(encoding="utf-8")), known)
    }
    assert set(LAZY_DELEGATES) - used == set()


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("graphc.dims", "from graphc.errors import ShapeError", None),
        ("graphc.ops.linear", "from graphc.ops.record import op", None),
        ("graphc.backends.numpy.executor", "import graphc.plan", None),
        ("graphc.compiler", "from graphc import ir, passes", None),
        ("graphc.cli", "from graphc.verification import verify", None),
        ("graphc.numpy", "import graphc.tracing", None),
        ("graphc.errors", "import numpy as np", None),
        ("graphc.dims", "import graphc.ir", "line 1: dims may not import ir"),
        ("graphc.dims", "from graphc import ir", "line 1: dims may not import ir"),
        ("graphc.dims", "from graphc import trace", "line 1: dims may not import graphc"),
        ("graphc.dims", "def f():\n  import graphc.ir", "line 2: dims may not import ir"),
        ("graphc.dims", "import_module('graphc.ir')", "line 1: dims may not import ir"),
        ("graphc.dims", "importlib.import_module('graphc.ir')", "line 1: dims may not import ir"),
        ("graphc.text", "import graphc.plan", "line 1: text may not import plan"),
        ("graphc.passes.fuse", "import graphc.backends", "line 1: passes may not import backends"),
        ("graphc.passes.fuse", "import graphc.tracing", "line 1: passes may not import tracing"),
        ("graphc.backends.exact", "import graphc.passes", "line 1: backends may not import passes"),
        ("graphc.numpy", "import graphc.passes", "line 1: numpy may not import passes"),
        ("graphc.compiler", "import passes", "line 1: import graphc.passes, not passes"),
        ("graphc.ops.linear", "from .record import op", "line 1: relative import"),
        ("graphc.misc", "", "has no place in LAYERS"),
        ("graphc.cli", "import graphc.misc", "line 1: graphc.misc has no place in LAYERS"),
        ("graphc.ir.graphs", "def f():\n  import graphc.symbolic", None),
        ("graphc.ir.graphs", "if TYPE_CHECKING:\n  from graphc.symbolic import to_sympy", None),
        ("graphc.ir.graphs", "import graphc.symbolic", "line 1: import graphc.symbolic inside a function only"),
    ],
)
def test_the_rule_sees(name: str, source: str, complaint: str | None) -> None:
    every_room = frozenset(f"graphc.{room}" for row in LAYERS for room in row)
    assert violations(name, source, every_room) == ([f"{name} {complaint}"] if complaint else [])


def test_no_module_has_a_vague_name(module: Any) -> None:
    assert not VAGUE_NAMES & set(module.name.split("."))


def clashes(face: ModuleType, rooms: set[str]) -> set[str]:
    """The rooms of the house that bear the name of something public that is not a module."""
    return {name for name in face.__all__ if name in rooms and not inspect.ismodule(getattr(face, name))}


def test_no_module_bears_the_name_of_a_public_function(source_modules: tuple[Any, ...]) -> None:
    import graphc

    assert clashes(graphc, {layer(module.name) for module in source_modules}) == set()


def test_a_clash_of_names_is_seen() -> None:
    face = ModuleType("face")
    face.__dict__.update(__all__=["trace", "numpy"], trace=print, numpy=ast)
    assert clashes(face, {"trace", "numpy", "tracing"}) == {"trace"}
