"""Compiled kernels on disk: kept, checked, bounded, and refused where others could put code."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import graphc
from graphc.backends.numpy import cache

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="access lists are not shown by os.stat")
NAME = cache.key("a kernel")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    cache._usable.cache_clear()
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "kernels"))
    yield tmp_path / "kernels"
    cache._usable.cache_clear()


def test_what_is_stored_is_found(folder: Path) -> None:
    assert cache.get(NAME) is None
    cache.put(NAME, b"code")
    assert cache.get(NAME) == b"code"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [p.name for p in folder.iterdir()] == [NAME + cache.SUFFIX]  # no temporary file stays


def test_keys_separate_their_parts() -> None:
    assert cache.key("ab", "c") != cache.key("a", "bc")


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "another's"])
def test_damaged_files_are_not_used(folder: Path, damage: str) -> None:
    cache.put(NAME, b"code" * 100)
    path = folder / (NAME + cache.SUFFIX)
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[50] ^= 1
    elif damage == "cut":
        content = content[:-1]
    elif damage == "empty":
        content = bytearray()
    else:
        cache.put(cache.key("other"), b"other")
        content = bytearray((folder / (cache.key("other") + cache.SUFFIX)).read_bytes())
    path.write_bytes(content)
    assert cache.get(NAME) is None
    cache.put(NAME, b"code")
    assert cache.get(NAME) == b"code"


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    cache.put(NAME, b"code")
    path = folder / (NAME + cache.SUFFIX)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.get(NAME) is None


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_what_is_no_file_is_not_used(folder: Path, what: str) -> None:
    cache.put(NAME, b"code")
    path = folder / (NAME + cache.SUFFIX)
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes in folders")
    else:
        os.mkfifo(path, 0o600)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert cache.get(NAME) is None  # and nobody waits for the other end of a pipe
    cache.put(NAME, b"code")
    assert cache.get(NAME) == (None if what == "folder" else b"code")
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_a_folder_of_the_user(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.setenv("GRAPHC_CACHE_DIR", os.path.join("~", "kernels"))
    assert cache.usable() == folder.resolve() / "kernels"


def test_files_that_others_can_write_are_not_used(folder: Path) -> None:
    cache.put(NAME, b"code")
    (folder / (NAME + cache.SUFFIX)).chmod(0o666)
    assert cache.get(NAME) is None


@pytest.mark.parametrize("where", ["itself", "above"])
def test_folders_that_others_can_write_are_refused_once(folder: Path, where: str) -> None:
    folder.mkdir(mode=0o700)
    (folder if where == "itself" else folder.parent).chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others can write"):
        cache.put(NAME, b"code")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get(NAME) is None
    assert list(folder.iterdir()) == []
    folder.parent.chmod(0o755)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    cache._usable.cache_clear()
    with pytest.warns(RuntimeWarning, match="cannot be made"):
        assert cache.get(NAME) is None
    cache._usable.cache_clear()


def test_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", "off")
    assert cache.usable() is None


def test_the_files_used_longest_ago_go(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 10_000)
    names = [cache.key(str(k)) for k in range(12)]
    for k, name in enumerate(names):
        cache.put(name, bytes(900))
        path = folder / (name + cache.SUFFIX)
        if path.exists():
            os.utime(path, (k, k))
        if k == 5:
            cache.get(names[0])  # used again: now it is young
    kept = {name for name in names if cache.get(name) is not None}
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 10_000
    assert names[-1] in kept
    assert names[0] in kept
    assert names[1] not in kept


def test_the_folder_is_not_looked_through_for_every_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full folder has tens of thousands of files: looking at each takes longer than compiling a kernel."""
    looks: list[Path] = []
    monkeypatch.setattr(cache, "_trim", looks.append)
    monkeypatch.setattr(cache._since, "written", 0)
    for k in range(1000):
        cache.put(cache.key(str(k)), b"code")
    assert 1 <= len(looks) <= 20
    looks.clear()
    cache.put(NAME, bytes(cache.LIMIT // cache.SHARE + 1))
    assert len(looks) == 1


SCRIPT = """
import os
os.environ["GRAPHC_KEPT_BYTES"] = "0"  # whose code is compiled apart
import numpy as np, graphc
from graphc.backends.numpy.llvm import machine
compiled = 0
assemble = machine.assemble
def counted(*args):
    global compiled
    compiled += 1
    return assemble(*args)
import graphc.backends.numpy.llvm.code as code
code.assemble = counted
f = graphc.compile(lambda x: np.tanh(x * 3) + np.exp(x), "f64[2]")
print(repr(f(np.array([0.0, 1.0])).tolist()), compiled)
"""


def test_the_next_process_does_not_compile(folder: Path) -> None:
    runs = [
        subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    first, second = (run.rsplit(" ", 1) for run in runs)
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("2\n", "0\n")  # the kernel, and the function around it


def test_processes_at_the_same_time(folder: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    results = {p.communicate(timeout=120)[0].rsplit(" ", 1)[0] for p in processes}
    assert all(p.returncode == 0 for p in processes)
    assert len(results) == 1


def test_without_llvmlite_kernels_run_by_numpy() -> None:
    script = (
        "import sys; sys.modules['llvmlite'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'llvmlite' else find(name, *a)\n"
        "import numpy as np, graphc\n"
        "f = graphc.compile(lambda x: np.tanh(x * 3) + np.exp(x), 'f64[n]')\n"
        "assert len(f.fusion.groups) == 1 and f.options.generator == 'ufunc'\n"
        "print(f(np.zeros(2)).tolist())\n"
        "try:\n    graphc.compile(np.tanh, 'f64[n]', kernels='llvm')\n"
        "except graphc.errors.UnsupportedError as error:\n    print(error.fix)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("[1.0, 1.0]\npip install llvmlite; ")


def test_the_same_kernel_is_compiled_once_in_a_process() -> None:
    a = graphc.compile(lambda x: np.tanh(x * 3) + np.exp(x), "f64[n]", kernels="llvm")
    b = graphc.compile(lambda y: np.tanh(y * 3) + np.exp(y), "f64[n]", kernels="llvm")
    np.testing.assert_array_equal(a(np.ones(3)), b(np.ones(3)))
