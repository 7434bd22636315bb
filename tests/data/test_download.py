"""Tests of minivit/data/download.py, against a server on this machine that can misbehave."""

import contextlib
import hashlib
import http.server
import os
import re
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from minivit.data import download as module
from minivit.data.download import DownloadError, download

CONTENT = np.random.default_rng(0).bytes(700_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Behaviour:
    """How the server behaves."""

    content: bytes = CONTENT
    resets: int = 0  # connections to reset halfway
    silent: int = 0  # connections to reset before the answer
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
            if behaviour.silent:
                behaviour.silent -= 1
                self.reset()
                return
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
                time.sleep(0.05)  # let some of it arrive, most likely
                self.reset()
                return
            with contextlib.suppress(ConnectionError):  # the client may have seen enough
                self.wfile.write(body[: behaviour.cut_after.pop(0)] if behaviour.cut_after else body)

        def reset(self):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

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


def test_a_connection_that_is_reset_before_the_answer_is_made_again(server, target, pauses):
    server.silent = 2
    download(server.url, target, md5=MD5, size=len(CONTENT), progress=False)
    assert target.read_bytes() == CONTENT
    assert server.requests == [None] * 3
    assert pauses == [1, 2]


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
