"""Every example in a docstring of the package, run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import pytest


def test_examples(example_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failures: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder().find(importlib.import_module(example_module.name)):
        runner.run(example, out=failures.append)
    if failures:
        pytest.fail("".join(failures), pytrace=False)
