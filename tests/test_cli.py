"""The command line: what it prints, what it exits with, and what it refuses."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import graphc
from graphc.cli import app, running
from graphc.text import parse

MODEL = '''\
import numpy as np

print("loading")
rates = np.ones(3)

def loss(x, w):
    """Logistic loss."""
    return np.sum(np.log(1 + np.exp(x @ w)))

def tidy(x):
    return (x * 1 + 0 * 2) * 1

def scale(x, factor=2.0):
    return {"scaled": x * factor, "pair": (x + 1, x.sum())}

def linear(p, x):
    return x @ p["w"] + p["b"]

def branch(x):
    if x > 0:
        return x
    return -x

def crash(x):
    return x / (1 // 0)

def leave(x):
    raise SystemExit

class Net:
    @staticmethod
    def forward(x):
        return np.tanh(x)

def soft(x):
    e = np.exp(x)
    h = np.log(1 + e)
    k = h * 1
    return np.sum(k * e)

def rounds(x):
    h = np.exp(x)
    for _ in range(5):
        h = np.sin(h) * 2
    return np.sum(h)

def nearest(x, points, order, f):
    return np.sum((x - points) ** 2) * order + f

def options(x, *, backend=1.0, exact_order=1.0):
    return x * backend * exact_order

def named(*, w, x):
    return np.sum(w * x)

def root(x):
    return np.sqrt(-x)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder, with the module `model` in it."""
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("COLUMNS", "80")
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def call(folder: Path) -> Callable[..., Any]:
    """Run a command in this process: its exit code, stdout and stderr."""

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, list(words), prog_name="graphc")

    return run


# Golden outputs


@pytest.mark.parametrize("command", ["", "cost", "dump", "verify", "run"])
def test_help(command: str, call: Callable[..., Any], golden: Callable[[str, str], None]) -> None:
    done = call(*command.split(), "--help")
    assert done.exit_code == 0
    if command:
        assert f"graphc {command} model" in done.stdout
    # the table of options looks different from one version of Typer to the next
    ours, _, table = done.stdout.partition("\nArguments:\n" if command else "\nOptions:\n")
    golden(f"cli/help_{command or 'graphc'}", ours.partition("\n")[2])
    options = {
        "": ["--version", "cost", "dump", "verify", "run"],
        "dump": ["--args", "--after", "--diff", "--fmt", "--grad"],
    }
    for word in [*options.get(command, ["--args", "--traceback"]), "--help"]:
        assert f" {word}" in table


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("traced", ["model:loss", "--args", "f64[n,3]", "f64[3]"]),
        ("file", ["./model.py:tidy", "--args", "f64[3]"]),
        ("after", ["model:loss", "--args", "f64[n,3]", "f64[3]", "--after", "stabilise"]),
        ("grad", ["model:loss", "--args", "f64[2,3]", "f64[3]", "--grad", "1", "--after", "stabilise"]),
        ("second_order", ["model:Net.forward", "--args", "2.5", "--grad", "0/2", "--after", "stabilise"]),
        ("diff", ["model:tidy", "--args", "f64[3]", "--diff"]),
        ("diff_after", ["model:loss", "--args", "f64[n,3]", "f64[3]", "--diff", "--after", "stabilise"]),
        ("diff_names", ["model:soft", "--args", "f64[n]", "--diff"]),
        ("tree", ["model:linear", "--args", '{"w": "f32[3]", "b": 0.5}', "x=f32[n,3]"]),
        ("dot", ["model:tidy", "--args", "f64[3]", "--fmt", "dot"]),
        ("fold", ["model:rounds", "--args", "f64[n]", "--fold", "repeat", "--depth", "1"]),
        ("only", ["model:rounds", "--args", "f64[n]", "--only", "exp", "--only", "%h.3"]),
        ("around", ["model:rounds", "--args", "f64[n]", "--grad", "0", "--around", "%h.3", "--radius", "1"]),
    ],
)
def test_dump(name: str, words: list[str], call: Callable[..., Any], golden: Callable[[str, str], None]) -> None:
    done = call("dump", *words)
    assert done.exit_code == 0, done.stderr
    golden(f"cli/dump_{name}", done.stdout)


