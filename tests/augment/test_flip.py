"""Tests of minivit/augment/flip.py."""

import numpy as np

from minivit.augment import random_flip


def test_half_of_the_images_are_mirrored():
    images = np.arange(400 * 6, dtype=np.uint8).reshape(400, 1, 2, 3)
    index = np.arange(400)
    flipped = random_flip(images, seed=3, step=1, image_index=index)
    mirrored = (flipped == images[..., ::-1]).all((1, 2, 3))
    assert ((flipped == images).all((1, 2, 3)) ^ mirrored).all()
    assert 160 < mirrored.sum() < 240
    np.testing.assert_array_equal(random_flip(images[7:90], seed=3, step=1, image_index=index[7:90]), flipped[7:90])
    assert (random_flip(images, seed=3, step=2, image_index=index) != flipped).any()


def test_the_probability_is_kept():
    images = np.arange(3, dtype=np.float32).reshape(1, 1, 1, 3).repeat(300, axis=0)
    key = {"seed": 0, "step": 0, "image_index": np.arange(300)}
    np.testing.assert_array_equal(random_flip(images, probability=0, **key), images)
    np.testing.assert_array_equal(random_flip(images, probability=1, **key), images[..., ::-1])
    assert 35 < (random_flip(images, probability=0.2, **key)[:, 0, 0, 0] == 2).sum() < 85
