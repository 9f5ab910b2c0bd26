"""How many threads kernels may run on: what the user says, else what the process may use of the machine."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from graphc.environment import whole

VARIABLE: Final = "GRAPHC_NUM_THREADS"
MOST: Final = 256


def wanted(environment: Mapping[str, str] | None = None) -> int:
    """The number of threads for kernels, the calling one among them.

    `GRAPHC_NUM_THREADS` says it; else `OMP_NUM_THREADS`, of which the first number counts, and which is ignored where
    it is none; else the CPUs of the process.

    >>> wanted({"GRAPHC_NUM_THREADS": "3", "OMP_NUM_THREADS": "8"}), wanted({"OMP_NUM_THREADS": "8,2"})
    (3, 8)
    """
    given = os.environ if environment is None else environment
    own = whole(
        VARIABLE, "says how many threads kernels run on", "a whole number, 1 for the calling thread alone", 1, given
    )
    if own is not None:
        return min(own, MOST)
    shared = given.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if shared.isascii() and shared.isdecimal() and int(shared) > 0:
        return min(int(shared), MOST)
    return max(1, min(cpus(), MOST))


def cpus() -> int:
    """CPUs that this process may use: those it may run on, but no more than the time that its control group gets."""
    if sys.version_info >= (3, 13):
        count = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    limit = quota()
    return count if limit is None else min(count, max(1, int(limit)))


def quota(root: Path = Path("/")) -> float | None:
    """How many CPUs' time the control groups of this process get; None without a limit, or where there are none.

    See cgroups(7) and, for the files, "CFS Bandwidth Control" and "Control Group v2" in Linux's documentation. A group
    is limited by those above it, too. `root` is where the file system begins.
    """
    limits = [limit for folder in _folders(root) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def _folders(root: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, from its own ones up."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except (OSError, ValueError):
        return
    own = [line.split(":", 2) for line in groups if line.count(":") >= 2]
    for mount in mounts:
        fields, _, kind = mount.partition(" - ")
        about, what = fields.split(), kind.split()
        if len(about) < 5 or len(what) < 3 or what[0] not in ("cgroup", "cgroup2"):
            continue
        if what[0] == "cgroup" and "cpu" not in what[2].split(","):
            continue
        for _, controllers, path in own:
            if controllers == "" if what[0] == "cgroup2" else "cpu" in controllers.split(","):
                top = root / _unescaped(about[4]).lstrip("/")
                folder = top / _below(path, _unescaped(about[3]))
                yield folder
                while folder != top:
                    folder = folder.parent
                    yield folder


def _below(path: str, mounted: str) -> str:
    """The group's path below the one that is mounted."""
    mounted = mounted.rstrip("/")
    inside = path == mounted or path.startswith(mounted + "/")
    relative = path[len(mounted) :].strip("/") if inside else ""
    return "" if ".." in relative.split("/") else relative


def _unescaped(text: str) -> str:
    """A path of mountinfo, in which blanks and the like are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _limit(folder: Path) -> float | None:
    """The limit that the files of a group say."""

    def numbers(name: str) -> list[int]:
        try:
            return [int(word) for word in (folder / name).read_text().split()]
        except (OSError, ValueError):  # no such file; "max"
            return []

    pair = numbers("cpu.max") or numbers("cpu.cfs_quota_us") + numbers("cpu.cfs_period_us")
    return pair[0] / pair[1] if len(pair) == 2 and min(pair) > 0 else None
