"""Random programs that take views and write through them: every name shows what NumPy's arrays show."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

import graphc
from graphc.errors import ReadOnlyError, UnsupportedError

# Statements over arrays `a`, `b`; `new` is the array that a line makes. {k} and the like are drawn.
VIEWS = (
    "new = a[{key}]",
    "new = a[{key}]",
    "new = a[{key}]",
    "new = a.T",
    "new = a.transpose({perm})",
    "new = a.reshape({shape})",
    "new = a.reshape({shape}, order='F')",
    "new = a.reshape(-1)",
    "new = a.ravel()",
    "new = a.ravel(order={order})",
    "new = np.swapaxes(a, 0, -1)",
    "new = np.moveaxis(a, {axis}, 0)",
    "new = np.expand_dims(a, {axis})",
    "new = np.squeeze(a)",
    "new = np.flip(a, {axis})",
    "new = np.rot90(a, {n})",
    "new = np.diagonal(a, {n})",
    "new = np.diag(a)",
    "new = np.einsum('ii->i', a) if a.ndim == 2 and a.shape[0] == a.shape[1] else a",
    "new = np.einsum('ij->ji', a)",
    "new = np.broadcast_to(a, (2, *a.shape))",
    "new = np.broadcast_to(a, a.shape)",
    "new = np.broadcast_arrays(a, b)[0]",
    "new = np.array_split(a, 2, {axis})[1]",
    "new = np.split(a, a.shape[0])[0]",
    "new = np.atleast_2d(a)",
    "new = gnp.asarray(a)",
    "new = gnp.ascontiguousarray(a)",
    "new = gnp.asfortranarray(a)",
    "new = gnp.array(a, copy=None)",
    "new = a.astype(a.dtype, copy=False)",
    "new = gnp.require(a, requirements={requirements})",
    "new = a.real",
    "new = np.lib.stride_tricks.sliding_window_view(a, 2, 0)",
    "new = np.meshgrid(a, b, copy=False, sparse=True, indexing='ij')[0]",
    "a.shape = (1, *a.shape)",
    "a.shape = (-1,)",
)
COPIES = (
    "new = a * 2",
    "new = a + b",
    "new = a.T + b",
    "new = +a",
    "new = a.copy()",
    "new = a.copy(order={order})",
    "new = np.copy(a)",
    "new = gnp.array(a, order={order})",
    "new = a.flatten()",
    "new = a.astype(np.float32)",
    "new = np.zeros_like(a)",
    "new = np.full_like(a, 7.0, order={order})",
    "new = np.empty(a.shape, like=a); new[...] = a",
    "new = np.where(a > 0, a, b)",
    "new = a[{places}]",
    "new = a[:, {places}]",
    "new = a[..., {places}]",
    "new = a[np.arange(a.shape[0]) % 2 == 0]",
    "new = a[np.array(0)]",
    "new = np.take(a, {places}, {axis})",
    "new = np.concatenate([a, a], {axis})",
    "new = np.stack([a, a.T])",
    "new = np.sort(a, {axis})",
    "new = a.sum(axis={axis})",
    "new = a.sum(axis={axis}, keepdims=True)",
    "new = np.cumsum(a, axis={axis})",
    "new = a @ a.T",
    "new = np.roll(a, 1, {axis})",
    "new = np.tile(a, 1)",
    "new = np.diff(a, 0)",
    "new = np.diag(a.ravel())",
    "new = np.broadcast_to(a, (2, *a.shape)).copy()",
    "new = np.clip(a, -1, 1)",
    "new = np.nan_to_num(a)",
)
WRITES = (
    "a[{key}] = {v}",
    "a[{key}] = {v}",
    "a[{key}] += {v}",
    "a[{key}] *= a[{key}]",
    "a[{key}] = b",
    "a[...] = b",
    "a[:] = a[::-1]",
    "a[...] = a.T",
    "a[{places}] = {v}",
    "a[:, {places}] += b",
    "a[{places}, 0] = {v}",
    "a[a > {v}] = {v}",
    "a[np.arange(a.shape[0]) % 2 == 0] = {v}",
    "a[1:][0] = {v}",
    "a.T[0] = {v}",
    "a.ravel()[{n}] = {v}",
    "a.reshape(-1)[::2] = {v}",
    "a += {v}",
    "a += b",
    "a -= a.T",
    "a *= a",
    "a /= 2",
    "a **= 2",
    "np.add(a, b, out=a)",
    "np.add(a, b, out=b)",
    "np.negative(a, out=b)",
    "np.multiply(a, {v}, out=a, where=a > 0)",
    "np.sum(a, axis={axis}, out=b)",
    "np.cumsum(a, axis={axis}, out=a)",
    "np.clip(a, -1, 1, out=a)",
    "np.copyto(a, b)",
    "np.copyto(a, {v}, where=a > 1)",
    "np.put(a, [0, -1, 0], [1.0, 2.0])",
    "np.put(a, [5, -7], {v}, mode='wrap')",
    "np.place(a, a > 0, [1.0, 2.0, 3.0])",
    "np.putmask(a, a > 0, [1.0, 2.0, 3.0])",
    "np.fill_diagonal(a, {v})",
    "np.fill_diagonal(a, [1.0, 2.0], wrap=True)",
    "np.put_along_axis(a, np.argmax(a, axis=-1, keepdims=True), {v}, -1)",
    "np.add.at(a, {places}, {v})",
    "np.maximum.at(a, ({places}, 0), {v})",
    "a.fill({v})",
    "a.sort()",
    "a.sort(axis=0)",
    "a.put([0, -1], {v})",
    "a.flat[{n}] = {v}",
    "a.flat[::2] = [1.0, 2.0]",
    "a.flat = b.copy()",
    "np.nan_to_num(a, copy=False)",
)


@st.composite
def keys(draw: Any) -> str:
    """A key of integers, slices, new axes and an ellipsis."""
    part = st.one_of(
        st.integers(-2, 1).map(str),
        st.sampled_from([":", "::-1", "::2", "1:", ":-1", "-1:", "2::-1", "0:0"]),
        st.sampled_from(["None", "...", ":"]),
    )
    parts = draw(st.lists(part, min_size=1, max_size=3))
    if parts.count("...") > 1:
        parts = [p for k, p in enumerate(parts) if p != "..." or parts.index("...") == k]
    return ", ".join(parts)


@st.composite
def lines(draw: Any) -> tuple[str, int, int]:
    """A statement, and which arrays it is about, counted from the last."""
    template = draw(st.sampled_from(draw(st.sampled_from([VIEWS, VIEWS, WRITES, WRITES, COPIES]))))
    fill = {
        "key": lambda: draw(keys()),
        "perm": lambda: draw(st.permutations(range(draw(st.integers(2, 3))))),
        "shape": lambda: draw(st.sampled_from(["(-1, 2)", "(2, -1)", "(3, -1)", "(1, -1)", "(-1, 1)", "(2, 3, -1)"])),
        "axis": lambda: draw(st.integers(-2, 1)),
        "order": lambda: repr(draw(st.sampled_from("CFAK"))),
        "n": lambda: draw(st.integers(-1, 3)),
        "v": lambda: draw(st.integers(-3, 3)) / 2,
        "places": lambda: draw(st.lists(st.integers(-1, 1), min_size=1, max_size=3)),
        "requirements": lambda: draw(st.sampled_from(["'C'", "'F'", "'W'", "'CW'"])),
    }
    for name, value in fill.items():
        while "{" + name + "}" in template:
            template = template.replace("{" + name + "}", str(value()), 1)
    return template, draw(st.integers(0, 5)), draw(st.integers(0, 5))


def run(line: str, arrays: list[Any], a: int, b: int) -> None:
    names = {"np": np, "gnp": graphc.numpy, "a": arrays[-1 - a % len(arrays)], "b": arrays[-1 - b % len(arrays)]}
    exec(line, names)
    if "new" in names:
        arrays.append(names["new"])


class Refused(Exception):
    """The trace does not know what NumPy's arrays would do."""


