"""Every example in a docstring of the package, run."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from typing import Any

import pytest


def test_examples(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if ">>>" not in module.path.read_text(encoding="utf-8"):
        pytest.skip("no examples")
    monkeypatch.chdir(tmp_path)
    failures: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder().find(importlib.import_module(module.name)):
        runner.run(example, out=failures.append)
    if failures:
        pytest.fail("".join(failures), pytrace=False)
