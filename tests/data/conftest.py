"""The real data set, where it is at hand, and a server of files on this machine."""

import functools
import http.server
import threading

import pytest

from minivit.data.cifar import CIFAR10, find_cifar

REAL_CIFAR10 = find_cifar(CIFAR10)  # looked up now: tests change the environment


@pytest.fixture
def real_cifar10():
    """The folder of the real CIFAR-10."""
    if REAL_CIFAR10 is None:
        pytest.skip("needs CIFAR-10: name the folder that holds cifar-10-batches-bin/ in MINIVIT_DATA")
    return REAL_CIFAR10


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a folder and says nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture
def file_server(tmp_path, monkeypatch):
    """A folder, and the address that its files are served at."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=service.serve_forever, args=[0.01])
    thread.start()
    yield folder, f"http://127.0.0.1:{service.server_address[1]}/"
    service.shutdown()
    service.server_close()
    thread.join()
