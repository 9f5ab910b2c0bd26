"""What the commands write: text to the terminal or, atomically, to files; diffs of graphs; tables of results."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from graphc.cli.target import UsageError
from graphc.errors import GraphcError
from graphc.ir import DTYPE_NAMES, Graph, TensorType
from graphc.passes.pipeline import Step
from graphc.text import dump
from graphc.text.writing import Writer

STYLES = {"+": "green", "-": "red", "@": "cyan", "=": "bold"}


def write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all: into a neighbour that then takes its place."""
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(
            f"cannot write {str(path)!r}",
            expected="a file in a folder that is there",
            actual="a folder" if path.is_dir() else f"no folder {str(path.parent)!r}",
            fix="make the folder, or name a file",
        )
    if path.exists() and not path.is_file():
        # a device or a pipe is written to, never replaced
        with path.open("wb") as stream:
            write(stream)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with partial.open("xb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise GraphcError(
            f"cannot write {str(path)!r}",
            expected="a folder that can be written, with room",
            actual=str(error),
            fix="name another file",
        ) from None


def emit(text: str, path: str | None) -> None:
    """Print a text, with colours for a diff where a terminal shows them; or write it to a file."""
    if path is not None and path != "-":
        write_file(Path(path), lambda stream: stream.write(f"{text}\n".encode()))
        return
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        sys.stdout.write(f"{text}\n")
        return
    for line in text.split("\n"):
        console.print(Text(line, style=STYLES.get(line[:1], "")))


def diff_steps(graph: Graph, steps: Sequence[Step]) -> Iterator[str]:
    """What each pass did: its name, its rewrites with their counts, and a unified diff."""
    for step in steps:
        yield from diff(graph, step.graph, f"before {step.name}", f"after {step.name}", step.name, step.applied)
        graph = step.graph


def diff(old: Graph, new: Graph, old_name: str, new_name: str, title: str, applied: Mapping[str, int]) -> Iterator[str]:
    """A unified diff of two graphs. Nodes that compute the same have the same number on both sides."""
    yield f"== {title}: {rewrites(applied)}"
    # the comments are set close: their column would change with the longest line
    before, after = (re.sub(r" +(?=  # )", "", text).split("\n") for text in (dump(old), _renumbered(old, new)))
    yield from difflib.unified_diff(before, after, old_name, new_name, lineterm="")


def rewrites(applied: Mapping[str, int]) -> str:
    """The rewrites a pass applied, the most frequent first.

    >>> rewrites({"x * 1 -> x": 2, "x + 0 -> x": 1})
    'x * 1 -> x (2), x + 0 -> x (1)'
    """
    ranked = sorted(applied.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} ({count})" for name, count in ranked) or "nothing applied"


def total(steps: Sequence[Step]) -> dict[str, int]:
    """The rewrites of several passes, added up."""
    counts: dict[str, int] = {}
    for step in steps:
        for name, count in step.applied.items():
            counts[name] = counts.get(name, 0) + count
    return counts


def _renumbered(old: Graph, new: Graph) -> str:
    """The dump of `new`, its nodes labelled as in `old` where they compute the same; other labels elsewhere."""
    keys: dict[Any, int] = {}
    labels = Writer(old).labels
    free = {key: labels[i] for i, key in _structure(old, keys).items() if i in labels and i not in old.inputs}
    known = {i: free.pop(key) for i, key in _structure(new, keys).items() if key in free}
    return "\n".join(Writer(new, True, known, first=len(labels)).lines())


def _structure(graph: Graph, keys: dict[Any, int]) -> dict[int, int]:
    """For each node a number that stands for what it computes, shared through `keys`."""
    found: dict[int, int] = {}
    for i, data in graph.nodes(data=True):
        operands = tuple(found[a] for a in data["args"])
        inputs = graph.inputs.index(i) if data["op"] == "input" else None
        key = (data["op"], operands, inputs, data["attrs"], data["type"], data["region"])
        found[i] = keys.setdefault(key, len(keys))
    return found


def results(named: Mapping[str, Any]) -> None:
    """Print results as a table: name, type, values."""
    console = Console(highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("result", "type", "value"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "value")
    for name, value in named.items():
        array = np.asarray(value)
        shown = np.array2string(array, threshold=24, max_line_width=max(20, console.width - 32))
        table.add_row(Text(name), Text(type_name(array)), Text(shown))
    console.print(table)


def type_name(array: np.ndarray[Any, Any]) -> str:
    """An array's type as dumps write it.

    >>> type_name(np.zeros((2, 3)))
    'f64[2,3]'
    """
    return repr(TensorType(array.shape, array.dtype)) if array.dtype in DTYPE_NAMES else str(array.dtype)


def save_arrays(path: Path, named: Mapping[str, Any]) -> None:
    """Write results with np.savez, or a single one with np.save, as the file's name ends."""
    arrays = {name: np.asarray(value) for name, value in named.items()}
    if path.suffix == ".npz":
        write_file(path, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]
    elif path.suffix == ".npy" and len(arrays) == 1:
        (array,) = arrays.values()
        write_file(path, lambda stream: np.save(stream, array, allow_pickle=False))
    else:
        raise UsageError(
            f"cannot write {len(arrays)} results to {str(path)!r}",
            expected="a name that ends in .npz; or in .npy for one result",
            actual=path.suffix or "no ending",
            fix=f"--out {path.with_suffix('.npz')}",
        )