def test_a_dump_can_be_read_back(call: Callable[..., Any], folder: Path) -> None:
    done = call("dump", "model:tidy", "--args", "f64[3]")
    assert parse(done.stdout) == graphc.trace(sys.modules["model"].tidy, "f64[3]")
    assert done.stderr == "loading\n"  # what the module prints stays out of the answer


def test_dump_as_json(call: Callable[..., Any]) -> None:
    assert json.loads(call("dump", "model:tidy", "--args", "f64[3]", "--fmt", "json").stdout)["name"] == "tidy"


def test_equal_nodes_keep_their_numbers_in_a_diff(call: Callable[..., Any]) -> None:
    words = ["dump", "model:loss", "--args", "f64[2,3]", "f64[3]", "--diff", "--after", "stabilise"]
    lines = call(*words).stdout.split("\n")
    assert [line for line in lines if line[:1] == "+" and "softplus" in line]
    assert not [line for line in lines if line[:1] in "+-" and "matmul" in line]


def test_cost(call: Callable[..., Any], golden: Callable[[str, str], None]) -> None:
    words = ["cost", "model:loss", "--args", "f64[n,k]", "f64[k]", "--grad", "1"]
    done = call(*words)
    assert done.exit_code == 0, done.stderr
    golden("cli/cost", done.stdout)
    content = json.loads(call(*words, "--size", "n=100", "--size", "k=3", "--json", "-").stdout)
    assert content["total"]["mul"] == 2 * 100 * 3
    wrong = call(*words, "--size", "rows=3")
    assert (wrong.exit_code, "no size called rows" in wrong.stderr) == (1, True)


def test_run_prints_a_table(call: Callable[..., Any], golden: Callable[[str, str], None]) -> None:
    done = call("run", "model:scale", "--args", "[1.0, 2.0]", "factor=3")
    assert done.exit_code == 1  # a list of numbers is a pytree, not an array
    done = call("run", "model:scale", "--args", "f64[n]", "--size", "n=2", "--seed", "7")
    assert done.exit_code == 0, done.stderr
    golden("cli/run", "\n".join(line.rstrip() for line in done.stdout.split("\n")))


def test_run_reads_and_writes_arrays(call: Callable[..., Any], folder: Path) -> None:
    x, w = np.arange(6.0).reshape(2, 3), np.array([1.0, -1.0, 0.5])
    np.save("x.npy", x)
    np.savez("data.npz", w=w, b=np.float64(2.0))
    done = call("run", "model:loss", "--args", "x.npy", "data.npz:w", "--out", "loss.npy")
    assert done.exit_code == 0, done.stderr
    assert np.allclose(np.load("loss.npy"), np.sum(np.log1p(np.exp(x @ w))))
    done = call("run", "model:linear", "--args", "data.npz", "x.npy", "--out", "y.npz")
    assert done.exit_code == 0, done.stderr
    assert np.allclose(np.load("y.npz")["result"], x @ w + 2.0)
    done = call("run", "model:scale", "--args", "f32[3]", "--out", "s.npz")
    assert sorted(np.load("s.npz")) == ["result_pair_0", "result_pair_1", "result_scaled"]


def test_run_is_the_same_for_a_seed(call: Callable[..., Any]) -> None:
    outputs = {call("run", "model:tidy", "--args", "f64[3]", "--seed", seed).stdout for seed in ("1", "1", "2")}
    assert len(outputs) == 2


def test_version(call: Callable[..., Any]) -> None:
    assert call("--version").stdout == f"graphc {graphc.__version__}\n"


# Verification


class Report:
    """What `verify` returns, as far as the command reads it."""

    def __init__(self, verdict: str) -> None:
        self.verdict = verdict

    def __str__(self) -> str:
        return f"f: {self.verdict}"

    def to_json(self) -> str:
        return json.dumps({"verdict": self.verdict})


