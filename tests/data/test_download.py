"""Tests of minivit/data/download.py, against a server on this machine that can misbehave and archives that attack."""

import contextlib
import hashlib
import http.server
import io
import os
import re
import socket
import struct
import sys
import tarfile
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from minivit.data import download as module
from minivit.data.download import Archive, ArchiveError, DownloadError, download, extract

CONTENT = np.random.default_rng(0).bytes(700_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """How the server behaves."""

    content: bytes = CONTENT
    resets: int = 0  # connections to reset halfway
    cut_after: list[int] = field(default_factory=list)  # bytes after which to break off, one for each request
    ranges: bool = True
    shift_range: int = 0
    length: bool = True
    status: list[int] = field(default_factory=list)  # errors to answer with first
    requests: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    behaviour = Behaviour()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            behaviour.requests.append(wanted)
            if behaviour.status:
                self.send_error(behaviour.status.pop(0))
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and behaviour.ranges else 0
            total = len(behaviour.content)
            if start >= total:
                self.send_error(416)
                return
            start += behaviour.shift_range if start else 0
            body = behaviour.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            if behaviour.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour.resets:
                behaviour.resets -= 1
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                time.sleep(0.05)  # let some of it arrive
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                return
            with contextlib.suppress(ConnectionError):  # the client may have seen enough
                self.wfile.write(body[: behaviour.cut_after.pop(0)] if behaviour.cut_after else body)

        def log_message(self, *_):
            pass

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever, args=[0.01])
    thread.start()
    behaviour.url = f"http://127.0.0.1:{service.server_address[1]}/file.bin"
    yield behaviour
    service.shutdown()
    service.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    made = []
    monkeypatch.setattr(module, "_pause", made.append)
    return made


@pytest.fixture
def target(tmp_path):
    return tmp_path / "file.bin"


def part_of(target):
    return target.with_name("file.bin.part")


def test_a_download_is_the_file_and_leaves_nothing_else(server, target):
    download(server.url, target, md5=MD5, size=len(CONTENT), progress=False)
    assert target.read_bytes() == CONTENT
    assert os.listdir(target.parent) == ["file.bin"]
    download(server.url, target, md5=MD5, progress=False)
    assert server.requests == [None], "a good file is not fetched again"


def test_a_broken_connection_is_resumed_where_it_broke(server, target, pauses):
    server.cut_after = [300_000, 200_000, 0]
    download(server.url, target, md5=MD5, size=len(CONTENT), progress=False)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=500000-", "bytes=500000-"]
    assert pauses == [1, 1, 2]


def test_a_connection_that_is_reset_is_resumed(server, target):
    server.resets = 2
    download(server.url, target, md5=MD5, size=len(CONTENT), progress=False)
    assert target.read_bytes() == CONTENT
    assert len(server.requests) == 3


def test_a_part_from_an_earlier_call_is_resumed(server, target):
    part_of(target).write_bytes(CONTENT[:123_456])
    download(server.url, target, md5=MD5, progress=False)
    assert target.read_bytes() == CONTENT
    assert server.requests == ["bytes=123456-"]
    assert os.listdir(target.parent) == ["file.bin"]


def test_a_complete_part_needs_only_the_check(server, target):
    part_of(target).write_bytes(CONTENT)
    download(server.url, target, md5=MD5, progress=False)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("rest", [b"wrong" * 20, CONTENT + b"more"])
def test_a_part_of_another_file_is_given_up(server, target, rest):
    part_of(target).write_bytes(rest)
    download(server.url, target, md5=MD5, size=len(CONTENT), progress=False)
    assert target.read_bytes() == CONTENT
    assert server.requests == [f"bytes={len(rest)}-", None]


def test_a_server_that_ignores_ranges_sends_everything_again(server, target):
    server.ranges = False
    part_of(target).write_bytes(CONTENT[:50_000])
    download(server.url, target, md5=MD5, progress=False)
    assert target.read_bytes() == CONTENT
    assert server.requests == ["bytes=50000-"]


def test_a_server_that_sends_another_range_is_asked_for_everything(server, target):
    server.shift_range = 7
    part_of(target).write_bytes(CONTENT[:50_000])
    download(server.url, target, md5=MD5, progress=False)
    assert target.read_bytes() == CONTENT
    assert server.requests == ["bytes=50000-", None]


