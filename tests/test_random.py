"""`graphc.random`: the same numbers however they are drawn, what keys are, derivatives, ends of ranges, refusals."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

import graphc
from graphc import random
from graphc.errors import DTypeError, ShapeError, TraceError
from graphc.ops.philox import BUMPS, DRAW, FOLD, MULTIPLIERS, RETRY, SPLIT, block, blocks, scramble
from graphc.random import continuous, discrete, drawing, selecting

KEY = random.key(2011)
FLOATS = [np.dtype(t) for t in (np.float16, np.float32, np.float64)]
INTEGERS = [np.dtype(kind + size) for kind in "iu" for size in "1248"]
UNSIGNED = INTEGERS[4:]


def same(a: Any, b: Any) -> bool:
    """Equal in dtype, shape and every bit."""
    x, y = np.asarray(a), np.asarray(b)
    return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()


# The generator


# counter, key and result, as published with the paper's library
PUBLISHED = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "result"), PUBLISHED)
def test_the_published_vectors(counter: str, key: str, result: str) -> None:
    c, k = words(counter), words(key)
    assert scramble(c, k) == words(result)  # type: ignore[arg-type]
    # a key of graphc is Philox's key and the upper half of its counter; the lower half is the position
    mine = np.array([*k, *c[2:]], np.uint32)
    position = np.array(c[0] | c[1] << 32, np.uint64)
    assert tuple(blocks(mine, position).tolist()) == words(result)
    assert block((*k, *c[2:]), int(position)) == words(result)  # type: ignore[arg-type]


def test_a_seed_begins_philoxs_own_sequence() -> None:
    """Philox4x32-10 with the seed for its key and a counter from 0 on, as other libraries run it."""
    expected = [word for j in range(5) for word in scramble((j, 0, 0, 0), (0xDEADBEEF, 0x12345678))]
    assert random.bits(random.key(0x12345678_DEADBEEF), 20, np.uint32).tolist() == expected


def test_constants_of_the_paper() -> None:
    assert MULTIPLIERS == (0xD2511F53, 0xCD9E8D57)
    golden, root = (5**0.5 - 1) / 2, 3**0.5 - 1
    assert abs(BUMPS[0] - golden * 2**32) < 1
    assert abs(BUMPS[1] - root * 2**32) < 1
    assert len({DRAW, SPLIT, FOLD, RETRY}) == 4


@pytest.mark.parametrize("dtype", UNSIGNED, ids=str)
def test_words_of_any_width_are_cut_from_the_same_bytes(dtype: np.dtype[Any]) -> None:
    stream = random.bits(KEY, 640, np.uint8).tobytes()
    found = random.bits(KEY, 640 // dtype.itemsize, dtype)
    assert found.astype(dtype.newbyteorder("<")).tobytes() == stream


@pytest.mark.parametrize("dtype", UNSIGNED, ids=str)
def test_an_element_does_not_depend_on_how_many_follow(dtype: np.dtype[Any]) -> None:
    # more blocks than are computed at a time
    long = random.bits(KEY, 150_000, dtype)
    for n in (0, 1, 2, 3, 17, 1000, 131_072, 131_073):
        assert same(random.bits(KEY, n, dtype), long[:n])
    for n in (5, 149_999):
        position = n * dtype.itemsize // 16
        assert (
            long[n]
            == np.frombuffer(
                np.array(block(tuple(KEY.tolist()), position), "<u4").tobytes(),  # type: ignore[arg-type]
                dtype.newbyteorder("<"),
            )[n - position * 16 // dtype.itemsize]
        )
    assert same(random.bits(KEY, (30, 5000), dtype), long.reshape(30, 5000))


# The same numbers however they are drawn

# kernels have their own logarithms and tangents, as any other library
ROUNDED = ("exponential", "gumbel", "laplace", "logistic", "cauchy", "truncated normal", "normal")


def agree(found: Any, eager: Any, name: str) -> bool:
    """Equal in dtype, shape and every bit; where another library's functions take part, in all but the last places."""
    x, y = np.asarray(found), np.asarray(eager)
    if not name.startswith(ROUNDED) or x.dtype != y.dtype or x.shape != y.shape:
        return same(x, y)
    return np.allclose(x, y, rtol=16 * np.finfo(x.dtype).eps, atol=4 * np.finfo(x.dtype).eps)


