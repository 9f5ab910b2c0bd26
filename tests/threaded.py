"""What tests of threads share: arrays, their bits, and processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np


def values(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def flat(results: Any) -> list[Any]:
    return list(results) if isinstance(results, tuple) else [results]


def bits(results: Any) -> list[bytes]:
    return [np.asarray(r).tobytes() for r in flat(results)]


def fresh(script: str, **variables: str) -> str:
    """What a script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd=os.getcwd(),
        env={**os.environ, **variables},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
