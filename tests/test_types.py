"""mypy --strict on the installed layout: on a checkout it would skip passes/ and backends/ silently."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_package_is_strictly_typed(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason='mypy is not installed: pip install -e ".[test]"')
    package = tmp_path / "graphc"
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "graphc", package, ignore=without_caches)
    for folder in ("passes", "backends"):
        shutil.copytree(root / folder, package / folder, ignore=without_caches)
    shutil.copytree(root / "benchmarks", tmp_path / "benchmarks", ignore=without_caches)
    (tmp_path / "tests").mkdir()
    for used_by_benchmarks in ("special_points", "kernel_loops", "ulps", "vector_functions"):
        shutil.copy(root / "tests" / f"{used_by_benchmarks}.py", tmp_path / "tests")
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--package", "graphc", "--package", "benchmarks",
            "--no-color-output", "--config-file", root / "pyproject.toml", "--cache-dir", tmp_path / "cache",
        ],
        cwd=tmp_path,  # mypy looks for the package here first
        env={name: value for name, value in os.environ.items() if name != "MYPYPATH"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