# each takes a key and a float array of shape (n, 3) of numbers from 1 on
DRAWS: dict[str, Callable[[Any, Any], Any]] = {
    "bits": lambda k, x: random.bits(k, x.shape, np.uint16),
    "uniform": lambda k, x: random.uniform(k, x.shape, x.dtype),
    "uniform between": lambda k, x: random.uniform(k, None, x.dtype, -x, 2 * x),
    "normal": lambda k, x: random.normal(k, x.shape, x.dtype),
    "normal, scaled": lambda k, x: random.normal(k, (2, *x.shape), x.dtype, loc=x, scale=0.5),
    "exponential": lambda k, x: random.exponential(k, None, x.dtype, scale=x),
    "gumbel": lambda k, x: random.gumbel(k, x.shape, x.dtype, loc=1.5),
    "laplace": lambda k, x: random.laplace(k, x.shape, x.dtype, 1.0, x),
    "logistic": lambda k, x: random.logistic(k, x.shape, x.dtype),
    "cauchy": lambda k, x: random.cauchy(k, x.shape, x.dtype, x),
    "truncated normal": lambda k, x: random.truncated_normal(k, x - 3, x + 1, dtype=x.dtype),
    "integers": lambda k, x: random.integers(k, x.shape, -7, 100, np.int16),
    "integers below": lambda k, x: random.integers(k, (4, *x.shape), 5),
    "integers between": lambda k, x: random.integers(k, x.shape, 0, x.astype(np.int64) + 3),
    "integers up to": lambda k, x: random.integers(k, None, -3, x.astype(np.int32), np.int8, endpoint=True),
    "bernoulli": lambda k, x: random.bernoulli(k, x / 16),
    "bernoulli, in half": lambda k, x: random.bernoulli(k, shape=x.shape),
    "rademacher": lambda k, x: random.rademacher(k, x.shape, x.dtype),
    "categorical": lambda k, x: random.categorical(k, x),
    "categorical, along an axis": lambda k, x: random.categorical(k, x.T, axis=0, shape=(5, x.shape[0])),
    "permutation": lambda k, x: random.permutation(k, x),
    "permutation of columns": lambda k, x: random.permutation(k, x, axis=1),
    "permutation of each row": lambda k, x: random.permutation(k, x, axis=1, independent=True),
    "permutation of each column": lambda k, x: random.permutation(k, x, independent=True),
    "permutation of a size": lambda k, x: random.permutation(k, x.shape[0]),
    "choice": lambda k, x: random.choice(k, x, (2, 2)),
    "choice of columns": lambda k, x: random.choice(k, x, 2, axis=1, p=np.array([0.5, 0.25, 0.25])),
    "choice without replacement": lambda k, x: random.choice(k, x, 2, replace=False, axis=-1),
    "choice by weights": lambda k, x: random.choice(k, 3, 2, replace=False, p=x[0] / np.sum(x[0])),
    "split": lambda k, x: random.split(k, x.shape),
    "split in two": lambda k, x: random.split(k),
    "fold in": lambda k, x: random.fold_in(k, x.astype(np.int64) - 2),
    "key": lambda k, x: random.key(-x.astype(np.int64).sum()),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", DRAWS)
def test_eager_compiled_and_jitted_draws_agree(name: str, dtype: np.dtype[Any]) -> None:
    draw = DRAWS[name]
    x = np.arange(1, 13).astype(dtype).reshape(4, 3)
    eager = draw(KEY, x)
    symbolic = graphc.Spec(("n", 3), dtype)
    assert same(graphc.compile(draw, "u32[4]", x, exact_order=True)(KEY, x), eager)
    assert same(graphc.compile(draw, "u32[4]", symbolic, exact_order=True)(KEY, x), eager)
    for kernels in ("llvm", "ufunc", None):
        assert agree(graphc.compile(draw, "u32[4]", x, kernels=kernels)(KEY, x), eager, name)
    assert agree(graphc.compile(draw, "u32[4]", symbolic)(KEY, x), eager, name)
    # a key from outside, in a size that is known only when the graph runs
    assert agree(graphc.compile(lambda x: draw(KEY, x), symbolic)(x), eager, name)
    jitted = graphc.jit(draw)
    for n in (2, 3, 4):
        assert agree(jitted(KEY, x[:n]), draw(KEY, x[:n]), name)


@pytest.mark.parametrize("name", DRAWS)
def test_exact_arithmetic_draws_the_same(name: str) -> None:
    """Over SymPy's numbers: bits are the same, and floats but for rounding."""
    x = np.arange(1.0, 7.0).reshape(2, 3)
    run = graphc.compile(DRAWS[name], "u32[4]", x, backend="sympy")
    exact = np.asarray(run(KEY, x))
    eager = np.asarray(DRAWS[name](KEY, x))
    numbers = np.array([float(v) for v in exact.ravel()]).reshape(exact.shape)
    np.testing.assert_allclose(numbers, eager.astype(np.float64), rtol=1e-12)
    if eager.dtype.kind in "iu":
        assert [int(v) for v in exact.ravel()] == eager.ravel().tolist()


@pytest.mark.parametrize("shape", [(), 0, (0,), (3, 0), (2, 0, 2), 1, (1, 1), (2, 3), [2, 2], np.array([1, 2])])
def test_shapes(shape: Any) -> None:
    wanted = tuple(np.atleast_1d(shape).tolist()) if not isinstance(shape, tuple) else shape
    for draw in (random.uniform, random.normal, random.exponential, random.bits, random.rademacher):
        found = draw(KEY, shape)
        assert np.shape(found) == wanted
        assert isinstance(found, np.generic if not wanted else np.ndarray)
    assert np.shape(random.integers(KEY, shape, 0, 9)) == wanted
    assert np.shape(random.bernoulli(KEY, 0.5, shape)) == wanted
    assert np.shape(random.choice(KEY, 5, shape)) == wanted
    assert np.shape(random.split(KEY, shape)) == (*wanted, 4)
    assert np.shape(random.choice(KEY, np.ones((5, 7)), shape)) == (*wanted, 7)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["uniform", "normal", "exponential", "gumbel", "laplace", "logistic", "cauchy"])
