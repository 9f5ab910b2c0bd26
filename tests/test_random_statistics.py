"""The numbers of `graphc.random` are distributed as they should be, and independent. Keys are fixed: nothing flakes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
import scipy.stats

from graphc import random
from graphc.ops import philox

KEY = random.key(20111112)
FLOATS = [np.dtype(t) for t in (np.float16, np.float32, np.float64)]
LEAST = 1e-4  # of a right generator, one test in ten thousand would fall below


def uniform_counts(found: Any, classes: int) -> None:
    """Every class of 0, 1, ... as often as any other, by chi-square."""
    counts = np.bincount(np.asarray(found).ravel().astype(np.int64), minlength=classes)
    assert len(counts) == classes
    assert LEAST < scipy.stats.chisquare(counts).pvalue < 1 - LEAST


def expected_counts(found: Any, probabilities: Any) -> None:
    """Classes as often as their probabilities say; those of probability 0 never."""
    p = np.asarray(probabilities, float)
    counts = np.bincount(np.asarray(found).ravel(), minlength=len(p))
    assert not counts[p == 0].any()
    assert scipy.stats.chisquare(counts[p > 0], counts.sum() * p[p > 0]).pvalue > LEAST


def follows(found: Any, distribution: Any) -> None:
    """A sample of a continuous distribution, by Kolmogorov and Smirnov."""
    assert scipy.stats.kstest(np.asarray(found, np.float64).ravel(), distribution.cdf).pvalue > LEAST


# Bits


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1, 12345])
def test_every_bit_is_a_fair_coin(seed: int) -> None:
    n = 40_000
    found = random.bits(random.key(seed), n)
    ones = (found[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).sum(0).astype(float)
    z = (ones - n / 2) / np.sqrt(n / 4)
    assert scipy.stats.chi2.sf(np.sum(z * z), 64) > LEAST
    assert np.abs(z).max() < 4.5


def test_bytes_and_pairs_of_bytes() -> None:
    stream = random.bits(KEY, 1 << 19, np.uint8)
    uniform_counts(stream, 256)
    uniform_counts(stream[::2] * 256.0 + stream[1::2], 1 << 16)
    # neighbours in the same place of their words, and of their blocks
    for step in (1, 2, 4, 8, 16, 32):
        uniform_counts((stream[:-step] ^ stream[step:]) % 16, 16)


def test_neighbours_are_uncorrelated() -> None:
    u = random.uniform(KEY, 200_000) - 0.5
    for lag in (1, 2, 3, 4, 8, 64, 8192):
        r = np.mean(u[:-lag] * u[lag:]) * 12 * np.sqrt(len(u) - lag)
        assert abs(r) < 4
    runs = np.diff(u) > 0
    up = np.sum(runs[1:] != runs[:-1])
    mean, deviation = 2 * (len(u) - 2) / 3, np.sqrt((16 * len(u) - 29) / 90)
    assert abs(up - mean) < 4 * deviation


def test_a_bit_of_the_key_or_the_counter_changes_half_of_all_bits() -> None:
    flips: list[int] = []
    for k in range(128):
        changed = KEY.copy()
        changed[k // 32] ^= np.uint32(1 << k % 32)
        flips.append(int(np.bitwise_count(random.bits(KEY, 64) ^ random.bits(changed, 64)).sum()))
    positions = np.arange(64, dtype=np.uint64)
    for k in range(40):
        moved = philox.blocks(KEY, positions ^ np.uint64(1 << k))
        flips.append(int(np.bitwise_count(philox.blocks(KEY, positions) ^ moved).sum()) // 2)
    assert np.all(np.abs(np.array(flips) - 2048) < 5 * np.sqrt(1024))


# Streams


def streams() -> dict[str, Any]:
    """Families of keys that programs use side by side."""
    parent = random.key(99)
    children = random.split(parent, 128)
    chain = [parent]
    for _ in range(127):
        chain.append(random.split(chain[-1])[0])
    return {
        "children": children,
        "parent and children": np.concatenate([[parent], children[:127]]),
        "grandchildren": np.concatenate([random.split(k, 8) for k in children[:16]]),
        "a chain of first children": np.stack(chain),
        "numbers folded in": random.fold_in(parent, np.arange(128)),
        "split and folded": np.concatenate([children[:64], random.fold_in(parent, np.arange(64))]),
        "successive seeds": np.stack([random.key(s) for s in range(128)]),
        "seeds of one bit": np.stack([random.key(1 << s) for s in range(128)]),
    }


@pytest.mark.parametrize("family", streams())
def test_streams_of_related_keys_are_independent(family: str) -> None:
    keys, n = streams()[family], 4096
    x = np.stack([random.normal(k, n) for k in keys])
    r = (x @ x.T / n)[np.triu_indices(len(keys), 1)] * np.sqrt(n)
    # 8128 pairs: the sum of squares, and the largest
    assert LEAST < scipy.stats.chi2.sf(np.sum(r * r), len(r)) < 1 - LEAST
    assert np.abs(r).max() < 5.5
    # also where one stream runs behind another by a few numbers
    for lag in (1, 2, 4):
        r = np.mean(x[:-1, lag:] * x[1:, :-lag], axis=1) * np.sqrt(n - lag)
        assert scipy.stats.chi2.sf(np.sum(r * r), len(r)) > LEAST
    # across streams, at one place: what a loop over keys sees
    for k in (0, 1, 4095):
        follows(x[:, k], scipy.stats.norm)
    same_bits = random.bits(keys[0], n) ^ random.bits(keys[1], n)
    assert abs(int(np.bitwise_count(same_bits).sum()) - 32 * n) < 4.5 * 4 * np.sqrt(n)


def test_draws_of_one_key_are_no_keys_of_its_children() -> None:
    parent = random.key(5)
    x = np.stack([random.uniform(parent, 4096), random.uniform(random.fold_in(parent, 0), 4096)]) - 0.5
    assert abs(np.mean(x[0] * x[1])) * 12 * 64 < 4


# Continuous distributions

CONTINUOUS: dict[str, tuple[Callable[..., Any], Any]] = {
    "uniform": (lambda k, n, t: random.uniform(k, n, t), scipy.stats.uniform()),
    "uniform between": (lambda k, n, t: random.uniform(k, n, t, -3.0, 5.0), scipy.stats.uniform(-3, 8)),
    "normal": (lambda k, n, t: random.normal(k, n, t), scipy.stats.norm()),
    "normal, scaled": (lambda k, n, t: random.normal(k, n, t, -1.0, 0.25), scipy.stats.norm(-1, 0.25)),
    "exponential": (lambda k, n, t: random.exponential(k, n, t, 2.0), scipy.stats.expon(scale=2)),
    "gumbel": (lambda k, n, t: random.gumbel(k, n, t, 1.0, 0.5), scipy.stats.gumbel_r(1, 0.5)),
    "laplace": (lambda k, n, t: random.laplace(k, n, t, 1.0, 0.5), scipy.stats.laplace(1, 0.5)),
    "logistic": (lambda k, n, t: random.logistic(k, n, t, 1.0, 0.5), scipy.stats.logistic(1, 0.5)),
    "cauchy": (lambda k, n, t: random.cauchy(k, n, t, 1.0, 0.5), scipy.stats.cauchy(1, 0.5)),
    **{
        f"normal from {a} to {b}": (
            lambda k, n, t, a=a, b=b: random.truncated_normal(k, a, b, n, t),
            scipy.stats.truncnorm(a, b),
        )
        for a, b in ((-1.0, 2.0), (0.0, np.inf), (-np.inf, np.inf), (1.0, 1.25), (-3.0, -2.0), (-0.5, 0.5))
    },
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_distribution(name: str, dtype: np.dtype[Any]) -> None:
    draw, distribution = CONTINUOUS[name]
    # half precision is coarser than what a large sample tells apart
    n = 1_000 if dtype == np.float16 else 50_000
    found = draw(KEY, n, dtype)
    assert found.dtype == dtype
    follows(found, distribution)
    # the tails have their share: a hundredth on either side
    low, high = distribution.ppf(0.01), distribution.ppf(0.99)
    for share in (np.mean(found < low), np.mean(found > high)):
        assert abs(share - 0.01) < 4.5 * np.sqrt(0.01 * 0.99 / n)


@pytest.mark.parametrize("bounds", [(6.0, np.inf), (-np.inf, -20.0), (30.0, 30.5), (-36.0, -35.0)])
def test_a_normal_far_out(bounds: tuple[float, float]) -> None:
    low, high = bounds
    found = random.truncated_normal(KEY, low, high, 20_000)
    # mirrored to the left, where SciPy's distribution function has all digits
    a, b = (low, high) if low < 0 else (-high, -low)
    x = found if low < 0 else -found
    ends = scipy.special.ndtr([a, b])
    follows((scipy.special.ndtr(x) - ends[0]) / (ends[1] - ends[0]), scipy.stats.uniform)


@pytest.mark.parametrize("dtype", FLOATS[1:], ids=str)
def test_moments_and_tails_of_the_normal(dtype: np.dtype[Any]) -> None:
    n = 1_000_000
    x = random.normal(KEY, n, dtype).astype(np.float64)
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3), (6, 15)):
        spread = np.sqrt(np.prod(np.arange(1, 2 * power, 2.0)) - moment**2)
        assert abs(np.mean(x**power) - moment) < 4.5 * spread / np.sqrt(n)
    for far in (3.0, 4.0, 4.5):
        expected = n * scipy.stats.norm.sf(far)
        for count in (np.sum(x > far), np.sum(x < -far)):
            assert LEAST < scipy.stats.poisson.cdf(count, expected) < 1 - LEAST
    assert np.abs(x).max() > 4.5


def test_half_precision_takes_every_value_equally_often() -> None:
    found = random.uniform(KEY, 200_000, np.float16).astype(np.float64) * 2048
    assert np.array_equal(found, np.floor(found))
    uniform_counts(found, 2048)


@pytest.mark.parametrize("dtype", FLOATS[1:], ids=str)
def test_the_last_digits_of_uniform_are_random(dtype: np.dtype[Any]) -> None:
    digits = 24 if dtype == np.float32 else 53
    whole = random.uniform(KEY, 50_000, dtype).astype(np.float64) * 2.0**digits
    assert np.array_equal(whole, np.floor(whole))
    uniform_counts(whole % 64, 64)


# Whole numbers


@pytest.mark.parametrize("dtype", [np.dtype(k + s) for k in "iu" for s in "1248"], ids=str)
@pytest.mark.parametrize("span", [2, 3, 5, 6, 100])
def test_integers(span: int, dtype: np.dtype[Any]) -> None:
    low = 7 if dtype.kind == "u" else -7
    uniform_counts(random.integers(KEY, 20_000, low, low + span, dtype).astype(np.int64) - low, span)


@pytest.mark.parametrize("dtype", [np.dtype(np.int8), np.dtype(np.uint8)], ids=str)
def test_all_of_a_byte(dtype: np.dtype[Any]) -> None:
    limits = np.iinfo(dtype)
    found = random.integers(KEY, 100_000, limits.min, limits.max, dtype, endpoint=True)
    uniform_counts(found.astype(np.int64) - int(limits.min), 256)


@pytest.mark.parametrize(
    ("span", "dtype"),
    [
        (3 << 62, np.uint64),
        ((1 << 63) + 1, np.uint64),
        ((1 << 64) - 1, np.uint64),
        (1 << 64, np.uint64),
        (3 << 61, np.int64),
        ((1 << 62) + 12345, np.int64),
        ((1 << 31) + 1, np.uint32),
        (3 << 30, np.uint32),
        (1 << 32, np.uint32),
        (3 << 29, np.int32),
    ],
)
def test_integers_of_awkward_ranges(span: int, dtype: Any) -> None:
    """Scaling or a remainder without rejection would favour some thirds, and some parities, by up to two to one."""
    found = random.integers(KEY, 60_000, 0, span, dtype).tolist()
    assert 0 <= min(found) <= max(found) < span
    uniform_counts([6 * v // span for v in found], 6)
    uniform_counts([v % 8 for v in found], 8)
    uniform_counts([v % 3 for v in found], 3)


@pytest.mark.parametrize("bits", [32, 64])
def test_every_number_below_a_bound_has_as_many_words(bits: int) -> None:
    """The words that give a number, counted exactly: by their ends, since they are neighbours."""
    word = np.dtype(f"u{bits // 8}")
    rng = np.random.default_rng(bits)
    spans = [1, 2, 3, 5, 6, 7, 255, (1 << bits) - 1, (1 << bits - 1) + 1, 3 << bits - 2]
    spans += [int(v) for v in rng.integers(1, 1 << bits, 200, dtype=word)]
    for span in spans:
        size = 1 << bits
        for value in {0, span - 1, span // 2, span // 3, int(rng.integers(span, dtype=word))}:
            # the numbers w with w * span in the value's part of the range, less the first few products
            start = -(-(value * size + size % span) // span)
            stop = -(-(value + 1) * size // span)
            assert stop - start == size // span == int(Fraction(size, span))
            ends = np.array([w for w in (start - 1, start, stop - 1, stop) if 0 <= w < size], word)
            found, again = philox._scaled(ends, np.full(len(ends), span, word))
            accepted = [(int(v), not r) for v, r in zip(found, again, strict=True)]
            inside = [start <= int(w) < stop for w in ends]
            assert [a == (value, True) for a in accepted] == inside


def test_large_numbers_are_multiplied_in_full() -> None:
    rng = np.random.default_rng(1)
    a, b = (np.append(rng.integers(0, 2**64, 500, np.uint64), [np.uint64(0), np.uint64(2**64 - 1)]) for _ in range(2))
    high, low = philox._product(a, b)
    for x, y, h, lo in zip(a.tolist(), b.tolist(), high.tolist(), low.tolist(), strict=True):
        assert x * y == h << 64 | lo


def test_coins() -> None:
    for p in (0.5, 0.1, 0.999, 1e-3):
        found = random.bernoulli(KEY, p, 100_000)
        assert found.dtype == np.bool_
        assert abs(found.mean() - p) < 4.5 * np.sqrt(p * (1 - p) / 100_000)
    # rarer than one step of a number in single precision
    rare = random.bernoulli(KEY, np.float32(2.0**-18), 4_000_000)
    assert LEAST < scipy.stats.poisson.cdf(rare.sum(), 4e6 * 2.0**-18) < 1 - LEAST
    signs = random.rademacher(KEY, 100_000)
    assert set(signs.tolist()) == {-1, 1}
    assert abs(signs.sum()) < 4.5 * np.sqrt(100_000)


WEIGHTS = np.array([0.05, 0.0, 0.3, 0.45, 0.0, 0.2])


def test_categories() -> None:
    with np.errstate(divide="ignore"):
        logits = np.log(WEIGHTS) + 11.5
    expected_counts(random.categorical(KEY, logits, shape=50_000), WEIGHTS)
    rows = np.stack([logits, logits[::-1]])
    found = random.categorical(KEY, rows, shape=(30_000, 2))
    expected_counts(found[:, 0], WEIGHTS)
    expected_counts(found[:, 1], WEIGHTS[::-1])
    columns = random.categorical(KEY, rows.T, axis=0, shape=(30_000, 2))
    expected_counts(columns[:, 1], WEIGHTS[::-1])


# Orders and choices

ORDERS = {order: k for k, order in enumerate(permutations(range(4)))}


def orders(rows: Any) -> list[int]:
    return [ORDERS[tuple(row)] for row in np.asarray(rows).tolist()]


def test_every_order_is_as_likely() -> None:
    keys = random.split(KEY, 4_000)
    uniform_counts(orders([random.permutation(k, 4) for k in keys]), 24)
    lines = np.tile(np.arange(4), (24_000, 1))
    uniform_counts(orders(random.permutation(KEY, lines, axis=1, independent=True)), 24)
    uniform_counts(orders(random.permutation(KEY, lines.T, independent=True).T), 24)


def test_ties_favour_no_order() -> None:
    """Words of one in three values tie all the time; further words have to break every tie."""
    rng = np.random.default_rng(3)
    rows = 24_000

    def more(attempt: int) -> Any:
        return rng.integers(0, 3, (rows, 4)).astype(np.uint64)

    uniform_counts(orders(philox.order(more(0), more)), 24)


def test_where_elements_go() -> None:
    n = 40
    places = np.stack([random.permutation(k, n) for k in random.split(KEY, 2_000)])
    uniform_counts(places[:, 0], n)
    uniform_counts(places[:, -1], n)
    uniform_counts([np.flatnonzero(row == 7)[0] for row in places], n)
    # neighbours are no likelier to stay neighbours
    stay = sum(int(b - a == 1) for row in places.tolist() for a, b in pairwise(row))
    assert abs(stay - 2_000 * (n - 1) / n) < 4.5 * np.sqrt(2_000)


def test_choices() -> None:
    uniform_counts(random.choice(KEY, 7, 50_000), 7)
    expected_counts(random.choice(KEY, 6, 50_000, p=WEIGHTS), WEIGHTS)
    # whole samples without replacement: ordered pairs out of four
    pairs = list(permutations(range(4), 2))
    keys = random.split(KEY, 6_000)
    found = [pairs.index(tuple(random.choice(k, 4, 2, replace=False).tolist())) for k in keys]
    uniform_counts(found, 12)


def test_weighted_choices_without_replacement() -> None:
    """One after the other, each with the weights of what is left."""
    p = np.array([0.1, 0.2, 0.3, 0.4])
    pairs = list(permutations(range(4), 2))
    expected = [p[a] * p[b] / (1 - p[a]) for a, b in pairs]
    keys = random.split(KEY, 6_000)
    found = [pairs.index(tuple(random.choice(k, 4, 2, replace=False, p=p).tolist())) for k in keys]
    expected_counts(found, expected)
