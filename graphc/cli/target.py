"""Finding the function that the user named: `module:function` or `path/file.py:function`."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from graphc.errors import GraphcError


class UsageError(GraphcError):
    """The command line asks for something that is not there, or not written as it has to be."""


def load(target: str) -> Callable[..., Any]:
    """The function that `module:function` names. Its module is imported: the user asked to run it."""
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(
            f"{target!r} does not name a function",
            expected="module:function or path/to/file.py:function",
            actual=repr(target),
            fix=f"graphc ... {target.strip(':') or 'model'}:f   (f: the function's name)",
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    is_file = place.endswith(".py") or "/" in place or os.sep in place
    found: Any = _import_file(Path(place)) if is_file else _import_module(place)
    walked = place
    for part in name.split("."):
        if not hasattr(found, part):
            public = [n for n in dir(found) if not n.startswith("_") and callable(getattr(found, n, None))]
            raise UsageError(
                f"{walked} has no {part!r}",
                expected=f"a function of {walked}",
                actual=target,
                fix=_nearest(part, public, f"{walked}{'.' if ':' in walked else ':'}{{}}")
                or _list(f"{walked} has", public),
            )
        found = getattr(found, part)
        walked = f"{walked}:{part}" if walked == place else f"{walked}.{part}"
    if not callable(found):
        raise UsageError(
            f"{target} is not a function",
            expected="something that can be called",
            actual=f"an object of type {type(found).__name__}",
            fix="name a function of arrays",
        )
    return found  # type: ignore[no-any-return]


def _import_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(
            f"{name!r} is not a module's name",
            expected="names joined by dots, or a file that ends in .py",
            actual=repr(name),
            fix="graphc ... package.module:function",
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        # another module, which the named one imports, is the user's own error and keeps its line
        if name != missing and not name.startswith(f"{missing}."):
            raise
        parent = missing.rpartition(".")[0]
        near = [f"{parent}.{n}" for n in _modules_in(sys.modules[parent])] if parent else _modules_at_hand()
        raise UsageError(
            f"there is no module {missing!r}",
            expected="a module of the current folder, or one that is installed",
            actual=f"looked in {parent or os.getcwd()}",
            fix=_nearest(missing, near, "{}") or "run graphc in the folder of the module, or name its file: model.py:f",
        ) from None


def _modules_in(package: ModuleType) -> list[str]:
    return [found.name for found in pkgutil.iter_modules(getattr(package, "__path__", []))]


def _modules_at_hand() -> list[str]:
    return [found.name for found in pkgutil.iter_modules()]


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path()
        near = [str(found) for found in sorted(folder.glob("*.py"))]
        raise UsageError(
            f"there is no file {str(path)!r}",
            expected="a Python file",
            actual=f"looked in {path.parent.resolve()}",
            fix=_nearest(str(path), near, "{}") or "check the path",
        )
    # its neighbours can be imported, as when Python runs it
    sys.path.insert(0, str(path.parent.resolve()))
    name = path.stem if path.stem.isidentifier() and path.stem not in sys.modules else f"file_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(
            f"{str(path)!r} is not a Python file",
            expected="a name that ends in .py",
            actual=path.name,
            fix="rename it, or name its module",
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _nearest(name: str, candidates: Iterable[str], form: str) -> str | None:
    near = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return f"did you mean {form.format(near[0])}?" if near else None


def _list(lead: str, names: list[str]) -> str:
    return f"{lead} {', '.join(names[:8])}" if names else "define it, or check the name"


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """A suggestion for a misspelt name, or None if nothing is near.

    >>> nearest("simplfy", ["fold", "simplify"])
    'did you mean simplify?'
    """
    return _nearest(name, candidates, "{}")
