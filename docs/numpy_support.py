"""Writes docs/numpy-support.md from the tables of graphc: `make docs`.

What is supported is what graphc.numpy and graphc.scipy show; limits stand in the docstrings, after their first line;
the rest comes from the tables of refusals, whose texts the errors show too.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import graphc.numpy as gnp
import graphc.scipy.linalg
import graphc.scipy.special
from graphc.numpy import alternatives
from graphc.numpy.alternatives import Refused
from graphc.scipy import alternatives as of_scipy

PAGE: Final = Path(__file__).with_name("numpy-support.md")
COLUMNS: Final = ("supported", "as it is", "use instead", "not yet")

# Subjects in the order of the page, and the modules of graphc.numpy whose functions belong to each.
SUBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "Elementwise functions": ("elementwise", "ufuncs", "bits"),
    "Sums, extremes and averages": ("reductions", "statistics", "missing"),
    "Statistics and counting": ("quantiles", "covariance", "histograms"),
    "Searching and sorting": ("sorting",),
    "Sets": (),
    "Comparison of arrays": ("closeness",),
    "Making arrays": ("making", "ranges", "diagonals"),
    "Shape": ("shaping", "arranging", "padding"),
    "Joining and splitting": ("joining",),
    "Selecting elements": ("indexing", "masking", "positions"),
    "Positions": (),
    "Assignment in place": ("updates", "assignment"),
    "Products": ("products", "vectors", "einstein"),
    "Linear algebra": ("norms", "linalg"),
    "Differences, integrals, interpolation": ("calculus",),
    "Polynomials": ("polynomials",),
    "Windows": ("windows",),
    "Fourier transforms": ("fft",),
    "Frequencies": (),
    "Functions of functions": ("mapping",),
    "Questions about types": ("queries",),
    "Floating point": (),
    "Complex results": (),
    "Arrays and iterators of other kinds": (),
    "Files and text": (),
    "Memory": (),
    "Dates": (),
    "Settings and information": (),
}
SPECIAL: Final[dict[str, tuple[str, ...]]] = {
    "Error functions, integrals and the normal distribution": ("elementary",),
    "Gamma and beta functions": ("gammas",),
    "Bessel functions and their kin": ("bessel",),
    "Orthogonal polynomials": ("orthogonal",),
    "Entropies, losses and transforms": ("entropies",),
    "Sums of exponentials": ("sums",),
    "Angles in degrees": ("angles",),
    "Distribution functions": (),
    "Elliptic functions": (),
    "Other functions": (),
    "Settings and errors": (),
}

LINALG: Final[dict[str, tuple[str, ...]]] = {
    "Linear systems": ("systems",),
    "Factorisations": ("factorisations",),
    "Eigenvalues": (),
    "Structured matrices": ("structured",),
}

HEAD: Final = """# What of NumPy and SciPy can be traced

<!-- written by `make docs` from the tables in graphc/numpy and graphc/scipy: change those -->

Every public function of NumPy, `scipy.special` and `scipy.linalg`, and every method of NumPy's arrays:

- **supported**: call it as `np.f`, as `scipy.special.f` where that is a ufunc, or anywhere as `graphc.numpy.f` and
  `graphc.scipy.special.f`. The value is NumPy's; what deviates is said here and in the function's `help`.
- **as it is**: NumPy's own serves, since it takes no traced values, or only looks at their types.
- **use instead**: it is refused by name, and the error says what to write.
- **not yet**: it is refused by name, and may come.

A test calls each of them on traced values, and holds the result to NumPy's or to the refusal. Every ufunc has
`dtype=`, `casting=`, `signature=` and its methods `reduce`, `accumulate`, `reduceat` and `outer`; `where=` needs `out=`
beside it, without which elements would be left without a value. Reductions take `where=` and `initial=`. Dtypes are
booleans, integers and real floats.
"""


def summary(text: str | None) -> tuple[str, str]:
    """The first line of a docstring, and the paragraphs after it that are no example and no source."""
    first, *rest = inspect.cleandoc(text or "").split("\n\n")
    notes = [" ".join(p.split()) for p in rest if not p.lstrip().startswith((">>>", "See ", "Reference"))]
    return " ".join(first.split()), " ".join(n for n in notes if not n.startswith("As `numpy"))


class Row:
    """One subject: what is supported, with notes; what serves as it is; what is refused."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.supported: dict[str, str] = {}
        self.plain: list[str] = []
        self.refused = Refused()

    def counts(self) -> Counter[str]:
        numbers = (len(self.supported), len(self.plain), len(self.refused.instead), len(self.refused.not_yet))
        return Counter(dict(zip(COLUMNS, numbers, strict=True)))


def homes(rooms: Iterable[Any]) -> dict[str, str]:
    """The module that shows each name."""
    return {name: room.__name__.rpartition(".")[2] for room in rooms for name in room.__all__}


def rows(
    subjects: Mapping[str, tuple[str, ...]],
    functions: Mapping[str, Any],
    home: Mapping[str, str],
    refused: Mapping[str, Refused],
    plain: Mapping[str, Iterable[str]],
) -> Iterator[Row]:
    """The subjects with what belongs to each."""
    places = {module: title for title, modules in subjects.items() for module in modules}
    found = {title: Row(title) for title in (*subjects, *refused, *plain)}
    for name, function in functions.items():
        room = name.partition(".")[0]
        place = places[home[name.rpartition(".")[2]] if room not in ("linalg", "fft") else room]
        found[place].supported[name] = summary(function.__doc__)[1]
    for title, one in refused.items():
        found[title].refused = one
    for title, names in plain.items():
        found[title].plain += names
    return (row for row in found.values() if row.counts().total())


