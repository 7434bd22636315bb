"""The zip archives inside which .npz files and PyTorch's files keep arrays, checked before anything is unpacked."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minivit.interop.errors import WeightsError

BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, MemoryError)
LARGEST_GROWTH = 100  # an archive may unpack to so many times its size: weights hardly compress
ALWAYS_ALLOWED = 2**20  # ... and to so many bytes in any case


@contextmanager
def opened(path: Path, kind: str) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """The archive and its members by name.

    Parameters
    ----------
    path : Path
    kind : str
        What it is to be, for the message.

    Raises
    ------
    WeightsError
        If the archive is damaged, inside the block too; if two members share a name or a place; or if it would unpack
        to much more than its own size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check(members, path.stat().st_size)
            yield archive, {member.filename: member for member in members}
    except WeightsError:
        raise
    except BROKEN as error:
        raise WeightsError(
            f"{path} is no readable {kind}: {error}. It may be cut off: compare its size with the original's"
        ) from error


def _check(members: list[zipfile.ZipInfo], size: int) -> None:
    if len({member.filename for member in members}) != len(members):
        raise ValueError("two of its members have the same name")
    for member in members:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{member.filename} is compressed in another way than by deflate")
        if member.compress_type == zipfile.ZIP_STORED and member.file_size != member.compress_size:
            raise ValueError(f"{member.filename} is stored as it is, yet said to have two sizes")
    packed, unpacked = (sum(getattr(m, name) for m in members) for name in ("compress_size", "file_size"))
    if packed > size:
        raise ValueError(f"its members are said to take {packed} bytes, the file has {size}; they overlap")
    if unpacked > max(ALWAYS_ALLOWED, LARGEST_GROWTH * size):
        raise ValueError(f"it would unpack to {unpacked} bytes, {unpacked // size} times its size")
