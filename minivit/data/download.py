"""Downloads that resume, are checked, and appear whole or not at all.

The standard library's client is used because the download libraries looked at (pooch among them) start a broken
download of 170 MB from the beginning.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

_CHUNK = 1 << 18
_ATTEMPTS = 5
_TIMEOUT = 20.0  # seconds without an answer or a byte


class DownloadError(OSError):
    """A file could not be downloaded, or what came is not what was published."""


class ArchiveError(ValueError):
    """An archive is damaged, incomplete or holds what it must not."""


class _InterruptedError(Exception):
    """The connection broke; what has come so far can be kept."""


class _UnreachableError(_InterruptedError):
    """There was no connection."""


@dataclass(frozen=True)
class Archive:
    """A published tar.gz archive of one folder.

    Attributes
    ----------
    url, md5 : str
    size : int
        Bytes of the archive.
    folder : str
        The folder in it.
    members : mapping of str to int
        The files to unpack, as ``folder/name``, and their sizes in bytes.
    """

    url: str
    md5: str
    size: int
    folder: str
    members: Mapping[str, int]

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
        needed, free = self.size + sum(self.members.values()), shutil.disk_usage(target).free
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


def file_md5(path: Path) -> str:
    """The MD5 sum of a file in hexadecimal: it finds damage, it does not withstand forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(url: str, target: Path, *, md5: str, size: int | None = None, progress: bool = True) -> None:
    """Download a file, resuming what an earlier call has left in ``target + ".part"``.

    Parameters
    ----------
    url : str
        With http or https.
    target : Path
        Written by renaming, when complete and checked; an existing file with the right sum is kept.
    md5 : str
        Its published sum.
    size : int, optional
        Its published size in bytes; a server that announces another one is refused before anything is read.
    progress : bool
        Whether to show a progress bar on standard error.

    Raises
    ------
    DownloadError
        If the server cannot be reached or breaks off without progress several times (what has come is kept), or if what
        came is not the published file (nothing is kept).
    ValueError
        If the URL is not http or https.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"expected an http or https URL, got {url!r}")
    if target.exists() and file_md5(target) == md5:
        return
    part = target.with_name(target.name + ".part")
    kept = part.exists()
    failures, reached, from_start = 0, False, False
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch(url, part, before, size, progress)
        except _InterruptedError as error:
            reached = reached or not isinstance(error, _UnreachableError)
            if not reached:  # no network, most likely: waiting would not help
                raise DownloadError(f"{url}: {error}") from error
            gained = (part.stat().st_size if part.exists() else 0) > before
            failures = 1 if gained else failures + 1
            if failures == _ATTEMPTS:
                raise DownloadError(f"{url}: {error} ({_ATTEMPTS} times); run again to resume from {part}") from error
            _pause(2.0 ** (failures - 1))
            continue
        actual = file_md5(part)
        if actual == md5:
            os.replace(part, target)
            return
        part.unlink()
        if from_start or not kept:
            raise DownloadError(
                f"{url}: expected a file with md5 {md5}, got one with md5 {actual}; it was deleted. "
                "Something between here and the server changed it: try another network, or download it by hand"
            )
        from_start = True  # what was kept from an earlier call may be of another file: once more without it


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def _fetch(url: str, part: Path, have: int, size: int | None, progress: bool) -> None:
    """Append to `part`, which holds `have` bytes, what the server has beyond these."""
    headers = {"User-Agent": "minivit", "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing beyond what we have: complete, or not this file; its sum will tell
            return
        if error.code in (408, 429) or error.code >= 500:
            raise _InterruptedError(f"the server answered {error.code} {error.reason}") from error
        raise DownloadError(f"{url}: the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _UnreachableError(f"no connection: {getattr(error, 'reason', None) or error!r}") from error
    with response:
        if have and not (response.status == 206 and _range_start(response) == have):
            have = 0  # the server sends the whole file
            if response.status == 206:
                part.unlink()
                raise _InterruptedError("the server answered with a range that was not asked for")
        announced = response.headers.get("Content-Length")
        total = have + int(announced) if announced and announced.isdigit() else size
        if size is not None and total != size:
            raise DownloadError(f"{url}: expected a file of {size:,} bytes, the server offers {total:,}")
        with part.open("ab" if have else "wb") as file, _progress_bar(part.stem, have, total, progress) as show:
            while chunk := _read(response):
                file.write(chunk)
                have += len(chunk)
                show(len(chunk))
                if total is not None and have > total:
                    break
    if total is not None and have < total:
        raise _InterruptedError(f"the connection closed after {have:,} of {total:,} bytes")


def _range_start(response: Any) -> int | None:
    unit, _, span = response.headers.get("Content-Range", "").partition(" ")
    start = span.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else None


def _read(response: Any) -> bytes:
    try:
        chunk: bytes = response.read(_CHUNK)
    except http.client.IncompleteRead as error:
        return error.partial  # the last bytes before the end; the total tells that more were to come
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(f"the connection broke: {error!r}") from error
    return chunk


@contextmanager
def _progress_bar(name: str, have: int, total: int | None, shown: bool) -> Iterator[Callable[[int], object]]:
    """A bar on standard error, moved by numbers of bytes; where there is no tqdm or terminal, a line every tenth."""
    tqdm = _tqdm() if shown and sys.stderr.isatty() else None
    if tqdm is None:
        yield _Tenths(name, have, total) if shown else _ignore
        return
    with tqdm(total=total, initial=have, desc=name, unit="B", unit_scale=True, mininterval=0.5) as bar:
        yield bar.update


def _tqdm() -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm


def _ignore(_: int) -> None:
    pass


class _Tenths:
    """Writes a line whenever another tenth of the file has come."""

    def __init__(self, name: str, have: int, total: int | None) -> None:
        self.name, self.have, self.total = name, have, total

    def __call__(self, count: int) -> None:
        before, self.have = self.have, self.have + count
        if self.total and self.have * 10 // self.total > before * 10 // self.total:
            print(f"{self.name}: {self.have / 1e6:,.1f} of {self.total / 1e6:,.1f} MB", file=sys.stderr, flush=True)


def extract(archive: Path, target: Path, folder: str, members: Mapping[str, int]) -> Path:
    """Unpack the named files of a tar.gz archive; the folder appears whole or not at all.

    Nothing but the named files is ever written. Any member that points out of the folder, and any link, device or other
    thing that is not a plain file or folder, refuses the whole archive.

    Parameters
    ----------
    archive : Path
    target : Path
        An existing folder.
    folder : str
        The folder of the archive to unpack, which becomes ``target / folder``.
    members : mapping of str to int
        ``folder/name`` and size in bytes of each file.

    Returns
    -------
    Path
        ``target / folder``.

    Raises
    ------
    ArchiveError
        If the archive is damaged, unsafe, or lacks a file.
    """
    missing = set(members)
    with tempfile.TemporaryDirectory(prefix=f".{folder}-", dir=target) as temporary:
        fresh = Path(temporary) / folder
        fresh.mkdir()
        try:
            with tarfile.open(archive, "r:gz") as tar:
                for member in tar:
                    name = _safe_name(archive, member)
                    if name not in members or member.isdir():
                        continue
                    if name not in missing:
                        raise ArchiveError(f"{archive}: holds {name} twice")
                    if member.size != members[name]:
                        raise ArchiveError(
                            f"{archive}: expected {name} of {members[name]:,} bytes, got {member.size:,}"
                        )
                    source = tar.extractfile(member)
                    assert source is not None, "a plain file has contents"
                    _copy(source, fresh.parent / name, member.size, archive)
                    missing.remove(name)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ArchiveError(f"{archive}: is cut off or damaged: {error}") from error
        if missing:
            raise ArchiveError(f"{archive}: lacks {', '.join(sorted(missing))}")
        try:
            os.replace(fresh, target / folder)
        except OSError:
            if not (target / folder).is_dir():  # otherwise somebody else has just unpacked the same archive
                raise
    return target / folder


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
