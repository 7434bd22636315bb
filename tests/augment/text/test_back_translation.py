"""Tests of minivit/augment/text/back_translation.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment.text import BackTranslation, OneOf, UniformReplacement
from minivit.backend import backend_for_device

# Text 0 has three paraphrases, text 1 none, text 2 one.
PARAPHRASES = np.array([[10, 10, 0], [11, 11, 0], [12, 0, 0], [20, 21, 22]], np.int32)
COUNTS = np.array([3, 0, 1])
TEXTS = np.array([[2, 2, 2], [3, 3, 0], [4, 4, 4]], np.int32)


def test_every_text_gets_one_of_its_own_and_all_equally_often():
    augment, draws = BackTranslation(PARAPHRASES, COUNTS, seed=0), 6000
    firsts = np.array([augment(TEXTS, step, np.arange(3))[:, 0] for step in range(draws)])
    assert (firsts[:, 1] == 3).all()
    assert (firsts[:, 2] == 20).all()
    counts = np.bincount(firsts[:, 0], minlength=13)[[10, 11, 12]]
    assert counts.sum() == draws
    assert (np.abs(counts - draws / 3) < 5 * np.sqrt(draws * 2 / 9)).all()


def test_the_index_says_which_text_it_is():
    augment = BackTranslation(PARAPHRASES, COUNTS, seed=0)
    output = augment(TEXTS[[2, 1]], 0, np.array([2, 1]))
    assert output.tolist() == [[20, 21, 22], [3, 3, 0]]
    whole = augment(TEXTS, 5, np.arange(3))
    np.testing.assert_array_equal(augment(TEXTS[[0]], 5, np.array([0])), whole[[0]])


def test_without_any_paraphrase_the_texts_stay():
    augment = BackTranslation(np.zeros((0, 3), np.int32), np.zeros(3, np.int64), seed=0)
    np.testing.assert_array_equal(augment(TEXTS, 0, np.arange(3)), TEXTS)


def test_one_of_several_augmentations_is_chosen_for_each_text():
    class Constant:
        def __init__(self, word):
            self.word = word

        def __call__(self, tokens, step, text_index):
            return np.full_like(tokens, self.word)

    draws = 6000
    output = OneOf([Constant(5), Constant(6), Constant(7)], seed=1)(np.zeros((draws, 2), int), 0, np.arange(draws))
    assert (output[:, 0] == output[:, 1]).all()
    counts = np.bincount(output[:, 0], minlength=8)[5:]
    assert (np.abs(counts - draws / 3) < 5 * np.sqrt(draws * 2 / 9)).all()


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_gives_the_same_words_and_waits_for_nothing(device):
    augment = OneOf([BackTranslation(PARAPHRASES, COUNTS, seed=0), UniformReplacement(30, seed=0)], seed=2)
    index = np.array([2, 0, 1, 0, 0, 2])
    tokens = TEXTS[index]
    move = backend_for_device(device).from_host
    on_device = move(tokens, device), move(index, device)
    augment(on_device[0], 0, on_device[1])  # the tables are moved once
    with watched(device, uploads=True):
        output = augment(on_device[0], 2, on_device[1])
    assert_same(output, augment(tokens, 2, index), device)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BackTranslation(PARAPHRASES, np.array([3, 0, 2]), 0), "add up to M, got .* with the sum 5"),
        (lambda: BackTranslation(PARAPHRASES, COUNTS, 0)(TEXTS[:, :2], 0, np.arange(3)), "of 3 tokens .* got 2"),
        (lambda: BackTranslation(PARAPHRASES, COUNTS, 0)(TEXTS, 0, np.arange(2)), "index for each of 3 texts"),
        (lambda: OneOf([], 0), "at least one"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
