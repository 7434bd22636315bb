"""Downloads that resume, are checked, and appear whole or not at all.

The standard library's client is used because the download libraries looked at (pooch among them) start a broken
download of 170 MB from the beginning.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CHUNK = 1 << 18
_ATTEMPTS = 5
_TIMEOUT = 20.0  # seconds without an answer or a byte


class DownloadError(OSError):
    """A file could not be downloaded, or what came is not what was published."""


class _InterruptedError(Exception):
    """The connection broke; what has come so far can be kept."""


class _UnreachableError(_InterruptedError):
    """There was no connection."""


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
    except ConnectionError as error:  # not a URLError: there was a connection, and it broke before the answer
        raise _InterruptedError(f"the connection broke: {error!r}") from error
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
