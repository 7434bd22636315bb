"""Tests of minivit/augment/color_rotation.py."""

import numpy as np
import pytest

from minivit.augment import TrainAugmentation, color_rotation, normalize

RNG = np.random.default_rng(5)


def rotated(images: np.ndarray, index: np.ndarray | None = None, step: int = 1) -> np.ndarray:
    index = np.arange(len(images)) if index is None else index
    return color_rotation(images, seed=3, step=step, image_index=index)


def test_distances_between_the_colours_of_an_image_stay() -> None:
    images = RNG.normal(size=(20, 3, 4, 5)).astype(np.float32)
    colours, moved = (x.reshape(20, 3, 20) for x in (images, rotated(images)))
    gram, moved_gram = (np.matmul(x.transpose(0, 2, 1), x) for x in (colours, moved))
    np.testing.assert_allclose(moved_gram, gram, atol=1e-4)
    assert np.abs(moved - colours).max() > 1


def test_every_direction_is_as_likely_as_every_other() -> None:
    """One colour, rotated in 20,000 images: its mean is the middle, its covariance that of a sphere."""
    red = np.zeros((20_000, 3, 1, 1), np.float32)
    red[:, 0] = 1
    where = rotated(red).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(where, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(where.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(where.T @ where / len(where), np.eye(3) / 3, atol=0.02)


def test_half_of_the_images_are_mirrored_in_colour_space() -> None:
    corners = np.eye(3, dtype=np.float32).reshape(1, 3, 3, 1).repeat(2000, 0)  # three pixels: red, green, blue
    handedness = np.linalg.det(rotated(corners).reshape(2000, 3, 3).astype(np.float64))
    np.testing.assert_allclose(np.abs(handedness), 1, atol=1e-4)
    assert 900 < (handedness > 0).sum() < 1100


def test_an_image_is_changed_alike_in_every_batch_and_differently_in_every_step() -> None:
    images = RNG.normal(size=(12, 3, 4, 4)).astype(np.float32)
    index = np.arange(12) * 7
    whole = rotated(images, index)
    np.testing.assert_array_equal(rotated(images[5:8], index[5:8]), whole[5:8])
    assert (rotated(images, index, step=2) != whole).any()


def test_grey_images_are_inverted_or_not() -> None:
    images = RNG.normal(size=(300, 1, 2, 2)).astype(np.float32)
    changed = rotated(images)
    same, inverted = ((changed == sign * images).all((1, 2, 3)) for sign in (1, -1))
    assert (same ^ inverted).all()
    assert 110 < inverted.sum() < 190


def test_in_the_pipeline_it_comes_after_the_normalisation() -> None:
    images = RNG.integers(0, 256, (6, 3, 8, 8)).astype(np.uint8)
    settings = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.2), "seed": 3, "padding": 0, "flip": False}
    index = np.arange(6)
    found = TrainAugmentation(**settings, rotate_colors=True)(images, 1, index)
    np.testing.assert_array_equal(found, rotated(normalize(images, settings["mean"], settings["std"]), index))


def test_bytes_and_other_channels_are_refused() -> None:
    with pytest.raises(TypeError, match="normalised"):
        rotated(np.zeros((2, 3, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        rotated(np.zeros((2, 2, 4, 4), np.float32))
