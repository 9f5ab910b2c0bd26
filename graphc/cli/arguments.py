"""The arguments of the user's function, as the command line writes them: types, files, numbers and JSON."""

from __future__ import annotations

import inspect
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from graphc import dims
from graphc.cli.target import UsageError, nearest
from graphc.compiler import flatten, unflatten
from graphc.errors import ParseError
from graphc.ir import TensorType
from graphc.text import parse_type

LIMIT: Final = 1 << 33  # bytes of all random arguments, and of one array in a file
_KEYWORD: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:inf|nan)|True|False")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def read(texts: Sequence[str], function: Callable[..., Any]) -> Arguments:
    """The arguments that the texts after `--args` stand for, fitted to the function's parameters."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for text in texts:
        keyword = _KEYWORD.fullmatch(text)
        if keyword:
            kwargs[keyword[1]] = _argument(keyword[2])
        else:
            args.append(_argument(text))
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return tuple(args), kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", "the function")
        plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        raise UsageError(
            f"the arguments do not fit {name}: {error}",
            expected=f"{name}{signature.replace(parameters=plain, return_annotation=signature.empty)}",
            actual=f"{len(texts)} in --args",
            fix='one entry per parameter: --args "f64[n,3]" "f64[3]"; by name: w="f64[3]"',
        ) from None
    # by position where that can be: derivatives are taken by position
    return bound.args, bound.kwargs


def positional(function: Callable[..., Any]) -> list[str]:
    """The names of the parameters that have a position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _argument(text: str) -> Any:
    """One argument: a JSON tree of leaves, or a leaf."""
    if not text.startswith(("{", "[")):
        return _leaf(text)
    try:
        return _tree(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError(
            "an argument is not JSON",
            expected='a tree of types, as in {"w": "f64[3]", "b": 0.5}',
            actual=f"{text[:60]!r} ({why})",
            fix="put single quotes around it in the shell",
        ) from None


def _tree(value: Any) -> Any:
    match value:
        case dict():
            return {key: _tree(item) for key, item in value.items()}
        case list():
            return [_tree(item) for item in value]
        case str():
            return _leaf(value)
    return value


def _leaf(text: str) -> Any:
    """A type, an example array from a file, or a Python number."""
    if _NUMBER.fullmatch(text):
        return (
            text == "True" if text in ("True", "False") else float(text) if re.search(r"[.einE]", text) else int(text)
        )
    path, colon, key = text.rpartition(":") if not text.endswith((".npy", ".npz")) else (text, "", "")
    if path.endswith((".npy", ".npz")):
        return _read_file(Path(path), key if colon else None)
    try:
        return parse_type(text)
    except ParseError as error:
        raise UsageError(
            f"{text!r} is not an argument: {error.problem}",
            expected=f"{error.expected}" if error.expected else "a type such as f64[n,3]",
            actual=error.actual or repr(text),
            fix=error.fix or 'a type ("f64[n,3]"), a file (x.npy, data.npz:x), a number, or JSON of these',
        ) from None


def _read_file(path: Path, key: str | None) -> Any:
    """The array in a .npy file, one of a .npz file by its key, or all of them as a dict. Pickles are refused."""
    if not path.is_file():
        near = [str(p) for p in path.parent.glob("*.np[yz]")] if path.parent.is_dir() else []
        raise UsageError(
            f"there is no file {str(path)!r}",
            expected="a .npy or .npz file",
            actual=f"looked in {path.parent.resolve()}",
            fix=nearest(str(path), near) or "check the path",
        )
    try:
        if path.suffix == ".npy":
            with path.open("rb") as stream:
                return _read_array(stream, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
            if key is not None and key not in members:
                raise UsageError(
                    f"{path} has no array {key!r}",
                    expected="one of " + ", ".join(members),
                    actual=repr(key),
                    fix=nearest(key, members) or f"{path}:{next(iter(members), 'name')}",
                )
            arrays = {}
            for name in members if key is None else [key]:
                with archive.open(members[name]) as member:
                    arrays[name] = _read_array(member, members[name].file_size)  # type: ignore[arg-type]
            return arrays if key is None else arrays[key]
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{path} cannot be read",
            expected="arrays of numbers, written by np.save or np.savez",
            actual=f"{error}".splitlines()[0] if str(error) else type(error).__name__,
            fix="write it again with np.save(path, array)",
        ) from None


def _read_array(stream: BinaryIO, size: int) -> np.ndarray[Any, Any]:
    """An array in NumPy's own format; its header is checked before memory is taken."""
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded: they could run code")
    need = math.prod(shape) * dtype.itemsize
    if need > size - stream.tell():
        raise ValueError(f"the file is cut off: {need} bytes announced, {size - stream.tell()} there")
    if need > LIMIT:
        raise ValueError(f"an array of {need} bytes is larger than the limit of {LIMIT}")
    stream.seek(0)
    array: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def sizes(texts: Sequence[str]) -> dict[str, int]:
    """The sizes that `--size n=5` gives."""
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        if not name.isidentifier() or not number.isdecimal():
            raise UsageError(f"{text!r} gives no size", expected="name=number", actual=repr(text), fix="--size n=5")
        found[name] = int(number)
    return found


def draw(arguments: Arguments, seed: int, named: Mapping[str, int]) -> Arguments:
    """Random arrays in place of types: normal floats, integers from 0 to 9, fair booleans."""
    leaves, structure = flatten(arguments)
    rng = np.random.default_rng(seed)
    types = [leaf for leaf in leaves if isinstance(leaf, TensorType)]
    missing = sorted({s for t in types for d in t.shape for s in dims.symbols(d)} - named.keys())
    if missing:
        raise UsageError(
            f"the size of {', '.join(missing)} is not given",
            expected="a number for every named size",
            actual=", ".join(map(repr, types)),
            fix=" ".join(f"--size {name}=5" for name in missing),
        )
    shapes = [tuple(int(dims.evaluate(d, named)) for d in t.shape) for t in types]
    total = sum(math.prod(s) * t.dtype.itemsize for s, t in zip(shapes, types, strict=True))
    if total > LIMIT:
        raise UsageError(
            "the random arguments are too large",
            expected=f"at most {LIMIT} bytes",
            actual=f"{total} bytes",
            fix="smaller sizes, or arrays from .npy files",
        )
    drawn = iter([_random(rng, s, t.dtype) for s, t in zip(shapes, types, strict=True)])
    return unflatten(structure, [next(drawn) if isinstance(leaf, TensorType) else leaf for leaf in leaves])  # type: ignore[no-any-return]


def _random(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    match dtype.kind:
        case "b":
            return rng.integers(0, 2, shape).astype(dtype)
        case "i" | "u":
            return rng.integers(0, 10, shape).astype(dtype)
        case "c":
            return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
    return np.asarray(rng.standard_normal(shape)).astype(dtype)
