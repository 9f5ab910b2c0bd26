"""Compiled kernels on disk, so that the next process need not compile them again.

What lies there is machine code, and is run. So it is taken only from a folder into which nobody but this user (or the
administrator) can put anything, from files that this user wrote, and whose content has the digest that it was stored
with. A folder that is not so is not used, and a warning says why.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import tempfile
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

LIMIT: Final = 256 << 20  # bytes that the folder may hold; beyond, the files used longest ago go
LOWERED: Final = 0.75  # to this share of the limit
# Looking through the folder may take longer than compiling. It is done for one of so many new files,
LOOKS: Final = 256
SHARE: Final = 64  # and when a process has written this part of the limit.
SUFFIX: Final = ".kernel"
DIGEST: Final = 32  # bytes before the code
READING: Final = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


def key(*parts: str) -> str:
    """The name of an entry: a digest of everything that the code depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def get(name: str) -> bytes | None:
    """What was stored under a name; None if it is not there, or not as it was stored."""
    folder = usable()
    if folder is None:
        return None
    path = folder / (name + SUFFIX)
    try:
        # a pipe that has this name must not be waited for
        descriptor = os.open(path, READING)
        try:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size > LIMIT or not _only_ours(about):
                return None
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read()
        finally:
            os.close(descriptor)
    except OSError:
        return None
    code = unsealed(name, content)
    if code is not None:
        with suppress(OSError):
            os.utime(path)
    return code


def sealed(name: str, code: bytes) -> bytes:
    """Code with a digest before it, by which it is known to be what was stored under a name."""
    return hashlib.sha256(name.encode() + code).digest() + code


def unsealed(name: str, content: bytes) -> bytes | None:
    """The code; None if it is not what was stored under that name."""
    code = content[DIGEST:]
    return code if sealed(name, code) == content else None


def replace(path: Path, content: bytes) -> None:
    """Write a file in place of one that may be there; whoever opens it meanwhile finds the one or the other."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def put(name: str, code: bytes) -> None:
    """Store code under a name; nothing happens where there is no folder for it, or no room on the disk."""
    folder = usable()
    if folder is None:
        return
    try:
        replace(folder / (name + SUFFIX), sealed(name, code))
    except OSError:
        return
    _since.written += len(code)
    # a digest is as good as a draw, and processes that store a few files each have the folder looked at in turn
    if int(name[:8], 16) % LOOKS == 0 or _since.written > LIMIT // SHARE:
        _since.written = 0
        _trim(folder)


@dataclass(slots=True)
class _Since:
    """What happened since this process has looked through the folder."""

    written: int = 0  # bytes


_since: Final = _Since()


def folder() -> Path | None:
    """Where kernels are kept: ``GRAPHC_CACHE_DIR``, ``off`` for nowhere, else the user's folder for caches."""
    chosen = os.environ.get("GRAPHC_CACHE_DIR")
    if chosen is not None:
        return None if chosen in ("", "off") else Path(os.path.expanduser(chosen))
    import platformdirs

    return platformdirs.user_cache_path("graphc", appauthor=False)


def usable() -> Path | None:
    """The folder, made if need be, if it is safe to run code from."""
    chosen = folder()
    return None if chosen is None else _usable(chosen.absolute())


@lru_cache(maxsize=8)
def _usable(chosen: Path) -> Path | None:
    try:
        chosen.mkdir(mode=0o700, parents=True, exist_ok=True)
        chosen = chosen.resolve(strict=True)
        why = _unsafe(chosen)
    except (OSError, RuntimeError) as error:
        why = f"it cannot be made or read ({error})"
    if why is None:
        return chosen
    warnings.warn(
        f"kernels are not kept in {chosen}: {why}. They are compiled anew in each process; set GRAPHC_CACHE_DIR to a "
        "folder of your own (`off` silences this)",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


def _unsafe(chosen: Path) -> str | None:
    """Why others could put code into a folder; None if they cannot."""
    if sys.platform == "win32":
        return None  # folders of a user's profile are the user's, by access lists that os.stat does not show
    if not _only_ours(chosen.stat()):
        return "others can write to it, or own it"
    for above in chosen.parents:
        about = above.stat()
        # in a sticky folder, such as /tmp, only its owner can move or delete ours
        writable = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not about.st_mode & stat.S_ISVTX
        if writable or about.st_uid not in (0, os.getuid()):
            return f"others can write to {above}"
    return None


def _only_ours(about: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and nobody else can write to it."""
    if sys.platform == "win32":
        return True
    return about.st_uid == os.getuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _trim(chosen: Path) -> None:
    """Delete the files used longest ago, if there are too many bytes of them."""
    found: list[tuple[float, int, Path]] = []
    try:
        with os.scandir(chosen) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    about = entry.stat(follow_symlinks=False)
                    found.append((about.st_mtime, about.st_size, Path(entry.path)))
    except OSError:
        return
    total = sum(size for _, size, _ in found)
    if total <= LIMIT:
        return
    for _, size, path in sorted(found):
        # another process may have been quicker
        with suppress(OSError):
            path.unlink(missing_ok=True)
        total -= size
        if total <= LIMIT * LOWERED:
            return