def test_parameters_keep_the_dtype(name: str, dtype: np.dtype[Any]) -> None:
    draw = getattr(random, name)
    scale = {"maxval" if name == "uniform" else "scale": np.array([[1.0], [2.0]])}
    found = draw(KEY, (2, 3), dtype, **scale)
    assert found.dtype == dtype
    assert found.shape == (2, 3)
    assert draw(KEY, None, dtype, **scale).shape == (2, 1)
    assert same(found[0], draw(KEY, 3, dtype))


def test_an_arrays_draw_can_be_changed() -> None:
    x = random.normal(KEY, 5)
    x[0] = 1.0
    assert random.normal(KEY, 5)[0] != 1.0


# Keys


def test_a_key_is_a_plain_array() -> None:
    assert type(KEY) is np.ndarray
    assert (KEY.dtype, KEY.shape) == (np.uint32, (4,))
    file = BytesIO()
    np.save(file, KEY)
    file.seek(0)
    for again in (np.load(file), pickle.loads(pickle.dumps(KEY)), np.asarray(KEY.tolist(), np.uint32), KEY.copy()):
        assert same(random.normal(again, 3), random.normal(KEY, 3))
    stacked = np.stack([KEY, random.key(1)])
    assert same(random.normal(stacked[1], 3), random.normal(random.key(1), 3))
    state = {"key": KEY, "layers": [random.key(1)]}
    draw = graphc.jit(lambda s: random.normal(s["key"], 2) + random.normal(s["layers"][0], 2))
    assert agree(draw(state), random.normal(KEY, 2) + random.normal(random.key(1), 2), "normal")


def test_keys_pass_through_a_compiled_step() -> None:
    @graphc.jit
    def step(key: Any, x: Any) -> Any:
        key, now = random.split(key)
        return key, x + random.normal(now, x.shape)

    key, x = random.key(5), np.zeros(3)
    chain, wanted = random.key(5), np.zeros(3)
    for _ in range(4):
        key, x = step(key, x)
        chain, now = random.split(chain)
        wanted = wanted + random.normal(now, 3)
    assert same(key, chain)
    assert agree(x, wanted, "normal")


SEEDS = (0, 1, 2**31, 2**32, 2**63 - 1, -1, -(2**63))


def test_seeds() -> None:
    found = [tuple(random.key(s).tolist()) for s in (*SEEDS, 2**64, 2**128 - 1)]
    assert len(set(found)) == len(found)
    of_traced = graphc.compile(random.key, "i64[]")
    for seed in SEEDS:
        assert same(random.key(seed), random.key(np.int64(seed)))
        assert same(random.key(seed), of_traced(seed))
    assert same(random.key(-1), random.key(2**64 - 1))
    assert same(random.key(np.int8(-1)), random.key(-1))
    assert same(random.key(np.uint64(2**64 - 1)), random.key(-1))
    assert random.key(2**128 - 1).tolist() == [2**32 - 1] * 4


