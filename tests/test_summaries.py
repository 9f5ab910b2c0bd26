"""What texts say of large constants, in words that never get in the way of reading them back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import graphc
from graphc.ir import DTYPES, Constant
from graphc.text import constants_of, summaries
from graphc.text.summaries import summary

R = np.random.default_rng(0)
NORMAL = R.normal(size=(20, 10))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.eye(9), "the identity"),
        (np.eye(9, dtype=np.int8), "the identity"),
        (-2.5 * np.eye(5), "-2.5 on the diagonal, else 0"),
        (np.zeros((10, 10)), "all 0"),
        (np.full(100, 0.1, np.float32), "all 0.1"),
        (np.full(100, np.nan), "all nan"),
        (np.full(100, True), "all True"),
        (np.arange(100), "evenly from 0 to 99"),
        (np.arange(30)[::-1] * 0.1, "evenly from 2.9 to 0"),
        (np.linspace(0, 1, 50, dtype=np.float32), "evenly from 0 to 1"),
        (np.linspace(0, 1, 50, dtype=np.float16), "evenly from 0 to 1"),
        (np.arange(256, dtype=np.uint8), "evenly from 0 to 255"),
        (np.arange(100) % 3 == 0, "34 of 100 True"),
        (np.array([3, 1, 2] * 10), "1 to 3, mean 2"),
        (np.array([2**63 - 1, 0, 5] * 9), "0 to 9223372036854775807, mean 3.074e+18"),
        (np.array([1.5] + [0.0] * 19), "0 to 1.5, mean 0.075; 19 of 20 zero"),
        (np.array([np.inf, 1.0, 2.0, -np.inf] * 5), "1 to 2, mean 1.5; 5 inf; 5 -inf"),
        (np.array([np.nan, np.inf] * 10), "10 NaN; 10 inf"),
        (np.array([6e4, -6e4, 5e4] * 20, np.float16), "-6e+04 to 6e+04, mean 1.666e+04"),
        (np.array([3 + 4j, 0.0] * 10), "magnitudes 0 to 5, mean 2.5; 10 of 20 zero"),
        (np.arange(12.0).reshape(6, 2), "0 to 11, mean 5.5"),
        (NORMAL, f"{NORMAL.min():.4g} to {NORMAL.max():.4g}, mean {NORMAL.mean():.4g}"),
        (np.zeros((0, 9)), "empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_summaries(array: Any, words: str) -> None:
    assert summary(Constant(array)) == words


@given(hnp.arrays(st.sampled_from(list(DTYPES.values())), hnp.array_shapes(max_dims=3, min_side=0, max_side=9)))
def test_any_array_has_a_summary_of_one_plain_line(array: Any) -> None:
    words = summary(Constant(array))
    assert words
    assert words.isprintable()
    assert ":" not in words  # a comment with a colon and a number is a place in a file
    assert len(words) < 120


def affine(x: Any) -> Any:
    scale = np.eye(4)
    return x @ scale + np.linspace(0, 1, 12).reshape(3, 4)


def test_a_dump_with_summaries_is_read_back() -> None:
    graph = graphc.trace(affine, "f64[3,4]")
    for locations in (True, False, "full"):
        text = graphc.dump(graph, locations=locations)  # type: ignore[arg-type]
        assert "  # the identity\n  %scale: f64[4,4] = sha256:" in text
        assert "  # 0 to 1, mean 0.5\n  %3: f64[3,4] = sha256:" in text
        assert graphc.parse(text) == graph
        with_content = graphc.parse(text, constants_of(graph))
        assert graphc.dump(with_content, locations=locations) == text  # type: ignore[arg-type]
        if locations == "full":
            for node in set(graph) - set(graph.inputs):
                assert with_content.nodes[node]["loc"] == graph.nodes[node]["loc"]


def test_a_constant_without_its_content_has_no_summary() -> None:
    graph = graphc.parse(graphc.dump(graphc.trace(affine, "f64[3,4]")))
    assert "identity" not in graphc.dump(graph)


def test_small_constants_are_written_out() -> None:
    assert "#" not in graphc.dump(graphc.trace(lambda x: x + np.ones(8), "f64[8]"), locations=False)


def test_an_array_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = R.normal(size=100)
    graph = graphc.trace(lambda x: x + noise, "f64[100]")
    looked: list[int] = []
    describe = summaries._describe
    monkeypatch.setattr(summaries, "_describe", lambda array: looked.append(array.size) or describe(array))
    assert graphc.dump(graph) == graphc.dump(graph)
    assert looked == [100]


def test_no_array_is_kept() -> None:
    summaries._known.clear()
    for k in range(summaries.REMEMBERED + 5):
        summary(Constant(np.arange(10.0) ** 2 + k))
    assert len(summaries._known) <= summaries.REMEMBERED
    assert all(isinstance(words, str) for words in summaries._known.values())
