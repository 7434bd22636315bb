"""Tests of the labels of ImageNet-ReaL in minivit/data/imagenet_labels.py; those of folders are in test_imagenet.py."""

import hashlib
import json

import pytest

from minivit.data import DatasetError, load_real_labels, registry
from minivit.data import imagenet_labels as module
from minivit.data.imagenet_labels import find_real_labels, read_real_labels
from minivit.data.locate import DataNotFoundError

REAL = find_real_labels()  # looked up now: tests change the environment


@pytest.fixture(autouse=True)
def nothing_else_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    monkeypatch.setattr("minivit.data.locate.user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(module, "user_cache", lambda: tmp_path / "cache")


@pytest.mark.skipif(REAL is None, reason="needs real.json: name the folder that holds it in MINIVIT_DATA")
def test_the_real_labels():
    labels = load_real_labels(REAL.parent, download_missing=False)
    assert len(labels) == 50_000
    assert sum(map(bool, labels)) == 46_837
    assert sum(map(len, labels)) == 57_553
    assert max(map(len, labels)) == 9
    assert sum(len(right) > 1 for right in labels) == 7_443
    assert hashlib.md5(REAL.read_bytes()).hexdigest() == module._REAL_MD5
    assert REAL.stat().st_size == module._REAL_SIZE


def test_labels_are_read(tmp_path):
    (tmp_path / "real.json").write_text("[[1], [], [7, 999]]")
    assert read_real_labels(tmp_path / "real.json", 3) == ((1,), (), (7, 999))


@pytest.mark.parametrize("content", ["[[1], []]", "[[1], [], [1000]]", "[[1], [], [-1]]", "[[1], [], 3]", '{"a": 1}',
                                     "[[1], [], [true]]", "[[1], [], [1.0]]", "no json"])  # fmt: skip
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "real.json").write_text(content)
    with pytest.raises(DatasetError, match=r"real\.json: .*download it again"):
        read_real_labels(tmp_path / "real.json", 3)


def test_the_published_number_of_lists_is_asked_for(tmp_path):
    (tmp_path / "real.json").write_text("[[1]]")
    with pytest.raises(DatasetError, match="expected 50,000 lists"):
        load_real_labels(tmp_path)


def test_they_are_found_and_downloaded(tmp_path, file_server, monkeypatch):
    served, url = file_server
    content = json.dumps([[1]] * 50_000).encode()
    (served / "real.json").write_bytes(content)
    with pytest.raises(DataNotFoundError, match=r"not asked for.*\nDownload https://raw\.githubusercontent\.com"):
        load_real_labels(tmp_path / "mine", download_missing=False)
    monkeypatch.setattr(module, "_REAL_URL", f"{url}real.json")
    monkeypatch.setattr(module, "_REAL_SIZE", len(content))
    with pytest.raises(DataNotFoundError, match="expected a file with md5"):
        load_real_labels(tmp_path / "mine", progress=False)
    monkeypatch.setattr(module, "_REAL_MD5", hashlib.md5(content).hexdigest())
    for data_dir in (tmp_path / "mine", None):
        assert load_real_labels(data_dir, progress=False)[49_999] == (1,)
    assert registry.find("imagenet_real") == tmp_path / "cache" / "real.json"
