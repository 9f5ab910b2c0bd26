"""The GPU benchmark as far as it runs without one: its workloads, its figures, its table."""

from __future__ import annotations

import json

import numpy as np

import graphc
from benchmarks import gpu, gpu_page
from benchmarks.tree import leaves
from benchmarks.workloads.attention import Attention


def test_attention_is_the_same_by_hand_and_derived() -> None:
    workload = Attention(2, 6, 4)
    inputs = workload.inputs()
    found = graphc.compile(workload.graphc(), *inputs)(*inputs)
    results = [np.asarray(x) for x in leaves(found)]
    assert workload.error(results, workload.reference()) < 100
    assert len(results) == 4


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in gpu.rows()]
    assert len(set(names)) == len(names) >= 12


def test_the_bytes_of_a_row_are_its_arguments_and_results() -> None:
    workload = Attention(2, 6, 4)
    one = 2 * 6 * 4 * 4
    assert gpu.moved(workload.inputs(), [np.zeros((2, 6, 4), np.float32)]) == 5 * one


def test_the_table_compares_with_the_best_of_the_others() -> None:
    rows = [
        gpu.Row("one", "", 4_000_000, 0.0, {"graphc": 1e-6, "jax": 4e-6, "torch.compile": 2e-6}, {}, {"jax": 1e-7}),
        gpu.Row("two", "", 4_000_000, 1e6, {"graphc": 1e-6, "jax": 8e-6}, {"torch.compile": "failed"}),
        gpu.Row("three", "", 0, 0.0, {}, {"graphc": "failed"}),
    ]
    known = {"copy_bytes_per_second": 4e12, "product_flops_per_second": 1e13}
    text = gpu.report(rows, known, {"gpu": "a GPU", "date": "today", "versions": {}})
    assert "2.00×" in text
    assert "8.00×" in text
    assert "100%" in text
    assert "10% of a product" in text
    assert text.endswith("geometric mean 4.00×")


def test_results_are_compared_by_their_largest_element() -> None:
    assert gpu.difference([np.array([1.0, 100.0])], [np.array([2.0, 100.0])]) == 0.01


def test_the_page_shows_the_results_that_are_kept() -> None:
    measurements = json.loads(gpu_page.RESULTS.read_text(encoding="utf-8"))
    page = gpu_page.PAGE.read_text(encoding="utf-8")
    assert gpu_page.TABLE.search(page) is not None
    assert gpu_page.renewed(page, measurements) == page, "run python -m benchmarks.gpu_page"
    for content in measurements:
        assert f"At commit {content['commit']}: " in page
        assert all(row["title"] in page for row in content["rows"])


def test_a_measurement_is_kept_as_long_as_it_has_rows_of_its_own() -> None:
    old, new, newest = ({"commit": c, "rows": [{"name": n} for n in c]} for c in ("abc", "ab", "ad"))
    assert gpu_page.kept([newest, new, old]) == [newest, new, old]
    assert gpu_page.kept([new, old]) == [new, old]
    assert gpu_page.kept([old, new]) == [old]


def test_losses_and_what_is_missing_are_shown() -> None:
    machine = {"gpu": "a GPU", "date": "today", "versions": {"cupy": "1"}, "driver": 13000, "driver_version": "5.1"}
    known = {"copy_bytes_per_second": 4e12, "product_flops_per_second": 1e13}
    rows = [
        {"title": "one", "bytes": 4_000_000, "seconds": {"graphc": 4e-6, "jax": 1e-6}},
        {"title": "two", "bytes": 4_000_000, "seconds": {"graphc": 1e-6, "jax": 9e-6, "torch.compile": 4e-6}},
        {"title": "three", "bytes": 0, "seconds": {"jax": 1e-6}},
    ]
    text = gpu_page.table({"commit": "1a2b3c4", "machine": machine, "limits": known, "rows": rows})
    assert "At commit 1a2b3c4: a GPU, driver 5.1, CUDA 13.0; cupy 1; today." in text
    assert "| one | 4.0 | 1.0 | – | – | 0.25× | 25% |" in text
    assert "| two | 1.0 | 9.0 | 4.0 | – | 4.00× | 100% |" in text
    assert "| three | – | 1.0 | – | – | – | – |" in text
    assert "| geometric mean | | | | | 1.00× | |" in text
