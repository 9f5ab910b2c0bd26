"""How much memory a call takes: what `Compiled.memory` says before, and what the system counts in a fresh process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc.backends.numpy.llvm import entry
from graphc.errors import ShapeError

ROOT = Path(__file__).parents[1]

PROGRAM = """
import numpy as np, graphc

def chain(x):
    for k in range(20):
        x = abs(x * 1.01 - 0.01 * k)
    return x * 0.9 + 0.1

def pair(x, y):
    h = np.tanh(x) * y
    return h, np.sum(h * h), x - h

def resident(field):
    for line in open("/proc/self/status"):
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024

CASES = {
    "chain": (chain, 1, ()),
    "chain, donated": (chain, 1, 0),
    "two results": (pair, 2, ()),
    "one of them donated": (pair, 2, 1),
}
f, count, donated = CASES[NAME]
g = graphc.compile(f, *["f64[n]"] * count, donate_argnums=donated, kernels="llvm")
g(*[np.ones(1000) for _ in range(count)])
before = resident("VmRSS")
arrays = [np.full(N, 0.5 + k) for k in range(count)]
results = g(*arrays)
print(resident("VmHWM") - before, int(g.memory(n=N)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system tells how large a process was")
@pytest.mark.skipif(not entry.SUPPORTED, reason="arrays of this interpreter are not laid out as known")
@pytest.mark.parametrize("name", ["chain", "chain, donated", "two results", "one of them donated"])
def test_a_process_grows_by_what_is_said_before(name: str) -> None:
    size = 14_000_000  # 112 MB an array
    text = f"NAME, N = {name!r}, {size}\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=ROOT)
    grown, said = map(int, done.stdout.split())
    assert abs(grown - said) <= max(0.05 * said, 1 << 16)
    arrays = {"chain": 2, "chain, donated": 1, "two results": 4, "one of them donated": 3}[name]
    assert arrays * 8 * size <= said <= arrays * 8 * size + 10_000_000


def test_the_parts() -> None:
    f = graphc.compile(lambda x, a: (np.sum(np.exp(x) @ x.T) * a, x.T), "f64[n,m]", "f64[]", kernels="llvm")
    found = f.memory(n=100, m=50)
    assert found.arguments == 8 * 100 * 50 + 8
    assert found.results == 8 * 100 * 50
    assert found.temporaries >= 8 * 100 * 50
    assert found == found.arguments + found.results + found.temporaries
    assert pickle.loads(pickle.dumps(found)).results == found.results


@pytest.mark.parametrize("kernels", ["llvm", "ufunc", "none"])
def test_every_copy_that_is_returned_counts(kernels: str) -> None:
    f = graphc.compile(lambda x: (x, x, x.T, x[::2]), "f64[10,10]", kernels=kernels)
    assert f.memory().results == 3 * 800 + 400
    assert f.memory().arguments == 800


@pytest.mark.parametrize("kernels", ["llvm", "ufunc", "none"])
def test_what_lies_in_donated_memory_does_not(kernels: str) -> None:
    f = graphc.compile(lambda x, y: (x, x - y, x.T), "f64[10,10]", "f64[10,10]", donate_argnums=(0, 1), kernels=kernels)
    assert f.memory().results == 800


def test_the_arena_is_what_the_program_takes() -> None:
    f = graphc.compile(lambda x: np.sum((x @ x) @ x), "f64[n,n]", kernels="llvm")
    assert 2 * 8 * 300 * 300 <= f.memory(n=300).temporaries < 2.1 * 8 * 300 * 300


def test_sizes_have_to_be_given() -> None:
    f = graphc.compile(lambda x: x + 1, "f64[n,m]")
    for sizes in ({}, {"n": 1}, {"n": 1, "m": 2, "k": 3}):
        with pytest.raises(ShapeError, match=r"memory\(m=..., n=...\)"):
            f.memory(**sizes)


def test_a_size_that_has_no_name_is_refused() -> None:
    f = graphc.compile(lambda x: x + 1, "f64[3]")
    with pytest.raises(ShapeError, match=r"named sizes, of which there are none\n.*memory\(\)\n.*memory\(n=3\)"):
        f.memory(n=3)