@pytest.mark.parametrize(
    ("verdict", "code"), [("proved", 0), ("certified", 0), ("refuted", 1), ("checked", 2), ("undecided", 2)]
)
def test_the_exit_code_is_the_verdict(
    verdict: str, code: int, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = types.ModuleType("graphc.verification")
    room.verify = lambda fn, **options: Report(verdict)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "graphc.verification", room)
    done = call("verify", "model:tidy", "--args", "f64[3]", "--json", "report.json")
    assert done.exit_code == code
    assert done.stdout == f"f: {verdict}\n"
    assert json.loads(Path("report.json").read_text()) == {"verdict": verdict}
    done = call("verify", "model:tidy", "--args", "f64[3]", "--json", "-")
    assert json.loads(done.stdout) == {"verdict": verdict}


def test_verify(call: Callable[..., Any]) -> None:
    done = call("verify", "model:tidy", "--args", "f64[]", "--order", "1")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("tidy: proved")


def test_verify_by_some_inputs_without_edges(call: Callable[..., Any]) -> None:
    specs = ['{"w": "f64[n]", "b": "f64[]"}', "f64[n]"]
    done = call("verify", "model:linear", "--args", *specs, "--order", "1", "--json", "r.json")
    report = json.loads(Path("r.json").read_text())
    assert {entry["inputs"][0] for entry in report["entries"]} == {"p_b", "p_w", "x"}
    assert report["edges"]
    words = ["--wrt", "x", "--wrt", "p_b", "--no-edges", "--size", "n=3", "--points", "2", "--budget", "0"]
    done = call("verify", "model:linear", "--args", *specs, "--order", "1", *words, "--json", "r.json")
    assert done.exit_code == 0, done.stderr
    report = json.loads(Path("r.json").read_text())
    assert {entry["inputs"][0] for entry in report["entries"]} == {"p_b", "x"}
    assert not report["edges"]


def test_the_domain_of_verify(call: Callable[..., Any]) -> None:
    """Where the function has no values, nothing can be found out."""
    for domain, code in (("real", 0), ("positive", 2)):
        done = call("verify", "model:root", "--args", "f64[]", "--order", "1", "--no-edges", "--domain", domain)
        assert done.exit_code == code, done.stdout
    done = call("verify", "model:root", "--args", "f64[]", "--domain", "positiv")
    assert done.exit_code == 1
    assert "there is no domain 'positiv'" in done.stderr


def test_verify_leaves_the_functions_keywords_to_the_function(call: Callable[..., Any]) -> None:
    specs = ["f64[2]", "points=f64[2]", "order=2.0", "f=f64[]"]
    done = call("verify", "model:nearest", "--args", *specs, "--order", "1")
    assert done.exit_code == 0, done.stderr
    assert "points" in done.stdout


def test_keywords_may_have_the_names_of_the_compilers_options(call: Callable[..., Any]) -> None:
    for words in (["2.0", "backend=3.0"], ["x=2.0", "backend=3.0"], ["2.0", "backend=1.5", "exact_order=2.0"]):
        done = call("run", "model:options", "--args", *words)
        assert done.exit_code == 0, done.stderr
        assert "6." in done.stdout
    done = call("cost", "model:options", "--args", "f64[3]", "backend=f64[]")
    assert done.exit_code == 0, done.stderr
    assert "mul 3" in done.stdout


@pytest.mark.parametrize(
    ("args", "grad"),
    [
        (["f64[2,3]", "f64[3]"], "1"),
        (["f64[2,3]", "f64[3]"], "-1"),
        (["f64[2,3]", "f64[3]"], "w"),
        (["w=f64[3]", "x=f64[2,3]"], "1"),
        (["w=f64[3]", "x=f64[2,3]"], "w"),
        (["f64[2,3]", "w=f64[3]"], "w/1"),
    ],
)
def test_derivatives_by_number_and_by_name(args: list[str], grad: str, call: Callable[..., Any]) -> None:
    expected = call("dump", "model:loss", "--args", "f64[2,3]", "f64[3]", "--grad", "1")
    done = call("dump", "model:loss", "--args", *args, "--grad", grad)
    assert (done.exit_code, done.stdout) == (0, expected.stdout)
    both = call("dump", "model:loss", "--args", *args, "--grad", "x,w")
    assert (both.exit_code, "-> (f64[2,3], f64[3])" in both.stdout) == (0, True)


