"""Tests of minivit/augment/cutout.py."""

import numpy as np
import pytest

from minivit.augment import cutout

KEY = {"seed": 0, "step": 5}


@pytest.mark.parametrize("size", [1, 4, 5])
def test_a_square_is_blanked_and_nothing_else(size):
    images = np.full((200, 2, 8, 9), 7, np.uint8)
    blanked = cutout(images, size, image_index=np.arange(200), **KEY) == 0
    assert (blanked[:, 0] == blanked[:, 1]).all()
    assert set(np.unique(np.where(blanked, 0, 7))) == {0, 7}
    rows, columns = blanked[:, 0].any(2), blanked[:, 0].any(1)
    np.testing.assert_array_equal(blanked[:, 0], rows[:, :, None] & columns[:, None, :])
    for side in (rows, columns):
        counts = side.sum(1)
        assert counts.max() == size
        assert counts.min() >= (size + 1) // 2, "the centre is in the image"
        assert (np.abs(np.diff(side.astype(int), axis=1)).sum(1) <= 2).all(), "one stretch"


def test_every_pixel_is_a_centre_equally_often():
    centres = cutout(np.ones((3500, 1, 5, 7), np.float32), 1, image_index=np.arange(3500), **KEY)[:, 0] == 0
    counts = centres.sum(0)
    assert ((counts - 100) ** 2 / 100).sum() < 65.3  # the 99.9 % point at 34 degrees of freedom


def test_the_fill_may_differ_by_channel():
    images = np.zeros((3, 3, 4, 4), np.uint8)
    filled = cutout(images, 9, image_index=np.arange(3), fill=(125.3, 122.9, 113.5), **KEY)
    assert filled.dtype == np.uint8
    assert np.unique(filled.reshape(3, 3, -1), axis=2).tolist() == [[[125], [123], [114]]] * 3
    floats = cutout(images.astype(np.float32), 9, image_index=np.arange(3), fill=0.25, **KEY)
    assert floats.dtype == np.float32
    assert (floats == 0.25).all()


def test_the_result_does_not_depend_on_how_the_batch_is_split():
    images = np.ones((6, 1, 9, 9), np.float32)
    index = np.array([5, 2, 9, 11, 0, 3])
    whole = cutout(images, 4, image_index=index, **KEY)
    np.testing.assert_array_equal(cutout(images[2:5], 4, image_index=index[2:5], **KEY), whole[2:5])
    np.testing.assert_array_equal(cutout(images, 0, image_index=index, **KEY), images)
    assert (images == 1).all()


@pytest.mark.parametrize(
    ("change", "message"), [({"size": -1}, "at least 0 pixels"), ({"fill": (1, 2)}, "1 or 3 fill values, got 2")]
)
def test_wrong_arguments_are_named(change, message):
    arguments = {"images": np.zeros((2, 3, 4, 4)), "size": 2, "image_index": np.arange(2)} | KEY | change
    with pytest.raises(ValueError, match=message):
        cutout(**arguments)
