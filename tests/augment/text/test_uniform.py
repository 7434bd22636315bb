"""Tests of minivit/augment/text/uniform.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment.text import UniformReplacement
from minivit.backend import backend_for_device

TOKENS = np.array([[2, 3, 4, 5, 0], [6, 7, 8, 0, 0], [1, 9, 1, 9, 1]], np.int32)


def test_words_are_replaced_as_often_by_any_word():
    draws = 4000
    output = UniformReplacement(10, seed=0, probability=0.3)(np.repeat(TOKENS, draws, axis=0), 1, np.arange(3 * draws))
    for original, results in zip(TOKENS, output.reshape(3, draws, 5), strict=True):
        for place, word in enumerate(original):
            counts = np.bincount(results[:, place], minlength=10) / draws
            target = np.zeros(10)
            target[2:] = 0.3 / 8 if word else 0.0
            target[word] += 0.7 if word else 1.0
            assert (np.abs(counts - target) <= 5 * np.sqrt(target * (1 - target) / draws) + 1e-12).all()


def test_texts_of_one_or_two_words_stay():
    short = np.array([[2, 3, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0], [2, 3, 4, 0]])
    output = UniformReplacement(1000, seed=0, probability=1.0)(short, 0, np.arange(4))
    np.testing.assert_array_equal(output[:3], short[:3])
    assert (output[3] != short[3]).tolist() == [True, True, True, False]


def test_the_result_does_not_depend_on_how_the_batch_is_split():
    augment, index = UniformReplacement(10, seed=4), np.array([8, 1, 5])
    whole = augment(TOKENS, 2, index)
    np.testing.assert_array_equal(augment(TOKENS[[2, 0]], 2, index[[2, 0]]), whole[[2, 0]])
    assert (augment(TOKENS, 3, index) != whole).any()


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_gives_the_same_words_and_waits_for_nothing(device):
    augment, index = UniformReplacement(10, seed=4), np.arange(3)
    move = backend_for_device(device).from_host
    on_device = move(TOKENS, device), move(index, device)
    with watched(device, uploads=True):
        output = augment(on_device[0], 2, on_device[1])
    assert_same(output, augment(TOKENS, 2, index), device)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"probability": -0.1}, "from 0 to 1, got -0.1"), ({"vocabulary_size": 2}, "more than 2 tokens, got 2")],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        UniformReplacement(**({"vocabulary_size": 10, "seed": 0} | settings))
