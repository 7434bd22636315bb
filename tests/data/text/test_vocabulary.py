"""Tests of minivit/data/text/vocabulary.py."""

import json

import numpy as np
import pytest

from minivit.data.text import PADDING, UNKNOWN, Vocabulary

TEXTS = ["the cat sat", "The dog sat.", "the end"]


def test_the_most_frequent_words_come_first_and_ties_are_alphabetical():
    assert Vocabulary.build(TEXTS, 4).words == ("the", "sat", ".", "cat")
    assert Vocabulary.build(TEXTS, 100).words == ("the", "sat", ".", "cat", "dog", "end")


def test_encoding_numbers_words_and_pads_at_the_end():
    vocabulary = Vocabulary.build(TEXTS, 4)
    assert len(vocabulary) == 6
    rows = vocabulary.encode(["The cat!", "sat sat sat", ""], 4)
    assert rows.dtype == np.int32
    assert rows.tolist() == [[2, 5, UNKNOWN, PADDING], [3, 3, 3, PADDING], [PADDING] * 4]


def test_of_a_long_text_the_last_words_are_kept():
    vocabulary = Vocabulary.build(TEXTS, 10)
    assert vocabulary.decode(vocabulary.encode(["the dog sat . the end"], 3)[0]) == ". the end"


def test_decoding_inverts_encoding_for_known_words():
    vocabulary = Vocabulary.build(TEXTS, 10)
    assert [vocabulary.decode(row) for row in vocabulary.encode(["The dog sat.", "a cat"], 6)] == [
        "the dog sat .",
        "[UNK] cat",
    ]


def test_a_vocabulary_survives_json():
    vocabulary = Vocabulary.build(TEXTS, 5)
    assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict()))) == vocabulary


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Vocabulary(()), "at least one word"),
        (lambda: Vocabulary(("a", "b", "a")), "3 words, 2 of them different"),
        (lambda: Vocabulary(("a",)).encode(["a"], 0), "at least 1 token, got 0"),
        (lambda: Vocabulary.from_dict({"special": ["[PAD]"], "words": ["a"]}), "special tokens"),
        (lambda: Vocabulary.from_dict({"words": ["a"]}), "special tokens"),
    ],
)
def test_what_is_no_vocabulary_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
