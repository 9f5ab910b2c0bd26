"""Object files that come with the package, one archive for each kind of processors.

An archive is a head, an index and the object files. The head has the length of the index and its digest; the index has
all names, one after the other, then where each object file begins and ends. Names are digests of what the code was made
from, so an archive that is out of date has nothing that anybody asks for. An object file is stored as in the cache on
disk, with a digest of its own. What is damaged in any way is as if it were not there.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from graphc.backends.numpy.cache import replace, sealed, unsealed

FOLDER: Final = Path(__file__).parent
SUFFIX: Final = ".objects"
MAGIC: Final = b"graphc objects 1"  # another number whenever equal texts are compiled otherwise than before
HEAD: Final = struct.Struct("<16sI32s")  # the magic words; bytes of the index; its digest
NAME: Final = 32  # bytes
PLACE: Final = struct.Struct("<II")  # begin and end


class Archive(NamedTuple):
    """The index of an archive: of each object file the name and the place."""

    path: Path
    names: bytes
    places: bytes

    def get(self, name: str) -> bytes | None:
        """An object file by the hexadecimal digits of its name; None if it is not there, or damaged."""
        # names are digests, so no two of them together contain a third
        number, beside = divmod(self.names.find(bytes.fromhex(name)), NAME)
        if number < 0 or beside:
            return None
        begin, end = PLACE.unpack_from(self.places, number * PLACE.size)
        try:
            with open(self.path, "rb") as file:
                file.seek(begin)
                return unsealed(name, file.read(end - begin))
        except OSError:
            return None


def find(kind: str, name: str) -> bytes | None:
    """An object file from the archive that the package has for a kind of processors; None if it has none."""
    archive = _opened(FOLDER / (kind + SUFFIX))
    return None if archive is None else archive.get(name)


@lru_cache(maxsize=8)
def _opened(path: Path) -> Archive | None:
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD.size)
            if len(head) < HEAD.size:
                return None
            magic, length, digest = HEAD.unpack(head)
            if magic != MAGIC or length > os.fstat(file.fileno()).st_size:
                return None
            index = file.read(length)
    except OSError:
        return None
    if hashlib.sha256(index).digest() != digest:
        return None
    names = NAME * (length // (NAME + PLACE.size))
    return Archive(path, index[:names], index[names:])


def write(path: Path, objects: Mapping[str, bytes]) -> None:
    """Write an archive, in place of one that may be there, of object files by the hexadecimal digits of their names."""
    contents = {name: sealed(name, code) for name, code in objects.items()}
    begin = HEAD.size + len(contents) * (NAME + PLACE.size)
    places = []
    for content in contents.values():
        places.append(PLACE.pack(begin, begin + len(content)))
        begin += len(content)
    index = b"".join([*map(bytes.fromhex, contents), *places])
    head = HEAD.pack(MAGIC, len(index), hashlib.sha256(index).digest())
    replace(path, b"".join([head, index, *contents.values()]))
    path.chmod(0o644)  # whoever may run the package
