"""How many threads there are: variables, the CPUs of the process, control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="llvmlite is not installed: kernels cannot be compiled")

from graphc.backends.numpy.llvm import threads
from graphc.errors import UnsupportedError
from tests.threaded import fresh


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"GRAPHC_NUM_THREADS": "3"}, 3),
        ({"GRAPHC_NUM_THREADS": " 2 ", "OMP_NUM_THREADS": "5"}, 2),
        ({"GRAPHC_NUM_THREADS": "100000"}, threads.MOST),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "4,3,2"}, 4),
        ({"GRAPHC_NUM_THREADS": "", "OMP_NUM_THREADS": "6"}, 6),
        ({"OMP_NUM_THREADS": "many"}, None),
        ({"OMP_NUM_THREADS": "0"}, None),
        ({"OMP_NUM_THREADS": "-2"}, None),
        ({}, None),
    ],
)
def test_variables_say_how_many(variables: dict[str, str], count: int | None) -> None:
    assert threads.wanted(variables) == (threads.cpus() if count is None else count)


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "٣"])
def test_a_variable_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedError, match="GRAPHC_NUM_THREADS"):
        threads.wanted({"GRAPHC_NUM_THREADS": text})


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes cannot be pinned")
def test_a_pinned_process_counts_its_cpus() -> None:
    one = min(os.sched_getaffinity(0))
    script = f"""
import os; os.sched_setaffinity(0, [{one}])
from graphc.backends.numpy.llvm import threads
print(threads.cpus())
"""
    assert fresh(script) == "1\n"


MOUNTS = """\
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
30 23 0:26 {root2} {at2} rw,nosuid shared:4 - cgroup2 cgroup2 rw
31 23 0:27 {root1} {at1} rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
32 23 0:28 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory
short line
"""


def control_groups(
    tmp_path: Path, groups: str, files: dict[str, str], at1: str = "/sys/fs/cgroup/cpu,cpuacct",
    at2: str = "/sys/fs/cgroup", root1: str = "/", root2: str = "/",
) -> float | None:  # fmt: skip
    proc = tmp_path / "proc" / "self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(MOUNTS.format(at1=at1, at2=at2, root1=root1, root2=root2))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return threads.quota(tmp_path)


V1, V2 = "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {f"{V2}/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {f"{V2}/cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {f"{V2}/a/b/cpu.max": "400000 100000\n", f"{V2}/a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {f"{V2}/a/b/cpu.max": "max 100000\n", f"{V2}/cpu.max": "300000 100000\n"}, 3.0),
        ("4:cpu,cpuacct:/\n", {f"{V1}/cpu.cfs_quota_us": "50000", f"{V1}/cpu.cfs_period_us": "100000"}, 0.5),
        ("4:cpu,cpuacct:/\n", {f"{V1}/cpu.cfs_quota_us": "-1", f"{V1}/cpu.cfs_period_us": "100000"}, None),
        ("4:cpu,cpuacct:/x\n", {f"{V1}/x/cpu.cfs_quota_us": "500000", f"{V1}/x/cpu.cfs_period_us": "250000"}, 2.0),
        ("3:memory:/x\n", {"sys/fs/cgroup/memory/x/cpu.max": "100000 100000"}, None),
        ("0::/\n", {f"{V2}/cpu.max": "much\n"}, None),
        ("0::/../../up\n", {f"{V2}/cpu.max": "100000 100000\n"}, 1.0),
        ("nonsense\n", {f"{V2}/cpu.max": "100000 100000\n"}, None),
    ],
)
def test_control_groups_limit_the_threads(
    tmp_path: Path, groups: str, files: dict[str, str], expected: float | None
) -> None:
    assert control_groups(tmp_path, groups, files) == expected


def test_control_groups_of_a_container_without_a_namespace(tmp_path: Path) -> None:
    """Its own group is mounted as if it were the top."""
    files = {f"{V1}/cpu.cfs_quota_us": "200000", f"{V1}/cpu.cfs_period_us": "100000"}
    assert control_groups(tmp_path, "4:cpu,cpuacct:/docker/ab\n", files, root1="/docker/ab") == 2.0


def test_a_mount_with_a_blank_in_its_name(tmp_path: Path) -> None:
    files = {"my groups/cpu.max": "700000 100000"}
    assert control_groups(tmp_path, "0::/\n", files, at2=r"/my\040groups") == 7.0


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert threads.quota(tmp_path) is None
