"""Tests of minivit/data/text/copies.py."""

import numpy as np
import pytest

from minivit.data import DatasetError
from minivit.data.text import TextDataset, find_copies, refuse_copies, without_copies


def make(name, *texts):
    ids = tuple(f"{name}{i}" for i in range(len(texts)))
    return TextDataset(name, texts, np.zeros(len(texts), np.int64), ("x",), ids, "made up")


def test_copies_are_found_word_for_word_and_can_be_left_out():
    training, test = make("train", "one", "two", "three", "one"), make("test", "one", "Two")
    assert find_copies(training, test).tolist() == [0, 3]
    assert without_copies(training, test).texts == ("two", "three")
    assert len(find_copies(test, make("other", "two", "three"))) == 0


def test_copies_are_refused_by_name():
    training = make("train", "zero", "one")
    refuse_copies(training, make("test", "two"))
    with pytest.raises(DatasetError, match="1 of the 2 texts of 'train' are also in 'test', the first being 'train1'"):
        refuse_copies(training, make("test", "one", "two"))