def test_a_server_that_announces_no_length(server, target):
    server.length = False
    download(server.url, target, md5=MD5, progress=False)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [b"", CONTENT[:1000]])
def test_wrong_bytes_are_refused_and_nothing_is_left(server, target, kept):
    server.content = CONTENT[:-1] + b"?"
    if kept:
        part_of(target).write_bytes(kept)
    with pytest.raises(DownloadError, match=f"expected a file with md5 {MD5}, got one with md5"):
        download(server.url, target, md5=MD5, progress=False)
    assert os.listdir(target.parent) == []
    assert len(server.requests) == (2 if kept else 1)


def test_another_size_is_refused_before_reading(server, target):
    server.content = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="expected a file of 700,000 bytes, the server offers 26"):
        download(server.url, target, md5=MD5, size=len(CONTENT), progress=False)
    assert os.listdir(target.parent) == []


def test_a_server_that_keeps_breaking_off_is_given_up_and_the_part_kept(server, target, pauses):
    server.cut_after = [1000] + [0] * 10
    with pytest.raises(DownloadError, match=r"closed after 1,000 of 700,000 bytes \(5 times\); run again to resume"):
        download(server.url, target, md5=MD5, progress=False)
    assert os.listdir(target.parent) == ["file.bin.part"]
    assert part_of(target).read_bytes() == CONTENT[:1000]
    assert pauses == [1, 2, 4, 8]
    server.cut_after.clear()
    download(server.url, target, md5=MD5, progress=False)
    assert target.read_bytes() == CONTENT


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server, target):
    server.status = [503, 429]
    download(server.url, target, md5=MD5, progress=False)
    assert target.read_bytes() == CONTENT
    target.unlink()
    server.status = [404]
    with pytest.raises(DownloadError, match="answered 404"):
        download(server.url, target, md5=MD5, progress=False)
    assert len(server.requests) == 4
    assert os.listdir(target.parent) == []


def test_no_server_at_all(server, target, pauses):
    with pytest.raises(DownloadError, match=r"no connection: .*refused"):
        download("http://127.0.0.1:1/file.bin", target, md5=MD5, progress=False)
    assert os.listdir(target.parent) == []
    assert pauses == [], "an offline user is not kept waiting"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_only_http(target, url):
    with pytest.raises(ValueError, match="http or https"):
        download(url, target, md5=MD5)