def test_derived_keys() -> None:
    children = random.split(KEY, 1000)
    assert same(random.split(KEY, 3), children[:3])
    assert same(random.split(KEY, (10, 100)), children.reshape(10, 100, 4))
    assert same(random.split(KEY), children[:2])
    folded = random.fold_in(KEY, np.arange(1000))
    assert same(random.fold_in(KEY, 7), folded[7])
    assert same(random.fold_in(KEY, np.uint8(7)), folded[7])
    assert same(random.fold_in(KEY, -1), random.fold_in(KEY, 2**64 - 1))
    assert not same(random.fold_in(KEY, 2**32), folded[0])
    draws = random.bits(KEY, 4000, np.uint32).reshape(1000, 4)
    grandchildren = random.split(children[0], 1000)
    every = np.concatenate([[KEY], children, folded, draws, grandchildren])
    assert len(np.unique(every, axis=0)) == len(every)


@pytest.mark.parametrize(
    ("seed", "error"),
    [
        (1.0, DTypeError),
        (True, DTypeError),
        ("1", DTypeError),
        (None, DTypeError),
        (np.arange(2), DTypeError),
        (2**128, ValueError),
        (-(2**63) - 1, ValueError),
    ],
)
def test_what_is_no_seed(seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="seed"):
        random.key(seed)


@pytest.mark.parametrize(("data", "error"), [(1.5, DTypeError), (False, DTypeError), (2**64, ValueError)])
def test_what_cannot_be_folded_in(data: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="fold_in"):
        random.fold_in(KEY, data)


NO_KEYS: tuple[tuple[Any, type[Exception]], ...] = (
    (0, DTypeError),
    (np.int64(3), DTypeError),
    (1.5, DTypeError),
    (None, DTypeError),
    ([1, 2, 3, 4], DTypeError),
    ("key", DTypeError),
    (np.random.default_rng(0), DTypeError),
    (KEY.astype(np.int64), DTypeError),
    (KEY.astype(np.float32), DTypeError),
    (np.array(["a"]), DTypeError),
    (KEY[:2], ShapeError),
    (np.zeros((2, 4), np.uint32), ShapeError),
    (np.uint32(1), ShapeError),
)
BY_KEY: dict[str, Callable[[Any], Any]] = {
    "split": random.split,
    "fold_in": lambda k: random.fold_in(k, 1),
    "integers": lambda k: random.integers(k, 3, 5),
    "bernoulli": random.bernoulli,
    "categorical": lambda k: random.categorical(k, np.zeros(3)),
    "permutation": lambda k: random.permutation(k, 3),
    "choice": lambda k: random.choice(k, 3),
    "truncated_normal": lambda k: random.truncated_normal(k, 0.0, 1.0),
    **{
        name: lambda k, name=name: getattr(random, name)(k, 3)
        for name in (
            *("bits", "uniform", "normal", "exponential", "gumbel", "laplace", "logistic", "cauchy", "rademacher"),
        )
    },
}


def test_every_draw_is_tried() -> None:
    assert {*BY_KEY, "key"} == set(random.__all__)


@pytest.mark.parametrize("name", BY_KEY)
@pytest.mark.parametrize(("key", "error"), NO_KEYS, ids=lambda v: getattr(v, "__name__", None) or str(v)[:20])
def test_what_is_no_key(name: str, key: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"random\.{name}: .*key"):
        BY_KEY[name](key)


@pytest.mark.parametrize("name", BY_KEY)
@pytest.mark.parametrize(("spec", "error"), [("i64[4]", DTypeError), ("u32[3]", ShapeError), ("u32[2,4]", ShapeError)])
def test_what_is_no_traced_key(name: str, spec: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"random\.{name}: .*key"):
        graphc.trace(BY_KEY[name], spec)


# Ends of ranges


