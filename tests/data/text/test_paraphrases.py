"""Tests of minivit/data/text/paraphrases.py."""

import json

import numpy as np
import pytest

from minivit.data import DatasetError
from minivit.data.text import TextDataset, Vocabulary, export_lines, read_paraphrases
from minivit.data.text.paraphrases import is_alike

TEXTS = ("the first text of all", "the second text, na\u00efve", "the third and last text")


@pytest.fixture
def dataset():
    return TextDataset("toy", TEXTS, np.array([0, 1, 0]), ("x", "y"), ("t0", "t1", "t2"), "made up")


@pytest.fixture
def write(tmp_path):
    def to_file(*entries):
        path = tmp_path / "paraphrases.jsonl"
        lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return to_file


def test_an_export_filled_in_is_read_back(dataset, write):
    lines = list(export_lines(dataset))
    entries = [json.loads(line) for line in lines]
    assert [entry["id"] for entry in entries] == ["t0", "t1", "t2"]
    assert [entry["text"] for entry in entries] == list(TEXTS)
    empty = read_paraphrases(write(*lines), dataset)
    assert (empty.texts, empty.missing, empty.replaced) == (((), (), ()), 3, 0)
    entries[2]["paraphrases"] = ["the third text, the last", "the last of three texts"]
    entries[0]["paraphrases"] = ["of all texts the first"]
    filled = read_paraphrases(write(*reversed(entries)), dataset)
    assert filled.texts == (
        ("of all texts the first",),
        (),
        ("the third text, the last", "the last of three texts"),
    )
    assert (filled.missing, filled.replaced) == (1, 0)


def test_paraphrases_are_encoded_one_texts_after_the_others(dataset, write):
    path = write(
        {"id": "t2", "paraphrases": ["the last text of three", "three"]}, {"id": "t0", "paraphrases": ["first"]}
    )
    vocabulary = Vocabulary(("the", "first", "last", "text", "of"))
    tokens, counts = read_paraphrases(path, dataset, length_check=False).encode(vocabulary, 4)
    assert counts.tolist() == [1, 0, 2]
    assert counts.dtype == np.int64
    assert tokens.tolist() == [[3, 0, 0, 0], [4, 5, 6, 1], [1, 0, 0, 0]]


def test_a_paraphrase_of_an_incredible_length_is_replaced_by_the_original(dataset, write):
    path = write({"id": "t0", "paraphrases": ["tiny", TEXTS[0] * 2, "all texts' first one"]})
    found = read_paraphrases(path, dataset)
    assert found.texts[0] == (TEXTS[0], TEXTS[0], "all texts' first one")
    assert found.replaced == 2
    assert read_paraphrases(path, dataset, length_check=False).texts[0][0] == "tiny"


@pytest.mark.parametrize(
    ("original", "paraphrase", "alike"),
    [
        (20, 10, True),  # shorter by half
        (20, 30, True),  # longer by half
        (22, 10, False),
        (20, 31, False),
        (9, 10, False),  # too short to judge
        (10, 9, False),
        (10, 10, True),
    ],
)
def test_the_length_check_of_the_authors(original, paraphrase, alike):
    assert is_alike("o" * original, "p" * paraphrase) == alike


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], "line 1: expected JSON in UTF-8"),
        (["", '{"id": "t0", "paraphrases": []}', "[]"], "line 3: expected .*paraphrases"),
        ([{"id": "t0"}], "line 1: expected"),
        ([{"id": 0, "paraphrases": []}], "line 1: expected"),
        ([{"id": "t0", "paraphrases": "the first"}], "line 1: expected"),
        ([{"id": "t0", "paraphrases": ["fine", " "]}], "no empty paraphrase"),
        ([{"id": "t0", "text": 1, "paraphrases": []}], "line 1: expected"),
        ([{"id": "t9", "paraphrases": []}], "line 1: 'toy' has no text 't9'"),
        (
            [{"id": "t0", "paraphrases": []}, {"id": "t0", "paraphrases": ["x"]}],
            "line 2: 't0' stands here a second time",
        ),
        (
            [{"id": "t1", "text": "the 2nd text", "paraphrases": []}],
            "the text of 't1' is not the dataset's.*'the 2nd text'",
        ),
    ],
)
def test_a_line_that_does_not_fit_is_named(dataset, write, lines, message):
    with pytest.raises(DatasetError, match=message):
        read_paraphrases(write(*lines), dataset)


def test_bytes_that_are_not_utf8_are_named(dataset, tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"id": "t0", "paraphrases": ["caf\xe9"]}\n')
    with pytest.raises(DatasetError, match="line 1: expected JSON in UTF-8"):
        read_paraphrases(path, dataset)