def execute(program: list[tuple[str, int, int]], x: Any, plain: list[Any]) -> list[Any]:
    """Run a program on a traced value, side by side with plain arrays; what NumPy refuses is refused here too."""
    traced = [graphc.numpy.array(x)]
    for line, a, b in program:
        count = len(plain)
        try:
            run(line, plain, a, b)
            error = None
        except Exception as found:
            error = found
            del plain[count:]
        try:
            run(line, traced, a, b)
            if error is not None:
                raise AssertionError(f"{line}: NumPy raises {error!r}")
        except UnsupportedError as found:
            if "order in memory" not in str(found) and error is None:
                raise AssertionError(f"{line}: {found}") from found
            if error is None:
                raise Refused from found
        except Exception as found:
            # where several things are wrong, NumPy may find another one first
            if isinstance(found, ReadOnlyError) and error is None and (".at(" in line or "copyto" in line):
                raise Refused from found  # NumPy does not always look whether it may write
            if error is None or isinstance(found, AssertionError):
                raise
        if isinstance(plain[-1], np.generic):
            del plain[-1]  # numbers never change
        del traced[len(plain) :]
        for have, want in zip(traced, plain, strict=True):
            assert have.shape == want.shape, line
            assert have.dtype == want.dtype, line
    return traced


@settings(max_examples=300, deadline=None)
@given(
    shape=st.sampled_from([(2, 3), (3, 3), (4,), (2, 2, 3), (1, 4), (3, 1), (0, 3), ()]),
    program=st.lists(lines(), min_size=1, max_size=12),
)
def test_every_name_shows_what_numpys_arrays_show(shape: tuple[int, ...], program: list[tuple[str, int, int]]) -> None:
    x = (np.arange(np.prod(shape, dtype=int)).reshape(shape) * 7 % 5 - 1.5) if shape else np.array(0.5)
    plain: list[Any] = [np.array(x)]

    def f(x: Any) -> Any:
        del plain[1:]
        plain[0] = np.array(x_)
        return execute(program, x, plain)

    x_ = x
    with np.errstate(all="ignore"):
        try:
            compiled = graphc.compile(f, x, exact_order=True)
        except Refused:
            event("refused: the order in memory is not known")
            return
        found = compiled(x)
    event(f"{len(plain)} arrays")
    for want, have in zip(plain, found, strict=True):
        np.testing.assert_array_equal(have, want, strict=False, err_msg="\n".join(line for line, _, _ in program))