def test_progress_is_a_bar_on_a_terminal(server, target, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    download(server.url, target, md5=MD5, size=len(CONTENT))
    shown = capsys.readouterr()
    assert "file.bin: 100%" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_lines_without_tqdm_or_terminal(server, target, capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    if terminal:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    download(server.url, target, md5=MD5, size=len(CONTENT))
    shown = capsys.readouterr().err
    assert shown.startswith("file.bin: 0.")
    assert shown.endswith("\nfile.bin: 0.7 of 0.7 MB\n")


# Archives

MEMBERS = {"set/a.bin": 5, "set/b.bin": 70_000}


def member(name, content=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    return info, content


GOOD = [member("set", kind=tarfile.DIRTYPE), member("set/a.bin", b"12345"), member("set/b.bin", bytes(70_000))]


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_the_named_files_are_unpacked_and_no_others(tmp_path, place):
    extra = [member("set/readme.html", b"<html>"), member("else/where.txt", b"x"), member("./set/sub/c", b"x")]
    archive = write_archive(tmp_path / "a.tar.gz", [*GOOD, *extra])
    assert extract(archive, place, "set", MEMBERS) == place / "set"
    assert everything_in(place) == ["set", "set/a.bin", "set/b.bin"]
    assert (place / "set/a.bin").read_bytes() == b"12345"
    assert (place / "set/b.bin").read_bytes() == bytes(70_000)


def test_somebody_else_may_unpack_at_the_same_time(tmp_path, place):
    archive = write_archive(tmp_path / "a.tar.gz", GOOD)
    (place / "set").mkdir()
    (place / "set" / "a.bin").write_bytes(b"theirs")
    assert extract(archive, place, "set", MEMBERS) == place / "set"
    assert everything_in(place) == ["set", "set/a.bin"]
    assert (place / "set" / "a.bin").read_bytes() == b"theirs"


ATTACKS = {
    "parent": member("../evil", b"x"),
    "parent inside": member("set/../../evil", b"x"),
    "absolute": member("/tmp/evil", b"x"),
    "backslash": member("..\\evil", b"x"),
    "drive": member("C:evil", b"x"),
    "symbolic link": member("set/a.bin", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "symbolic link to a folder": member("set", kind=tarfile.SYMTYPE, link="/tmp"),
    "hard link": member("set/a.bin", kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "device": member("set/a.bin", kind=tarfile.CHRTYPE),
    "block device": member("set/dev", kind=tarfile.BLKTYPE),
    "pipe": member("set/a.bin", kind=tarfile.FIFOTYPE),
    "parent folder": member("../evil", kind=tarfile.DIRTYPE),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("first", [True, False])
def test_an_archive_that_reaches_out_is_refused_whole(tmp_path, place, attack, first):
    members = [ATTACKS[attack], *GOOD] if first else [*GOOD, ATTACKS[attack]]
    archive = write_archive(tmp_path / "a.tar.gz", members)
    before = everything_in(tmp_path)
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz: unsafe: '"):
        extract(archive, place, "set", MEMBERS)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (GOOD[:2], r"lacks set/b\.bin"),
        ([*GOOD, GOOD[1]], r"holds set/a\.bin twice"),
        ([*GOOD[:2], member("set/b.bin", bytes(69_999))], r"expected set/b\.bin of 70,000 bytes, got 69,999"),
        ([member("set/a.bin", kind=tarfile.DIRTYPE), GOOD[2]], r"lacks set/a\.bin"),
    ],
)
def test_another_archive_is_refused(tmp_path, place, members, message):
    archive = write_archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(ArchiveError, match=message):
        extract(archive, place, "set", MEMBERS)
    assert everything_in(place) == []


def test_an_archive_cut_off_anywhere_is_refused(tmp_path, place):
    noise = np.random.default_rng(1).bytes(70_000)
    whole = write_archive(tmp_path / "a.tar.gz", [*GOOD[:2], member("set/b.bin", noise)]).read_bytes()
    for length in [0, 5, 100, 1000, 30_000, len(whole) - 300]:
        cut = tmp_path / "cut.tar.gz"
        cut.write_bytes(whole[:length])
        with pytest.raises(ArchiveError, match=r"cut\.tar\.gz: (is cut off|lacks)"):
            extract(cut, place, "set", MEMBERS)
        assert everything_in(place) == []


def test_a_damaged_archive_is_refused(tmp_path, place):
    whole = bytearray(write_archive(tmp_path / "a.tar.gz", GOOD).read_bytes())
    for content in (b"not an archive at all", bytes(1000), bytes(whole[:50]) + b"?" + bytes(whole[51:])):
        (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(ArchiveError, match=r"cut off or damaged|lacks"):
            extract(tmp_path / "a.tar.gz", place, "set", MEMBERS)
        assert everything_in(place) == []


def test_fetch_downloads_and_unpacks(server, tmp_path):
    server.content = write_archive(tmp_path / "a.tar.gz", GOOD).read_bytes()
    archive = Archive(server.url, hashlib.md5(server.content).hexdigest(), len(server.content), "set", MEMBERS)
    target = tmp_path / "new" / "cache"
    assert archive.fetch(target, progress=False) == target / "set"
    assert everything_in(target) == ["set", "set/a.bin", "set/b.bin"]


def test_fetch_refuses_the_wrong_archive_and_leaves_nothing(server, tmp_path):
    archive = Archive(server.url, "0" * 32, len(CONTENT), "set", MEMBERS)
    with pytest.raises(DownloadError, match="expected a file with md5 0000"):
        archive.fetch(tmp_path / "cache", progress=False)
    assert everything_in(tmp_path / "cache") == []


def test_fetch_needs_room(tmp_path):
    archive = Archive("http://127.0.0.1:1/x.tar.gz", MD5, 10**18, "set", MEMBERS)
    with pytest.raises(OSError, match=r"takes 1,000,000,000,000 MB in .*make room"):
        archive.fetch(tmp_path, progress=False)
