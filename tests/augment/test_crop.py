"""Tests of minivit/augment/crop.py and gather.py."""

import numpy as np
import pytest

from minivit.augment import random_crop
from minivit.augment.gather import gather, window
from minivit.backend.random import integers


def make(count=6, channels=3, height=8, width=10, dtype=np.uint8):
    return np.random.default_rng(0).integers(1, 256, (count, channels, height, width)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(("mode", "numpy_mode"), [("reflect", "reflect"), ("zero", "constant")])
def test_a_crop_is_a_window_of_the_padded_image(mode, numpy_mode, dtype):
    images, index, padding = make(dtype=dtype), np.array([4, 9, 2, 0, 7, 30]), 3
    cropped = random_crop(images, padding, seed=1, step=2, image_index=index, mode=mode)
    assert cropped.dtype == dtype
    padded = np.pad(images, [(0, 0), (0, 0), (padding, padding), (padding, padding)], mode=numpy_mode)
    offsets = integers(np, 1, 2, "crop", index, 2, 2 * padding + 1)
    for image, (top, left) in enumerate(offsets):
        np.testing.assert_array_equal(cropped[image], padded[image, :, top : top + 8, left : left + 10])
    assert len({tuple(offset) for offset in offsets.tolist()}) > 3


def test_every_shift_occurs():
    index = np.arange(4000)
    images = np.zeros((4000, 1, 5, 5), np.uint8)
    images[:, 0, 2, 2] = 1
    moved = random_crop(images, 2, seed=0, step=0, image_index=index, mode="zero")
    counts = moved[:, 0].sum(axis=0)
    assert counts.sum() == 4000
    assert ((counts - 160) ** 2 / 160).sum() < 51.2  # the 99.9 % point at 24 degrees of freedom


def test_the_result_does_not_depend_on_how_the_batch_is_split():
    images, index = make(), np.array([4, 9, 2, 0, 7, 30])
    whole = random_crop(images, 2, seed=1, step=2, image_index=index)
    for part in (slice(0, 1), slice(1, 4), [5, 0, 2]):
        split = random_crop(images[part], 2, seed=1, step=2, image_index=index[part])
        np.testing.assert_array_equal(split, whole[part])
    for key in ({"seed": 2, "step": 2}, {"seed": 1, "step": 3}):
        assert (random_crop(images, 2, image_index=index, **key) != whole).any()


def test_fill_is_what_lies_outside():
    images = make(50, 1)
    moved = random_crop(images, 4, seed=0, step=0, image_index=np.arange(50), mode="zero", fill=0)
    filled = random_crop(images, 4, seed=0, step=0, image_index=np.arange(50), mode="zero", fill=200)
    assert (moved == 0).any()  # the images themselves hold no 0
    np.testing.assert_array_equal(filled, np.where(moved == 0, 200, moved))


def test_no_padding_changes_nothing_and_the_input_is_left_alone():
    images = make()
    before = images.copy()
    for mode in ("reflect", "zero"):
        same = random_crop(images, 0, seed=0, step=0, image_index=np.arange(6), mode=mode)
        np.testing.assert_array_equal(same, images)
        random_crop(images, 3, seed=0, step=0, image_index=np.arange(6), mode=mode)
    np.testing.assert_array_equal(images, before)


def test_gather_takes_rows_and_columns():
    images = make(2)
    rows, columns = np.array([[0, 7, 3], [2, 2, 1]]), np.array([[9, 0], [4, 5]])
    output = gather(images, rows, columns, np)
    for image in range(2):
        np.testing.assert_array_equal(output[image], images[image][:, rows[image]][:, :, columns[image]])


def test_window_reflects_at_the_edge_pixels():
    assert window(np, np.array([-2, 3]), 5, "reflect").tolist() == [[2, 1, 0, 1, 2], [3, 4, 3, 2, 1]]
    assert window(np, np.array([-2, 3]), 5, "zero").tolist() == [[-1, -1, 0, 1, 2], [3, 4, -1, -1, -1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "wrap"}, 'expected mode "reflect" or "zero", got \'wrap\''),
        ({"padding": 8}, "padding of 0 to 7 for images of 8x10, got 8"),
        ({"padding": -1, "mode": "zero"}, "got -1"),
        ({"images": make()[0]}, r"\(B, C, H, W\), got \(3, 8, 10\)"),
        ({"image_index": np.arange(5)}, r"index for each of 6 images, got \(5,\)"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"images": make(), "padding": 2, "seed": 0, "step": 0, "image_index": np.arange(6)} | change
    with pytest.raises(ValueError, match=message):
        random_crop(**arguments)