# Usage errors

# what Typer says by itself, in other words from one version to the next
TYPERS_OWN = {"no_args", "unknown_option", "unknown_format", "unknown_command", "bad_order", "order_too_high"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_colon", ["dump", "model"]),
        ("missing_module", ["dump", "modle:loss"]),
        ("missing_file", ["dump", "modle.py:loss"]),
        ("not_a_module", ["dump", "../x:loss"]),
        ("odd_module", ["dump", "a-b:loss"]),
        ("missing_function", ["dump", "model:los"]),
        ("missing_attribute", ["dump", "model:Net.backward"]),
        ("not_a_function", ["dump", "model:rates"]),
        ("too_few_arguments", ["dump", "model:loss", "--args", "f64[3]"]),
        ("unknown_keyword", ["dump", "model:tidy", "--args", "y=f64[3]"]),
        ("bad_spec", ["dump", "model:tidy", "--args", "f64[3"]),
        ("bad_dtype", ["dump", "model:tidy", "--args", "float[3]"]),
        ("bad_json", ["dump", "model:tidy", "--args", '{"w": ']),
        ("deep_json", ["dump", "model:tidy", "--args", "[" * 100_000]),
        ("no_args", ["dump", "model:tidy", "--args"]),
        ("unknown_pass", ["dump", "model:tidy", "--args", "f64[3]", "--after", "simplfy"]),
        ("bad_grad", ["dump", "model:tidy", "--args", "f64[3]", "--grad", "x y"]),
        ("grad_order", ["dump", "model:tidy", "--args", "f64[3]", "--grad", "0/x"]),
        ("grad_out_of_range", ["dump", "model:loss", "--args", "f64[2,3]", "f64[3]", "--grad", "2"]),
        ("grad_of_a_default", ["dump", "model:scale", "--args", "f64[3]", "--grad", "factor"]),
        ("grad_of_no_position", ["dump", "model:named", "--args", "w=f64[3]", "x=f64[3]", "--grad", "w"]),
        ("diff_as_json", ["dump", "model:tidy", "--args", "f64[3]", "--diff", "--fmt", "json"]),
        ("view_as_diff", ["dump", "model:tidy", "--args", "f64[3]", "--diff", "--fold", "all"]),
        ("view_as_dot", ["dump", "model:tidy", "--args", "f64[3]", "--only", "mul", "--fmt", "dot"]),
        ("unknown_option", ["dump", "model:tidy", "--argz", "f64[3]"]),
        ("unknown_format", ["dump", "model:tidy", "--args", "f64[3]", "--fmt", "svg"]),
        ("unknown_command", ["dmp", "model:tidy"]),
        ("no_folder", ["dump", "model:tidy", "--args", "f64[3]", "-o", "nowhere/x.txt"]),
        ("a_folder", ["dump", "model:tidy", "--args", "f64[3]", "-o", "."]),
        ("size_not_given", ["run", "model:tidy", "--args", "f64[n]"]),
        ("bad_size", ["run", "model:tidy", "--args", "f64[n]", "--size", "n=-1"]),
        ("absurd_size", ["run", "model:tidy", "--args", "f64[n,n]", "--size", "n=1000000000"]),
        ("missing_array", ["run", "model:tidy", "--args", "x.npy"]),
        ("bad_ending", ["run", "model:tidy", "--args", "f64[3]", "--out", "x.txt"]),
        ("bad_order", ["verify", "model:tidy", "--args", "f64[3]", "--order", "0"]),
        ("unknown_input", ["verify", "model:loss", "--args", "f64[2,3]", "f64[3]", "--wrt", "v"]),
        ("order_too_high", ["verify", "model:tidy", "--args", "f64[3]", "--order", "3"]),
    ],
)
def test_usage_errors(
    name: str, words: list[str], call: Callable[..., Any], folder: Path, golden: Callable[[str, str], None]
) -> None:
    done = call(*words)
    assert done.exit_code == 64
    assert done.stdout == ""
    text = done.stderr.replace("loading\n", "").replace(str(folder), "FOLDER").replace(str(folder.parent), "PARENT")
    assert text.startswith("graphc: ")
    assert "\n  fix  " in text
    if name not in TYPERS_OWN:
        golden(f"cli/usage_{name}", text)


