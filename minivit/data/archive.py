"""Published archives: downloaded, checked, and unpacked whole or not at all."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from minivit.data.download import download

_CHUNK = 1 << 18


class ArchiveError(ValueError):
    """An archive is damaged, incomplete or holds what it must not."""


@dataclass(frozen=True)
class Matching:
    """Files of an archive that has too many to list: by their names, and bounded in number and size.

    Attributes
    ----------
    pattern : str
        A regular expression that whole names, ``folder/name``, match.
    least, most : int
        How many there are.
    largest : int
        Bytes of the largest, at most.
    total : int
        Bytes of all, at most.
    """

    pattern: str
    least: int
    most: int
    largest: int
    total: int


Members = Mapping[str, int] | Matching


@dataclass(frozen=True)
class Archive:
    """A published archive (tar, gzipped or not) of one folder.

    Attributes
    ----------
    url, md5 : str
    size : int
        Bytes of the archive.
    folder : str
        The folder in it.
    members : mapping of str to int, or Matching
        The files to unpack, as ``folder/name``, and their sizes in bytes; or what is known of them.
    """

    url: str
    md5: str
    size: int
    folder: str
    members: Members

    def fetch(self, target: Path, progress: bool = True) -> Path:
        """Download the archive and unpack it into the folder `target`, which is made where it is missing.

        Returns
        -------
        Path
            ``target / folder``.

        Raises
        ------
        DownloadError
            If the archive cannot be fetched (what has come is kept for the next try) or is not the published one.
        ArchiveError
            If it is unsafe or incomplete.
        OSError
            If there is no room or no permission to write.
        """
        target.mkdir(parents=True, exist_ok=True)
        unpacked = self.members.total if isinstance(self.members, Matching) else sum(self.members.values())
        needed, free = self.size + unpacked, shutil.disk_usage(target).free
        if free < needed:
            raise OSError(
                f"downloading {self.url} takes {needed / 1e6:,.0f} MB in {target}, where {free / 1e6:,.0f} MB are "
                "free; make room, or name another folder (data_dir)"
            )
        archive = target / PurePosixPath(self.url).name
        download(self.url, archive, md5=self.md5, size=self.size, progress=progress)
        try:
            return extract(archive, target, self.folder, self.members)
        finally:
            archive.unlink(missing_ok=True)


def extract(archive: Path, target: Path, folder: str, members: Members) -> Path:
    """Unpack the named files of a tar archive, gzipped or not; the folder appears whole or not at all.

    Nothing but the named files is ever written. Any member that points out of the folder, and any link, device or other
    thing that is not a plain file or folder, refuses the whole archive.

    Parameters
    ----------
    archive : Path
    target : Path
        An existing folder.
    folder : str
        The folder of the archive to unpack, which becomes ``target / folder``.
    members : mapping of str to int, or Matching
        ``folder/name`` and size in bytes of each file; or what is known of the files in the folder.

    Returns
    -------
    Path
        ``target / folder``.

    Raises
    ------
    ArchiveError
        If the archive is damaged, unsafe, lacks a file, or has more or larger files than it should.
    """
    found = _MatchingCheck(archive, folder, members) if isinstance(members, Matching) else _ListCheck(archive, members)
    with tempfile.TemporaryDirectory(prefix=f".{folder}-", dir=target) as temporary:
        fresh = Path(temporary) / folder
        fresh.mkdir()
        try:
            with _open_tar(archive) as tar:
                for member in tar:
                    name = _safe_name(archive, member)
                    if member.isdir() or not found.wanted(name, member.size):
                        continue
                    source = tar.extractfile(member)
                    assert source is not None, "a plain file has contents"
                    _copy(source, fresh.parent / name, member.size, archive)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ArchiveError(f"{archive}: is cut off or damaged: {error}") from error
        found.finish()
        try:
            os.replace(fresh, target / folder)
        except OSError:
            if not (target / folder).is_dir():  # otherwise somebody else has just unpacked the same archive
                raise
    return target / folder


def _open_tar(archive: Path) -> tarfile.TarFile:
    with archive.open("rb") as file:
        gzipped = file.read(2) == b"\x1f\x8b"
    return tarfile.open(archive, "r:gz" if gzipped else "r:")


class _ListCheck:
    """Holds an archive to a list of its files."""

    def __init__(self, archive: Path, members: Mapping[str, int]) -> None:
        self.archive, self.members, self.missing = archive, members, set(members)

    def wanted(self, name: str, size: int) -> bool:
        """Whether to unpack a file."""
        if name not in self.members:
            return False
        if name not in self.missing:
            raise ArchiveError(f"{self.archive}: holds {name} twice")
        if size != self.members[name]:
            raise ArchiveError(f"{self.archive}: expected {name} of {self.members[name]:,} bytes, got {size:,}")
        self.missing.remove(name)
        return True

    def finish(self) -> None:
        """Raise if a file did not come."""
        if self.missing:
            raise ArchiveError(f"{self.archive}: lacks {', '.join(sorted(self.missing))}")


class _MatchingCheck:
    """Holds an archive to what is known of its files."""

    def __init__(self, archive: Path, folder: str, members: Matching) -> None:
        self.archive, self.folder, self.members = archive, folder, members
        self.found: set[str] = set()
        self.bytes = 0

    def wanted(self, name: str, size: int) -> bool:
        """Whether to unpack a file."""
        inside = PurePosixPath(name).parts[0] == self.folder
        if not inside or re.fullmatch(self.members.pattern, name) is None:
            return False
        if name in self.found:
            raise ArchiveError(f"{self.archive}: holds {name} twice")
        self.found.add(name)
        self.bytes += size
        if len(self.found) > self.members.most:
            raise ArchiveError(f"{self.archive}: expected at most {self.members.most:,} files, got {name} beyond them")
        if size > self.members.largest or self.bytes > self.members.total:
            raise ArchiveError(
                f"{self.archive}: expected files of at most {self.members.largest:,} bytes and {self.members.total:,} "
                f"together, got {size:,} and {self.bytes:,} with {name}"
            )
        return True

    def finish(self) -> None:
        """Raise if files did not come."""
        if len(self.found) < self.members.least:
            raise ArchiveError(
                f"{self.archive}: expected at least {self.members.least:,} files {self.members.pattern}, got "
                f"{len(self.found):,}"
            )


def _safe_name(archive: Path, member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        raise ArchiveError(f"{archive}: unsafe: {member.name!r} points out of the folder it is unpacked in")
    if not member.isdir() and (member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse()):
        raise ArchiveError(f"{archive}: unsafe: {member.name!r} is neither a plain file nor a folder")
    return str(path)


def _copy(source: IO[bytes], target: Path, size: int, archive: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
        written = file.tell()
    if written != size:
        raise ArchiveError(f"{archive}: is cut off: {target.name} has {written:,} of {size:,} bytes")