def every_word_is(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the random bits by one word, taken modulo its size; a fraction of 2**64 would not fit every width."""

    def emit(name: str, *operands: Any, **attrs: Any) -> Any:
        if name != "random_bits":
            return original(name, *operands, **attrs)
        dtype = attrs["dtype"]
        return np.full(attrs["shape"], word % (1 << 8 * dtype.itemsize), dtype)

    original = drawing.emit
    for module in (continuous, discrete, selecting):
        monkeypatch.setattr(module, "emit", emit)


LOWEST, HIGHEST, OTHERS = 0, -1, (0x123456789ABCDEF0, 0xF0F0F0F0F0F0F0F0, 0x8000800080008000)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_ends_of_uniform(dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    every_word_is(HIGHEST, monkeypatch)
    assert random.uniform(KEY, (), dtype) == 1 - np.finfo(dtype).epsneg
    # without care, rounding would give 2
    assert random.uniform(KEY, (), dtype, 1.0, 2.0) == np.nextafter(dtype.type(2), dtype.type(1))
    assert random.uniform(KEY, (), dtype, -2.0, -1.0) == np.nextafter(dtype.type(-1), dtype.type(-2))
    every_word_is(LOWEST, monkeypatch)
    assert random.uniform(KEY, (), dtype) == 0
    assert random.uniform(KEY, (), dtype, 1.0, 2.0) == 1


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_uniform_never_gives_the_upper_bound(dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    limits = np.finfo(dtype)
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            rng.normal(size=200) * 10.0 ** rng.integers(-4, 4, 200),
            [0, 1, -1, limits.tiny, -limits.tiny, limits.smallest_subnormal, limits.max / 4, -limits.max / 4],
        ]
    ).astype(dtype)
    low, high = values[:, None], values[None, :]
    some = low < high
    a, b = np.broadcast_to(low, some.shape)[some], np.broadcast_to(high, some.shape)[some]
    # neighbours have one number between them: the lower one
    a, b = np.concatenate([a, values]), np.concatenate([b, np.nextafter(values, dtype.type(np.inf))])
    for pattern in (LOWEST, HIGHEST, *OTHERS):
        every_word_is(pattern, monkeypatch)
        found = random.uniform(KEY, None, dtype, a, b)
        assert found.dtype == dtype
        assert np.all((a <= found) & (found < b))
        u = random.uniform(KEY, a.shape, dtype)
        for kernels in ("llvm", "ufunc"):
            by_kernel = graphc.compile(lambda *x: drawing.emit("lerp", *x), a, b, u, kernels=kernels)
            assert same(by_kernel(a, b, u), found)


def test_an_empty_range_of_uniform_is_its_bound() -> None:
    assert random.uniform(KEY, 3, minval=2.5, maxval=2.5).tolist() == [2.5] * 3


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_the_tails_are_long(dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The outermost numbers on either side are those of the probability 2**-33, or 2**-65 in double precision."""
    bits = 65 if dtype == np.float64 else 33
    log = bits * np.log(2)
    ends = {
        "normal": (scipy.special.ndtri(2.0**-bits), -scipy.special.ndtri(2.0**-bits)),
        "laplace": (np.log(2) - log, log - np.log(2)),
        "logistic": (-log, log),
        "cauchy": (-(2.0**bits) / np.pi, 2.0**bits / np.pi),
        "exponential": (2.0**-bits, log),
        "gumbel": (log, -np.log(log)),
    }
    assert ends["normal"][1] > 6.2
    for word in (0, 1):
        every_word_is(word, monkeypatch)
        for name, expected in ends.items():
            found = getattr(random, name)(KEY, (), dtype)
            with np.errstate(over="ignore"):
                wanted = dtype.type(expected[word])  # in half precision, infinite for `cauchy`
            np.testing.assert_allclose(found, wanted, rtol=4 * np.finfo(dtype).eps, err_msg=name)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("word", [-1, -2])
def test_the_middle(dtype: np.dtype[Any], word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    every_word_is(word, monkeypatch)
    for name in ("normal", "laplace", "logistic", "cauchy"):
        assert abs(float(getattr(random, name)(KEY, (), dtype))) < 2e-7
    assert float(random.exponential(KEY, (), dtype)) == pytest.approx(np.log(2), rel=1e-3)


@pytest.mark.parametrize("pattern", [LOWEST, HIGHEST])
def test_what_has_no_probability_is_never_chosen(pattern: int, monkeypatch: pytest.MonkeyPatch) -> None:
    every_word_is(pattern, monkeypatch)
    end = pattern == HIGHEST
    assert not random.bernoulli(KEY, 0.0)
    assert random.bernoulli(KEY, 1.0)
    assert random.choice(KEY, 5, p=[0, 0.5, 0, 0.5, 0]) == (3 if end else 1)
    tenths = np.full(10, 0.1)  # their sum in floats is not 1
    assert random.choice(KEY, 10, p=tenths) == (9 if end else 0)
    # a traced p is divided by its sum
    weights = graphc.compile(lambda k, p: random.choice(k, 5, p=p), "u32[4]", "f64[5]")
    assert weights(KEY, np.array([0, 3.0, 0, 7.0, 0])) == (3 if end else 1)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_a_truncated_normal_keeps_to_its_bounds(dtype: np.dtype[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(-1.0, 1.0), (2.0, 2.5), (-2.5, -2.0), (5.0, np.inf), (-np.inf, -5.0), (-np.inf, np.inf), (-3.0, 0.1)]
    pairs += [(20.0, 21.0), (-36.0, -35.5), (0.0, 1e-3)]
    low, high = np.array(pairs, dtype).T
    for pattern in (LOWEST, HIGHEST, *OTHERS):
        every_word_is(pattern, monkeypatch)
        found = random.truncated_normal(KEY, low, high, dtype=dtype)
        assert found.dtype == dtype
        assert np.isfinite(found).all()
        assert np.all((low <= found) & (found <= high))


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_the_whole_range_of_integers(dtype: np.dtype[Any]) -> None:
    limits = np.iinfo(dtype)
    everything = random.integers(KEY, 5000, limits.min, limits.max, dtype, endpoint=True)
    assert everything.dtype == dtype
    assert same(everything, random.integers(KEY, 5000, int(limits.min), int(limits.max) + 1, dtype))
    # the outermost of 5000 numbers lie within a hundredth of the ends, but for one chance in 10**21
    width = (int(limits.max) - int(limits.min)) / 100
    assert int(everything.min()) <= int(limits.min) + width
    assert int(everything.max()) >= int(limits.max) - width
    if limits.bits == 8:
        assert len(np.unique(everything)) == 256
    for bound in (limits.min, limits.max):
        assert (random.integers(KEY, 9, bound, bound, dtype, endpoint=True) == bound).all()
    one = random.integers(KEY, 200, limits.max - 1, limits.max, dtype, endpoint=True)
    assert set(one.tolist()) == {limits.max - 1, limits.max}
    low, high = np.array([limits.min, 0, 5], dtype), np.array([limits.min + 2, 1, limits.max], dtype)
    many = random.integers(KEY, (1000, 3), low, high, dtype)
    assert set(many[:, 0].tolist()) == {limits.min, limits.min + 1}
    assert not many[:, 1].any()
    assert ((many[:, 2] >= 5) & (many[:, 2] < limits.max)).all()
    traced = graphc.compile(lambda k, a, b: random.integers(k, (1000, 3), a, b, dtype), "u32[4]", low, high)
    assert same(traced(KEY, low, high), many)
    closed = graphc.compile(lambda k, a, b: random.integers(k, 5000, a, b, dtype, True), "u32[4]", low[0], high[0])
    assert same(closed(KEY, limits.min, limits.max), everything)


def test_an_empty_traced_range_is_its_lower_bound() -> None:
    draw = graphc.compile(lambda k, a, b: random.integers(k, 4, a, b), "u32[4]", "i64[]", "i64[]")
    assert draw(KEY, 5, 5).tolist() == draw(KEY, 5, -7).tolist() == [5] * 4


# Derivatives


@pytest.mark.parametrize("dtype", FLOATS[1:], ids=str)
@pytest.mark.parametrize("name", ["normal", "laplace", "logistic", "cauchy", "gumbel"])
def test_derivatives_by_loc_and_scale(name: str, dtype: np.dtype[Any]) -> None:
    draw = getattr(random, name)
    loc, scale = np.array([1.0, -2.0], dtype), np.array([0.5, 3.0], dtype)
    jacobian = graphc.jacobian(lambda a, s: draw(KEY, None, dtype, a, s), argnums=(0, 1))(loc, scale)
    assert same(jacobian[0], np.eye(2, dtype=dtype))
    np.testing.assert_array_equal(jacobian[1], np.diag(draw(KEY, 2, dtype)))
    assert jacobian[1].dtype == dtype


def test_derivatives_of_uniform_and_exponential() -> None:
    u = random.uniform(KEY, 3)
    by_bounds = graphc.jacobian(lambda a, b: random.uniform(KEY, 3, minval=a, maxval=b), argnums=(0, 1))(1.0, 5.0)
    np.testing.assert_allclose(by_bounds[0], 1 - u, rtol=1e-15)
    np.testing.assert_allclose(by_bounds[1], u, rtol=1e-15)
    wait = graphc.jacobian(lambda s: random.exponential(KEY, 3, scale=s))(2.0)
    np.testing.assert_array_equal(wait, random.exponential(KEY, 3))


def test_derivatives_of_a_truncated_normal() -> None:
    bounds = (-0.5, 2.0)
    found = graphc.jacobian(lambda a, b: random.truncated_normal(KEY, a, b, 6), argnums=(0, 1))(*bounds)
    for k in (0, 1):
        step = np.where(np.arange(2) == k, 1e-6, 0)
        ahead, back = (random.truncated_normal(KEY, *(np.array(bounds) + s * step), 6) for s in (1, -1))
        np.testing.assert_allclose(found[k], (ahead - back) / 2e-6, rtol=1e-7, atol=1e-9)


def test_derivatives_pass_through_selected_elements() -> None:
    x = np.arange(5.0)
    order = random.permutation(KEY, 5)
    assert same(graphc.jacobian(lambda x: random.permutation(KEY, x))(x), np.eye(5)[order])
    picked = random.choice(KEY, 5, 3)
    assert same(graphc.jacobian(lambda x: random.choice(KEY, x, 3))(x), np.eye(5)[picked])
    assert graphc.grad(lambda x: np.sum(random.normal(KEY, x.shape) * x))(x).tolist() == random.normal(KEY, 5).tolist()


@pytest.mark.parametrize("name", ["normal", "uniform", "exponential"])
def test_derivatives_are_proved(name: str) -> None:
    parameters = {"minval": "maxval"} if name == "uniform" else {"loc": "scale"}
    ((first, second),) = parameters.items()

    def loss(key: Any, a: Any, b: Any) -> Any:
        given = {second: b} if name == "exponential" else {first: a, second: b}
        return np.sum((getattr(random, name)(key, 2, **given) - a) ** 2)

    assert graphc.verify(loss, "u32[4]", "f64[]", "f64[]").verdict == "proved"


# Orders and choices


def test_a_permutation_keeps_the_elements() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    for axis in (0, 1, 2, -1):
        moved = random.permutation(KEY, x, axis)
        order = random.permutation(KEY, x.shape[axis])
        assert same(moved, np.take(x, order, axis))
        alone = random.permutation(KEY, x, axis, independent=True)
        assert not same(alone, x)
        assert same(np.sort(alone, axis), x)
    assert random.permutation(KEY, 0).tolist() == []
    assert random.permutation(KEY, np.int64(1)).tolist() == random.permutation(KEY, np.array(1)).tolist() == [0]
    assert random.permutation(KEY, np.zeros((0, 2))).shape == (0, 2)
    assert sorted(random.permutation(KEY, ["b", "a", "c"])) == ["a", "b", "c"]
    assert sorted(random.permutation(KEY, 1000).tolist()) == list(range(1000))


def test_a_choice_without_replacement_has_no_element_twice() -> None:
    for size, wanted in ((5, 5), (5, 0), (100, 30), (1, 1)):
        found = random.choice(KEY, size, wanted, replace=False)
        assert len(set(found.tolist())) == wanted
    p = np.array([0.0, 0.5, 0.0, 0.25, 0.25])
    for key in random.split(KEY, 50):
        assert set(random.choice(key, 5, 3, replace=False, p=p).tolist()) == {1, 3, 4}
    assert random.choice(KEY, np.arange(6).reshape(2, 3), 2, axis=1, replace=False).shape == (2, 2)


def test_categories_that_cannot_be() -> None:
    logits = np.array([[0.0, -np.inf, 0.0], [-np.inf, -np.inf, -700.0]])
    found = random.categorical(KEY, logits, shape=(500, 2))
    assert set(found[:, 0].tolist()) == {0, 2}
    assert set(found[:, 1].tolist()) == {2}


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "size": (lambda: random.uniform(KEY, -1), ShapeError, "negative"),
    "shape of text": (lambda: random.uniform(KEY, "3"), DTypeError, "not a shape"),
    "shape of booleans": (lambda: random.uniform(KEY, (True,)), DTypeError, "not a shape"),
    "dtype": (lambda: random.normal(KEY, 3, np.complex128), DTypeError, "float"),
    "long double": (lambda: random.normal(KEY, 3, np.longdouble), DTypeError, "float"),
    "no dtype": (lambda: random.normal(KEY, 3, "nothing"), DTypeError, "not a dtype"),
    "bits of signed": (lambda: random.bits(KEY, 3, np.int32), DTypeError, "unsigned"),
    "booleans of integers": (lambda: random.integers(KEY, 3, 0, 2, bool), DTypeError, "bernoulli"),
    "signs of unsigned": (lambda: random.rademacher(KEY, 3, np.uint8), DTypeError, "signed"),
    "complex parameter": (lambda: random.normal(KEY, 3, loc=1j), DTypeError, "loc is not a real number"),
    "text parameter": (lambda: random.normal(KEY, 3, scale="1"), DTypeError, "scale is not a real number"),
    "negative scale": (lambda: random.normal(KEY, 3, scale=-1.0), ValueError, "scale must be at least 0"),
    "NaN scale": (lambda: random.exponential(KEY, 3, scale=np.nan), ValueError, "scale must be at least 0"),
    "bounds": (lambda: random.uniform(KEY, 3, minval=2.0), ValueError, "lies above"),
    "infinite bounds": (lambda: random.uniform(KEY, 3, maxval=np.inf), OverflowError, "not finite"),
    "bounds beyond half": (lambda: random.uniform(KEY, 3, np.float16, -6e4, 6e4), OverflowError, "not finite"),
    "misfit": (lambda: random.normal(KEY, (2, 3), loc=np.zeros(2)), ShapeError, "do not fit"),
    "too many parameters": (lambda: random.normal(KEY, (3,), loc=np.zeros((2, 3))), ShapeError, "do not fit"),
    "parameters apart": (lambda: random.normal(KEY, loc=np.zeros(2), scale=np.ones(3)), ShapeError, "do not fit"),
    "no integers": (lambda: random.integers(KEY, 3, 5, 5), ValueError, "no number"),
    "low above high": (lambda: random.integers(KEY, 3, 5, 4, endpoint=True), ValueError, "no number"),
    "beyond int8": (lambda: random.integers(KEY, 3, 0, 300, np.int8), ValueError, "out of bounds"),
    "below unsigned": (lambda: random.integers(KEY, 3, -1, 3, np.uint8), ValueError, "out of bounds"),
    "float bound": (lambda: random.integers(KEY, 3, 0.0, 3.0), DTypeError, "low must be whole"),
    "truncated": (lambda: random.truncated_normal(KEY, 1.0, 1.0), ValueError, "lower must lie below upper"),
    "probability": (lambda: random.bernoulli(KEY, 1.5), ValueError, "from 0 to 1"),
    "NaN probability": (lambda: random.bernoulli(KEY, np.nan), ValueError, "from 0 to 1"),
    "categories' shape": (lambda: random.categorical(KEY, np.zeros((2, 3)), shape=3), ShapeError, "does not end with"),
    "no categories": (lambda: random.categorical(KEY, 0.0), np.exceptions.AxisError, "axis"),
    "axis": (lambda: random.permutation(KEY, np.zeros(3), axis=1), np.exceptions.AxisError, "axis 1"),
    "permutation of a float": (lambda: random.permutation(KEY, 3.0), DTypeError, "neither an array"),
    "negative permutation": (lambda: random.permutation(KEY, -3), ShapeError, "negative"),
    "nothing to choose": (lambda: random.choice(KEY, 0, 2), ValueError, "nothing to choose"),
    "not enough": (lambda: random.choice(KEY, 3, 4, replace=False), ValueError, "4 of 3 elements"),
    "too few chances": (lambda: random.choice(KEY, 3, 3, replace=False, p=[0.5, 0.5, 0]), ValueError, "fewer than 3"),
    "p of another size": (lambda: random.choice(KEY, 3, p=[0.5, 0.5]), ShapeError, "for each element"),
    "p of two axes": (lambda: random.choice(KEY, 3, p=np.ones((3, 3)) / 3), ShapeError, "for each element"),
    "p below 0": (lambda: random.choice(KEY, 2, p=[1.5, -0.5]), ValueError, "not non-negative"),
    "p of NaN": (lambda: random.choice(KEY, 2, p=[np.nan, 1.0]), ValueError, "not non-negative"),
    "p that is none": (lambda: random.choice(KEY, 2, p=[0.5, 0.6]), ValueError, "add up"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused(name: str) -> None:
    call, error, words = WRONG[name]
    with pytest.raises(error, match=words):
        call()


def test_how_many_must_be_known() -> None:
    with pytest.raises(TraceError, match="known only when the graph runs"):
        graphc.trace(random.permutation, "u32[4]", "i64[]")
    with pytest.raises(TraceError, match="known only when the graph runs"):
        graphc.trace(lambda k, n: random.choice(k, 3, n), "u32[4]", "i64[]")


@pytest.mark.parametrize("name", sorted(random.OTHER_NAMES))
def test_other_libraries_names_lead_here(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"graphc\.random has no {name}\b") as caught:
        getattr(random, name)
    advised = caught.value.fix.removeprefix("graphc.random.").partition("(")[0]  # type: ignore[attr-defined]
    assert advised in random.__all__
    assert not hasattr(random, name)
    with pytest.raises(AttributeError):
        random.no_such_name  # noqa: B018


def test_drawing_loads_no_scipy(root: Path) -> None:
    code = (
        "import sys, graphc\nk = graphc.random.key(0)\ngraphc.random.uniform(k, 3)\ngraphc.random.integers(k, 3, 9)\n"
        "graphc.random.permutation(k, 5)\nprint('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_no_warnings_and_no_change_of_the_key() -> None:
    key = KEY.copy()
    key.flags.writeable = False
    for name, draw in BY_KEY.items():
        draw(key)
        assert same(key, KEY), name
    with np.errstate(all="raise"):
        for draw in BY_KEY.values():
            draw(key)
