"""Tests of minivit/data/text/imdb.py, on a small tree in the official layout."""

import numpy as np
import pytest

from minivit.data import DataNotFoundError, DatasetError
from minivit.data.text import find_imdb, imdb, load_imdb

FILES = {
    "train/pos/0_9.txt": "Bromwell High is a cartoon comedy.<br /><br />It ran at the same time.",
    "train/pos/10_7.txt": "Ten comes after two &amp; before eleven.",
    "train/pos/2_10.txt": "A classic: 3 < 4 <i>always</i>.",
    "train/neg/0_3.txt": "Story of a man.",
    "train/unsup/0_0.txt": "Nobody said what this is worth.",
    "test/pos/0_8.txt": "Caf\u00e9 society.",
    "test/neg/0_1.txt": "Dull.",
    "test/neg/1_4.txt": "Also dull.",
    "train/labeledBow.feat": "9 0:9 1:1",
    "imdb.vocab": "the",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    monkeypatch.setattr("minivit.data.locate.user_cache", lambda: tmp_path / "cache")
    for name, text in FILES.items():
        path = tmp_path / "data" / "aclImdb" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "data" / "aclImdb"


def test_the_official_layout_is_read(tree):
    splits = load_imdb(tree, complete=False)
    train = splits.train
    assert train.classes == ("neg", "pos")
    assert train.ids == ("train/neg/0_3", "train/pos/0_9", "train/pos/2_10", "train/pos/10_7"), "by number, not by name"
    assert train.labels.tolist() == [0, 1, 1, 1]
    assert train.labels.dtype == np.int64
    assert train.texts == (
        "Story of a man.",
        "Bromwell High is a cartoon comedy. It ran at the same time.",
        "A classic: 3 < 4 always .",
        "Ten comes after two & before eleven.",
    )
    assert splits.test.texts == ("Dull.", "Also dull.", "Caf\u00e9 society.")
    assert splits.test.labels.tolist() == [0, 0, 1]
    assert splits.unlabelled.ids == ("train/unsup/0_0",)
    assert splits.unlabelled.labels.tolist() == [-1]
    assert splits.validation is None
    assert load_imdb(tree, complete=False, unlabelled=False).unlabelled is None


def test_it_is_found_where_other_data_is(tree, monkeypatch, tmp_path):
    assert find_imdb(tree) == find_imdb(tree.parent) == tree
    assert find_imdb() is None
    monkeypatch.setenv("MINIVIT_DATA", str(tree.parent))
    assert find_imdb() == tree
    assert len(load_imdb(complete=False).train) == 4
    assert find_imdb(tmp_path / "elsewhere") == tree


def test_where_it_is_not_the_ways_out_are_listed(tree, tmp_path):
    with pytest.raises(
        DataNotFoundError, match=r"(?s)elsewhere.*expected a folder aclImdb.*Download https.*docstrings"
    ):
        load_imdb(tmp_path / "elsewhere")


def test_the_published_sizes_are_insisted_on(tree):
    assert sum(imdb.REVIEWS.values()) == 100_000
    with pytest.raises(DatasetError, match=r"neg: expected 12,500 reviews, found 1; .*complete=False"):
        load_imdb(tree)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train/pos/3_9.txt", b"", r"3_9.txt: is empty"),
        ("train/pos/3_9.txt", b"<br />", r"3_9.txt: is empty"),
        ("train/neg/3_2.txt", b"caf\xe9", r"3_2.txt: expected UTF-8, got a byte that is none at position 3"),
        ("train/neg/3_9.txt", b"good", r"3_9.txt: expected a name ID_RATING.txt with a rating from 1 to 4"),
        ("test/pos/3_5.txt", b"so so", r"3_5.txt: .* from 7 to 10"),
        ("train/unsup/3_5.txt", b"so so", r"3_5.txt: .* from 0 to 0"),
        ("test/neg/readme.txt", b"what", r"readme.txt: expected a name ID_RATING.txt"),
    ],
)
def test_a_file_that_is_no_review_is_named(tree, name, content, message):
    (tree / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        load_imdb(tree, complete=False)


def test_a_missing_and_an_empty_folder_are_named(tree):
    (tree / "test/pos/0_8.txt").unlink()
    with pytest.raises(DatasetError, match=r"pos holds no review"):
        load_imdb(tree, complete=False)
    (tree / "test/pos").rmdir()
    with pytest.raises(DatasetError, match=r"pos is missing"):
        load_imdb(tree, complete=False)
