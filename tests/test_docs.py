"""The pages under docs/: their examples run, their links lead somewhere, their tables are true."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.linalg
import scipy.special

from docs import numpy_support
from graphc.passes import pipeline, stabilise

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
TABLE = re.compile(r"(<!-- rewrites:[^\n]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)


class TypedIn(doctest.OutputChecker):
    """Compares outputs as if the examples had been typed into Python, whose name for that is <stdin>."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return super().check_output(want, re.sub(r"<doctest [^>]*>", "<stdin>", got), optionflags)


def examples(path: Path) -> doctest.DocTest:
    """The python blocks of a page as one session; everything else is blanked, line numbers stay."""
    text = path.read_text(encoding="utf-8")
    kept, position = [], 0
    for block in BLOCK.finditer(text):
        if block["language"] == "python":
            kept += [re.sub(r"[^\n]", "", text[position : block.start("body")]), block["body"]]
            position = block.end("body")
    return doctest.DocTestParser().get_doctest("".join(kept), {}, path.name, str(path), 0)


def links(path: Path) -> list[str]:
    """The files that a page links to; code is not looked at."""
    return LINK.findall(re.sub(r"`[^`\n]+`", "", BLOCK.sub("", path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "path", [p for p in PAGES if ">>>" in p.read_text(encoding="utf-8")], ids=lambda path: path.stem
)
def test_the_examples_of_a_page(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Its examples give what the page says and draw the pictures that it shows; --update-golden writes the pictures."""
    session = examples(path)
    monkeypatch.chdir(tmp_path)
    failures: list[str] = []
    doctest.DocTestRunner(TypedIn(), verbose=False, optionflags=doctest.ELLIPSIS).run(session, out=failures.append)
    if failures:
        pytest.fail("".join(failures), pytrace=False)
    for name in re.findall(r"!\[[^\]]*\]\(images/([\w.]+)\)", path.read_text(encoding="utf-8")):
        drawn, kept = tmp_path / name, path.parent / "images" / name
        if request.config.getoption("--update-golden"):
            kept.parent.mkdir(exist_ok=True)
            kept.write_bytes(drawn.read_bytes())
        # fonts and solvers differ a little from one machine to the next
        assert np.allclose(png_size(kept), png_size(drawn), rtol=0.1)
        assert kept.stat().st_size < 200_000


def png_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture, from its header."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_python_block_is_a_session(path: Path) -> None:
    """A block without prompts would not be run."""
    blocks = [b["body"] for b in BLOCK.finditer(path.read_text(encoding="utf-8")) if b["language"] == "python"]
    assert [body for body in blocks if not body.startswith(">>>")] == []


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.stem)
def test_links_lead_to_files(path: Path) -> None:
    assert [link for link in links(path) if not (path.parent / link).exists()] == []


def test_every_page_is_in_the_index() -> None:
    listed = set(links(ROOT / "docs" / "index.md"))
    assert {str(path.relative_to(ROOT / "docs")) for path in PAGES} - {"index.md"} == listed


def test_the_page_of_what_can_be_traced(request: pytest.FixtureRequest) -> None:
    """It is what the tables give; `make docs` writes it, and so does --update-golden."""
    found = numpy_support.page()
    if request.config.getoption("--update-golden"):
        numpy_support.PAGE.write_text(found, encoding="utf-8")
    assert numpy_support.PAGE.read_text(encoding="utf-8") == found, "run: make docs"


@pytest.mark.parametrize("room", [np, np.linalg, np.fft, scipy.special, scipy.linalg], ids=lambda m: m.__name__)
def test_the_page_names_every_function(room: ModuleType) -> None:
    parts = numpy_support.PAGE.read_text(encoding="utf-8").split("\n## ")
    heading = room.__name__ if room.__name__.startswith("scipy") else "NumPy"
    (part,) = [p for p in parts if p.startswith(f"{heading}\n")]
    prefix = f"{room.__name__.partition('.')[2]}." if room in (np.linalg, np.fft) else ""
    functions = [n for n in dir(room) if not n.startswith("_") and callable(getattr(room, n))]
    wanted = [n for n in functions if not isinstance(getattr(room, n), type) or room is not np]
    assert [n for n in wanted if f"`{prefix}{n}`" not in part] == []


def test_the_table_of_rewrites(request: pytest.FixtureRequest) -> None:
    """One row for each row and procedure of the stabilise pass; --update-golden writes them."""
    path = ROOT / "docs" / "passes.md"
    page = path.read_text(encoding="utf-8")
    rows = [row.name.rsplit(" -> ", 1) for row in (*stabilise.ROWS, *stabilise.PROCEDURES)]
    table = "\n| written | computed as |\n|---|---|\n" + "".join(f"| `{a}` | `{b}` |\n" for a, b in rows) + "\n"
    found = TABLE.search(page)
    assert found is not None
    if request.config.getoption("--update-golden"):
        path.write_text(page[: found.start(2)] + table + page[found.end(2) :], encoding="utf-8")
        return
    assert found[2] == table, "if the change is meant: pytest tests/test_docs.py --update-golden"


def test_the_passes_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| ([a-z]+) \|", page, re.MULTILINE)
    assert described[0] == "pass"
    assert [name for name in described if name not in ("pass", "written", "procedure")] == [
        one.name for one in pipeline.KERNEL_PIPELINE
    ]


def test_the_procedures_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(\w+)` \|", page.partition("| procedure |")[2], re.MULTILINE)
    assert sorted(described) == sorted(procedure.name for procedure in pipeline.PROCEDURES)
