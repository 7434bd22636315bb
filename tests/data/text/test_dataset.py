"""Tests of minivit/data/text/dataset.py."""

import numpy as np
import pytest

from minivit.data import DatasetError
from minivit.data.text import TextDataset, TokenDataset, Vocabulary

VOCABULARY = Vocabulary(("a", "b", "c"))


def make_texts(**changes):
    fields = {
        "name": "toy",
        "texts": ("a b", "b c a b", "c"),
        "labels": np.array([0, 1, -1]),
        "classes": ("x", "y"),
        "ids": ("t0", "t1", "t2"),
        "source": "made up",
    }
    return TextDataset(**(fields | changes))


def make_tokens(**changes):
    fields = {
        "name": "toy",
        "tokens": np.array([[2, 3, 0], [4, 2, 3], [4, 0, 0]], np.int32),
        "labels": np.array([0, 1, -1]),
        "classes": ("x", "y"),
        "vocabulary": VOCABULARY,
        "source": "made up",
    }
    return TokenDataset(**(fields | changes))


@pytest.mark.parametrize("make", [make_texts, make_tokens])
def test_what_both_kinds_know(make):
    dataset = make()
    assert len(dataset) == 3
    assert dataset.num_classes == 2
    assert dataset.class_counts().tolist() == [1, 1]
    part = dataset.subset([1, 0, 1], name="part") if make is make_tokens else dataset.subset([1, 0], name="part")
    assert part.name == "part"
    assert part.labels.tolist()[:2] == [1, 0]
    assert len(dataset.subset([])) == 0


def test_representations_say_what_is_inside():
    assert repr(make_texts()) == "TextDataset('toy': 3 texts, 2 classes)"
    assert repr(make_tokens()) == "TokenDataset('toy': 3 texts of up to 3 tokens, 5 words, 2 classes)"


def test_encoding_keeps_everything_but_the_texts():
    texts = make_texts()
    encoded = texts.encode(VOCABULARY, 3)
    np.testing.assert_array_equal(encoded.tokens, make_tokens().tokens)
    assert encoded.labels is texts.labels
    assert (encoded.name, encoded.classes, encoded.source) == (texts.name, texts.classes, texts.source)


def test_a_subset_takes_texts_ids_and_labels_along():
    part = make_texts().subset([2, 0])
    assert part.texts == ("c", "a b")
    assert part.ids == ("t2", "t0")
    assert part.labels.tolist() == [-1, 0]
    assert make_tokens().subset([2, 0]).tokens.tolist() == [[4, 0, 0], [2, 3, 0]]


def test_inputs_are_what_a_model_takes():
    dataset = make_tokens()
    assert dataset.inputs is dataset.tokens


def test_two_sets_are_joined_if_their_classes_are_the_same():
    more = make_texts(name="more", texts=("a", "b", "c"), ids=("m0", "m1", "m2"), labels=np.full(3, -1))
    joined = make_texts().joined(more)
    assert joined.texts == ("a b", "b c a b", "c", "a", "b", "c")
    assert joined.ids[3:] == ("m0", "m1", "m2")
    assert joined.labels.tolist() == [0, 1, -1, -1, -1, -1]
    with pytest.raises(DatasetError, match="'more': expected the classes"):
        make_texts().joined(make_texts(name="more", classes=("y", "x")))
    with pytest.raises(DatasetError, match="6 different ids"):
        make_texts().joined(make_texts())


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (make_texts, {"labels": np.array([0, 1])}, r"labels \(3,\) of int64, got \(2,\)"),
        (make_texts, {"labels": np.array([0, 2, 1])}, "from 0 to 1, or -1 for unknown, got 2 for text number 1"),
        (make_texts, {"labels": np.array([0, 1, -2])}, "got -2 for text number 2"),
        (make_texts, {"classes": ("x", "x")}, "no name twice"),
        (make_texts, {"ids": ("t0", "t1", "t0")}, "3 different ids, got 3, of which 2"),
        (make_texts, {"texts": ("a", " \n", "c")}, "the text 't1' is empty"),
        (make_tokens, {"tokens": np.zeros((3, 3))}, "of int32, got .* of float64"),
        (make_tokens, {"tokens": np.zeros(3, np.int32)}, r"\(N, T\)"),
        (make_tokens, {"tokens": np.full((3, 2), 5, np.int32)}, "tokens from 0 to 4, got 5 to 5"),
        (make_tokens, {"tokens": np.array([[2, 0], [0, 2], [2, 2]], np.int32)}, "text number 1 has a gap"),
        (make_tokens, {"labels": np.zeros(3)}, "of int64"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(make, changes, message):
    with pytest.raises(DatasetError, match=message) as raised:
        make(**changes)
    assert "'toy'" in str(raised.value)


@pytest.mark.parametrize("make", [make_texts, make_tokens])
@pytest.mark.parametrize("indices", [[3], [-1], [0.0], [[0]]])
def test_wrong_indices_are_refused(make, indices):
    with pytest.raises(DatasetError, match="indices"):
        make().subset(indices)
