"""Variables of the environment: what may be said, and that anything else is refused with its name."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc.environment import choice, whole
from graphc.errors import UnsupportedError


def test_what_is_not_set_is_as_the_first_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "  "):
        monkeypatch.setenv("GRAPHC_EFFORT", text)
        assert choice("GRAPHC_EFFORT", ("adaptive", "full")) == "adaptive"
    monkeypatch.setenv("GRAPHC_EFFORT", " full ")
    assert choice("GRAPHC_EFFORT", ("adaptive", "full")) == "full"


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "0x10", "²", "1"])
def test_numbers_below_the_least_and_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UnsupportedError, match="SIZE says how much"):
        whole("SIZE", "says how much", "2 or more", 2, {"SIZE": text})


def test_numbers() -> None:
    assert whole("SIZE", "says how much", "any", 2, {"SIZE": " 12 "}) == 12
    assert whole("SIZE", "says how much", "any", 2, {"SIZE": " "}) is None


@pytest.mark.parametrize(("variable", "text"), [("GRAPHC_CHECK", "yes"), ("GRAPHC_EFFORT", "little")])
def test_what_compiles_refuses_words_that_it_does_not_know(
    variable: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(UnsupportedError, match=f"{variable} is '{text}'"):
        graphc.compile(np.sin, "f64[3]", kernels="llvm")
