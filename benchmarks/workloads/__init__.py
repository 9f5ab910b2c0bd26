"""The workloads, one file to a family."""

from __future__ import annotations

from benchmarks.workload import Workload
from benchmarks.workloads import chain, finance, latency, learning, normalisation, physics


def timed(quick: bool) -> dict[str, Workload]:
    """The rows whose running time is measured, by name."""
    families = (chain, finance, normalisation, learning, physics)
    return {row.name: row for family in families for row in family.rows(quick)}


def compiled(quick: bool) -> dict[str, Workload]:
    """The rows whose compile time is measured, by name."""
    return {row.name: row for row in latency.rows(quick)}