def test_no_command_at_all_shows_the_help(call: Callable[..., Any]) -> None:
    done = call()
    assert done.exit_code == 64
    assert done.stderr.startswith("Usage: graphc")


# Errors in the user's code


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("branch", "TraceError: `if` needs the value of %2, which is known only when the graph runs\n"),
        ("branch", "\n  at        model.py:20   if x > 0:\n"),
        ("crash", "ZeroDivisionError: integer division or modulo by zero\n"),
        ("crash", "\n  at        model.py:25   return x / (1 // 0)\n"),
        ("leave", "GraphcError: the program ends itself when it is imported or traced\n"),
        ("leave", "\n  at        model.py:28   raise SystemExit\n"),
    ],
)
def test_an_error_shows_the_users_line(function: str, text: str, call: Callable[..., Any]) -> None:
    done = call("dump", f"model:{function}", "--args", "f64[]")
    assert done.exit_code == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    done = call("dump", f"model:{function}", "--args", "f64[]", "--traceback")
    assert done.exit_code == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("import nothing_like_it", "ModuleNotFoundError: No module named 'nothing_like_it'\n  at        broken.py:1 "),
        ("1 / 0", "ZeroDivisionError: division by zero\n  at        broken.py:1   1 / 0\n"),
        ("def f(:", "SyntaxError: invalid syntax\n"),
        ("import sys\nsys.exit(0)", "actual    sys.exit(0)\n  at        broken.py:2   sys.exit(0)\n"),
    ],
)
@pytest.mark.parametrize("target", ["broken:f", "broken.py:f"])
def test_an_error_while_the_module_loads(
    code: str, text: str, target: str, call: Callable[..., Any], folder: Path
) -> None:
    (folder / "broken.py").write_text(code)
    done = call("dump", target, "--args", "f64[]")
    assert done.exit_code == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failure_of_graphc_itself_shows_everything(call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphc.cli.output.emit", float)  # fails, in none of the user's lines
    done = call("dump", "model:tidy", "--args", "f64[3]")
    assert done.exit_code == 1
    assert "please report this" in done.stderr
    assert "Traceback" in done.stderr


# Files


class Evil:
    """An object whose pickle runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


def header(shape: str) -> bytes:
    """A .npy file that announces a shape, and has no data."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def evil_array() -> bytes:
    np.save("evil.npy", np.array([Evil()], object), allow_pickle=True)
    return Path("evil.npy").read_bytes()


@pytest.mark.parametrize(
    ("content", "actual"),
    [
        (lambda: pickle.dumps(Evil()), "magic string"),
        (evil_array, "it holds Python objects, which are never loaded: they could run code"),
        (lambda: header("(10**12,)"), "malformed node"),
        (lambda: header("(1000000000000, 8)"), "the file is cut off: 64000000000000 bytes announced, 0 there"),
        (lambda: header("(-1,)"), ""),
        (lambda: header("(__import__('os').system('touch pwned'),)"), ""),
        (lambda: b"", ""),
        (lambda: b"\x93NUMPY\x01\x00\xff\xff{", ""),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_arrays(
    content: Callable[[], bytes], actual: str, packed: bool, call: Callable[..., Any], folder: Path
) -> None:
    name = "x.npz" if packed else "x.npy"
    if packed:
        with zipfile.ZipFile(name, "w") as archive:
            archive.writestr("x.npy", content())
    else:
        Path(name).write_bytes(content())
    done = call("run", "model:tidy", "--args", f"{name}:x" if packed else name)
    assert done.exit_code == 64
    assert f"{name} cannot be read" in done.stderr
    assert actual in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("pwned").exists()


def test_a_file_that_is_no_archive(call: Callable[..., Any], folder: Path) -> None:
    Path("x.npz").write_bytes(b"PK\x03\x04 no more")
    assert call("run", "model:tidy", "--args", "x.npz:x").exit_code == 64
    np.savez("y.npz", x=np.ones(3))
    done = call("run", "model:tidy", "--args", "y.npz:z")
    assert done.exit_code == 64
    assert "y.npz has no array 'z'" in done.stderr


def test_files_are_written_whole_or_not_at_all(
    call: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("dump", "model:tidy", "--args", "f64[3]", "-o", "graph.txt").stdout == ""
    first = Path("graph.txt").read_text()
    assert first.startswith("graph tidy(")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    done = call("dump", "model:loss", "--args", "f64[2,3]", "f64[3]", "-o", "graph.txt")
    assert done.exit_code == 1
    assert "cannot write" in done.stderr
    assert "disk full" in done.stderr
    assert Path("graph.txt").read_text() == first
    assert not list(folder.glob(".*.part"))


def test_a_link_is_followed_and_a_device_is_kept(call: Callable[..., Any], folder: Path) -> None:
    Path("real.txt").write_text("old")
    Path("link.txt").symlink_to("real.txt")
    assert call("dump", "model:tidy", "--args", "f64[3]", "-o", "link.txt").exit_code == 0
    assert Path("link.txt").is_symlink()
    assert Path("real.txt").read_text().startswith("graph tidy(")
    assert call("dump", "model:tidy", "--args", "f64[3]", "-o", os.devnull).exit_code == 0
    assert not Path(os.devnull).is_file()


# Words


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], []),
        (["f", "--args", "a", "b"], ["f", "--args=a", "--args=b"]),
        (["--args", "a", "--diff", "f"], ["--args=a", "--diff", "f"]),
        (["f", "--args", "-1", "-.5", "-o", "x"], ["f", "--args=-1", "--args=-.5", "-o", "x"]),
        (["f", "--args=a", "b"], ["f", "--args=a", "b"]),
    ],
)
def test_one_args_takes_several_words(words: list[str], expected: list[str]) -> None:
    assert running.spread(words) == expected