def numpy_functions() -> dict[str, Any]:
    """Every function that graphc.numpy shows, by the name that NumPy has for it."""
    named = {n: getattr(gnp, n) for n in gnp.__all__ if n not in ("fft", "linalg", "at")}
    named["lib.stride_tricks.sliding_window_view"] = named.pop("sliding_window_view")
    for room in ("linalg", "fft"):
        module = getattr(gnp, room)
        own = {n: getattr(module, n) for n in module.__all__ if inspect.isfunction(getattr(module, n))}
        taken = alternatives.PLAIN.values()
        named |= {f"{room}.{n}": f for n, f in own.items() if not any(f"{room}.{n}" in names for names in taken)}
    return named


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def shared(texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names that share a text, and the text."""
    by_text: dict[str, list[str]] = {}
    for name, text in texts.items():
        by_text.setdefault(text, []).append(name)
    return ((listed(names), text) for text, names in by_text.items())


def section(row: Row, prefix: str) -> Iterator[str]:
    """A subject as Markdown."""
    yield f"\n### {row.title}\n"
    if row.supported:
        yield f"Supported: {listed(row.supported)}.\n"
        notes = {name: text for name, text in row.supported.items() if text}
        if notes:
            yield "| with limits | |\n|---|---|"
            yield from (f"| {names} | {cell(text)} |" for names, text in shared(notes))
            yield ""
    if row.plain:
        yield f"{prefix} own serves as it is: {listed(row.plain)}.\n"
    for title, texts in (("use instead", row.refused.instead), ("not yet", row.refused.not_yet)):
        if texts:
            yield f"| {title} | |\n|---|---|"
            yield from (f"| {names} | {cell(text)} |" for names, text in shared(texts))
            yield ""


def cell(text: str) -> str:
    """A text in a cell of a table."""
    return text.replace("|", "\\|")


def table(label: str, parts: Mapping[str, Counter[str]]) -> Iterator[str]:
    yield f"\n| {label} | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}"
    for name, counts in parts.items():
        yield f"| {name} | {' | '.join(str(counts[c]) for c in COLUMNS)} |"


def methods() -> tuple[list[str], Mapping[str, str]]:
    """The methods and attributes of arrays that traced values have, and those they lack."""
    from graphc.tracing import Traced

    lacking = alternatives.METHODS.instead
    own = [n for n in dir(Traced) if not n.startswith("_") and n not in lacking and n not in INTERNAL]
    return own, lacking


# What traced values have and arrays have not.
INTERNAL: Final = frozenset({"at", "id", "sharing", "type", "world", "memory"})


def page() -> str:
    """The page."""
    numpy = list(rows(SUBJECTS, numpy_functions(), homes(gnp._ROOMS), alternatives.REFUSED, alternatives.PLAIN))
    special = {n: getattr(graphc.scipy.special, n) for n in graphc.scipy.special.__all__}
    linalg = {n: getattr(graphc.scipy.linalg, n) for n in graphc.scipy.linalg.__all__}
    special_home = homes(graphc.scipy.special._ROOMS)
    linalg_home = homes(graphc.scipy.linalg._ROOMS)
    special_rows = list(rows(SPECIAL, special, special_home, of_scipy.SPECIAL, of_scipy.PLAIN["special"]))
    linalg_rows = list(rows(LINALG, linalg, linalg_home, of_scipy.LINALG, of_scipy.PLAIN["linalg"]))
    own, lacking = methods()
    of_arrays = Counter({"supported": len(own), "use instead": len(lacking)})
    parts = {"NumPy": numpy, "scipy.special": special_rows, "scipy.linalg": linalg_rows}
    totals = {name: sum((row.counts() for row in found), Counter[str]()) for name, found in parts.items()}
    lines = [HEAD, *table("functions of", totals | {"methods and attributes of arrays": of_arrays})]
    lines += ["\n## NumPy", *table("subject", {row.title: row.counts() for row in numpy})]
    for row in numpy:
        lines += section(row, "NumPy's")
    lines += ["\n### Whole modules\n", "| `np.` | instead |\n|---|---|"]
    lines += [f"| {names} | {cell(text)} |" for names, text in shared(alternatives.MODULES)]
    lines += ["\n## Methods and attributes of arrays\n", f"Supported, with all operators: {listed(own)}.\n"]
    lines += ["| use instead | |\n|---|---|", *(f"| {names} | {cell(text)} |" for names, text in shared(lacking))]
    lines += ["\n## scipy.special", *table("subject", {row.title: row.counts() for row in special_rows})]
    for row in special_rows:
        lines += section(row, "SciPy's")
    lines += ["\n## scipy.linalg", *table("subject", {row.title: row.counts() for row in linalg_rows})]
    lines += ["\nSciPy's own functions make plain arrays of their arguments: call those of `graphc.scipy.linalg`."]
    for row in linalg_rows:
        lines += section(row, "SciPy's")
    text = "\n".join(lines)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.rstrip("\n") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
