"""What the README and CONTRIBUTING tell people to type works."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

import pytest

PAGES = ("README.md", "CONTRIBUTING.md")
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
SHELLS = {"sh", "bash", "shell", "console"}


def commands(page: str) -> list[str]:
    """The lines of shell blocks, without prompt and comment, and inline code."""
    typed: list[str] = []
    for block in FENCE.finditer(page):
        if block["language"] in SHELLS:
            typed += [re.sub(r"^\$ |\s*#.*$", "", line).strip() for line in block["body"].splitlines()]
    return typed + INLINE.findall(FENCE.sub("", page))


def only_python(page: str) -> str:
    """The page with everything outside its python blocks blanked, line numbers kept."""
    kept, position = [], 0
    for block in FENCE.finditer(page):
        if block["language"] == "python":
            kept += [re.sub(r"[^\n]", "", page[position : block.start("body")]), block["body"]]
            position = block.end("body")
    return "".join(kept)


@pytest.fixture(params=PAGES)
def page(request: pytest.FixtureRequest, root: Path) -> str:
    return (root / request.param).read_text(encoding="utf-8")


def test_its_make_targets_exist(page: str, root: Path) -> None:
    named = {word for line in commands(page) for word in re.findall(r"\bmake ([a-z][a-z-]*)", line)}
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    assert named - set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)) == set()


def test_its_scripts_exist(page: str, root: Path) -> None:
    named = {path for line in commands(page) for path in re.findall(r"\bpython3? ([\w/.-]+\.py)\b", line)}
    assert {path for path in named if not (root / path).is_file()} == set()


def test_the_scripts_of_the_makefile_exist(root: Path) -> None:
    recipes = re.findall(r"^\t.*", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    named = {path for line in recipes for path in re.findall(r"[\w/.-]+\.py\b", line)}
    assert named
    assert {path for path in named if not (root / path).is_file()} == set()


def test_its_extras_exist(page: str, root: Path) -> None:
    lists = [lst for line in commands(page) for lst in re.findall(r"(?:graphc|\.)\[([\w,-]+)\]", line)]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {name for lst in lists for name in lst.split(",")} - set(project["optional-dependencies"]) == set()


def test_the_examples_of_the_readme(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks run in order in one session, as a reader types them; a block without prompts has to parse."""
    text = only_python((root / "README.md").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    failures: list[str] = []
    examples = doctest.DocTestParser().get_doctest(text, {}, "README.md", str(root / "README.md"), 0)
    assert examples.examples
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(examples, out=failures.append)
    if failures:
        pytest.fail("".join(failures), pytrace=False)


def test_the_plain_python_of_the_readme_parses(root: Path) -> None:
    for block in FENCE.finditer((root / "README.md").read_text(encoding="utf-8")):
        if block["language"] == "python" and ">>>" not in block["body"]:
            compile(block["body"], "README.md", "exec")


def test_what_the_page_readers_see() -> None:
    page = "a\n```sh\n$ make demo  # first\n```\n`make test`\n```python\n>>> 1\n1\n```\nend `x`\n"
    assert commands(page) == ["make demo", "make test", "x"]
    assert only_python(page) == "\n" * 6 + ">>> 1\n1\n"