# A real process


def process(folder: Path, root: Path, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "graphc", *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_dump_in_a_process(folder: Path, root: Path) -> None:
    done = process(folder, root, "dump", "model:tidy", "--args", "f64[3]", "--diff")
    assert (done.returncode, done.stderr) == (0, "loading\n")
    assert done.stdout.startswith("== ")
    assert "\x1b" not in done.stdout  # no colours where nobody sees them


def test_run_in_a_process(folder: Path, root: Path) -> None:
    done = process(folder, root, "run", "model.py:scale", "--args", "f64[2]", "--out", "out.npz")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.split("\n"))) <= 80
    assert "\x1b" not in done.stdout
    assert (folder / "out.npz").is_file()


def test_verify_in_a_process(folder: Path, root: Path) -> None:
    done = process(folder, root, "verify", "model:tidy", "--args", "f64[]", "--order", "1", "--json", "r.json")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "r.json").read_text())["verdict"] == "proved"


def test_errors_in_a_process(folder: Path, root: Path) -> None:
    assert process(folder, root, "dump", "nothing:f").returncode == 64
    done = process(folder, root, "dump", "model:branch", "--args", "f64[]")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early(folder: Path, root: Path) -> None:
    command = f"{sys.executable} -m graphc dump model:loss --args 'f64[2,3]' 'f64[3]' --grad 0/2 | true"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
