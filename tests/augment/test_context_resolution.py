"""Tests of minivit/augment/context_resolution.py."""

import numpy as np
import pytest
from PIL import Image

from minivit.augment import random_resolution
from minivit.augment.context_resolution import resize_matrix
from minivit.augment.draws import unit
from minivit.backend.random import random_bits

KEY = {"seed": 3, "step": 7}


def make(count=5, patches=9, channels=3, size=8, dtype=np.float32):
    return np.random.default_rng(0).normal(0.1, 0.3, (count, patches, channels, size, size)).astype(dtype)


def resized(channel, size):
    """Pillow's bilinear filter, which averages where it makes an image smaller."""
    return np.asarray(Image.fromarray(channel).resize((size, size), Image.Resampling.BILINEAR))


@pytest.mark.parametrize(("source", "target"), [(8, 3), (3, 8), (24, 7), (7, 24), (5, 5), (6, 1)])
def test_a_line_is_interpolated_as_pillow_does(source, target):
    image = make(1, 1, 1, source)[0, 0, 0]
    matrix = resize_matrix(source, target)
    np.testing.assert_allclose(matrix @ image @ matrix.T, resized(image, target), atol=1e-5)
    np.testing.assert_allclose(matrix.sum(1), 1)


def test_chosen_patches_are_made_smaller_and_larger_again():
    patches, index = make(), np.arange(5) * 3
    found = random_resolution(patches, 0.5, 9, image_index=index, **KEY)
    words = random_bits(np, 3, 7, "context resolution", index, 18)
    chosen = unit(words[:, :9]) < 0.5
    assert 10 < chosen.sum() < 35
    np.testing.assert_array_equal(found[~chosen], patches[~chosen])
    for patch, before in zip(found[chosen], patches[chosen], strict=True):
        candidates = [
            np.stack([resized(resized(channel, side), 8) for channel in before]) for side in range(3, 8)
        ]  # fmt: skip
        assert min(np.abs(patch - candidate).max() for candidate in candidates) < 1e-5


def test_the_number_of_pixels_is_evenly_distributed():
    size, fewest, count = 24, 100, 4000
    spike = np.zeros((count, 1, 1, size, size))
    spike[..., size // 2, size // 2] = 1
    found = random_resolution(spike, 1.0, fewest, image_index=np.arange(count), **KEY)
    shapes = {}
    for side in range(1, size):
        matrix = resize_matrix(side, size) @ resize_matrix(size, side)
        shapes[side] = matrix @ spike[0, 0, 0] @ matrix.T
    sides = np.array([min(shapes, key=lambda side: np.abs(shapes[side] - own).max()) for own in found[:, 0, 0]])
    assert sides.min() == 10
    assert sides.max() == 22  # the square root of less than 23 * 23, rounded down
    squares = np.linspace(fewest, (size - 1) ** 2, 200001)
    expected = np.bincount(np.sqrt(squares).astype(int), minlength=24)[10:23] / 200001 * count
    counts = np.bincount(sides, minlength=24)[10:23]
    assert ((counts - expected) ** 2 / expected).sum() < 32.9  # the 99.9 % point at 12 degrees of freedom


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (0.33, 0.33), (1.0, 1.0)])
def test_as_many_patches_are_chosen_as_asked_for(probability, share):
    patches = make(1000, 9, 1, 4)
    found = random_resolution(patches, probability, image_index=np.arange(1000), **KEY)
    changed = (found != patches).any((2, 3, 4)).mean()
    assert changed == pytest.approx(share, abs=0.02 * (0 < share < 1))


def test_flat_patches_stay_flat_and_dtypes_stay():
    for dtype in (np.float32, np.float64):
        flat = np.full((2, 9, 3, 8, 8), 0.25, dtype)
        found = random_resolution(flat, 1.0, 1, image_index=np.arange(2), **KEY)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, flat, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"patches": make()[0]}, ValueError, r"\(B, n, C, p, p\)"),
        ({"patches": make()[..., :5]}, ValueError, "square patches"),
        ({"patches": make().astype(np.uint8)}, TypeError, "float type, got uint8"),
        ({"probability": -0.1}, ValueError, "from 0 to 1"),
        ({"fewest_pixels": 50}, ValueError, "from 1 to 49 for patches of 8x8, got 50"),
        ({"fewest_pixels": 0}, ValueError, "got 0"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {"patches": make(), "image_index": np.arange(5)} | KEY | change
    with pytest.raises(error, match=message):
        random_resolution(**arguments)
