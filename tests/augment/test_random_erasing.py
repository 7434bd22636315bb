"""Tests of minivit/augment/random_erasing.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment import random_erasing
from minivit.backend import move

KEY = {"seed": 0, "step": 5}


def make(count=3000, channels=2, height=32, width=32):
    return np.full((count, channels, height, width), 7, np.float32), np.arange(count)


def boxes(erased):
    """Heights, widths, tops and lefts of the boxes, of those images that have one."""
    blank = erased != 7
    np.testing.assert_array_equal(blank[:, 0], blank[:, 1])
    rows, columns = blank[:, 0].any(2), blank[:, 0].any(1)
    np.testing.assert_array_equal(blank[:, 0], rows[:, :, None] & columns[:, None, :])
    found = rows.any(1)
    rows, columns = rows[found], columns[found]
    for side in (rows, columns):
        assert (np.abs(np.diff(side.astype(int), axis=1)).sum(1) <= 2).all(), "one stretch"
    return rows.sum(1), columns.sum(1), rows.argmax(1), columns.argmax(1)


def test_boxes_have_the_stated_areas_proportions_places_and_frequency():
    images, index = make()
    heights, widths, tops, lefts = boxes(random_erasing(images, image_index=index, **KEY))
    assert len(heights) == pytest.approx(1500, abs=90)
    share = heights * widths / 1024
    assert share.min() > 0.01
    assert share.max() < 0.36
    # A long box of a large area does not fit and is drawn anew, so the mean lies a little below the middle.
    assert 0.15 < share.mean() < (0.02 + 1 / 3) / 2 + 0.01
    proportions = np.log(heights / widths)
    assert abs(proportions.mean()) < 0.06
    assert np.abs(proportions).max() < np.log(1 / 0.3) + 0.5  # rounding small sides
    for starts, lengths in ((tops, heights), (lefts, widths)):
        place = (starts + np.random.default_rng(0).random(len(starts))) / (32 - lengths + 1)
        counts = np.histogram(place, 10, (0, 1))[0]
        expected = len(starts) / 10
        assert ((counts - expected) ** 2 / expected).sum() < 27.9  # the 99.9 % point at 9 degrees of freedom


def test_the_area_is_evenly_distributed_where_every_box_fits():
    images, index = make(4000)
    erased = random_erasing(images, image_index=index, probability=1.0, area=(0.1, 0.5), aspect=(1.0, 1.0), **KEY)
    heights, widths, *_ = boxes(erased)
    assert len(heights) == 4000
    np.testing.assert_array_equal(heights, widths)
    areas = np.linspace(0.1, 0.5, 100001) * 1024
    expected = np.bincount(np.rint(np.sqrt(areas)).astype(int)) / 100001
    counts = np.bincount(heights, minlength=len(expected))
    terms = expected > 0
    assert counts[~terms].sum() == 0
    chi = ((counts[terms] - 4000 * expected[terms]) ** 2 / (4000 * expected[terms])).sum()
    assert chi < 40  # about the 99.9 % point at 14 degrees of freedom
    always = random_erasing(images, image_index=index, probability=0.0, **KEY)
    np.testing.assert_array_equal(always, images)


def test_a_box_that_never_fits_is_left_out():
    images, index = make(50)
    erased = random_erasing(images, image_index=index, probability=1.0, area=(1.0, 1.0), aspect=(1.0, 1.0), **KEY)
    np.testing.assert_array_equal(erased, images)


def test_a_constant_may_be_another():
    images, index = make(40)
    erased, filled = (random_erasing(images, image_index=index, fill=fill, **KEY) for fill in (0.0, -1.5))
    np.testing.assert_array_equal(filled, np.where(erased == 0, np.float32(-1.5), images))


def test_noise_is_normal_and_differs_by_pixel_and_channel():
    images, index = make(200)
    key = {"image_index": index, "area": (0.3, 0.4)} | KEY
    box = random_erasing(images, **key) != 7
    noisy = random_erasing(images, mode="pixel", **key)
    np.testing.assert_array_equal(noisy[~box], 7)
    values = noisy[box].astype(np.float64)
    assert abs(values.mean()) < 0.01
    assert values.std() == pytest.approx(1, abs=0.01)
    assert np.mean(np.abs(values) < 1) == pytest.approx(0.6827, abs=0.005)
    first, second = noisy[:, 0][box[:, 0]], noisy[:, 1][box[:, 1]]
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert (np.diff(noisy, axis=3)[box[..., 1:] & box[..., :-1]] != 0).mean() > 0.99


@pytest.mark.parametrize("mode", ["const", "pixel"])
def test_the_result_does_not_depend_on_how_the_batch_is_split(mode):
    images, index = make(60)
    before = images.copy()
    index = index * 3 + 1
    whole = random_erasing(images, image_index=index, mode=mode, **KEY)
    for part in (slice(0, 1), slice(1, 40), [50, 3, 12]):
        found = random_erasing(images[part], image_index=index[part], mode=mode, **KEY)
        np.testing.assert_array_equal(found, whole[part])
    np.testing.assert_array_equal(images, before)
    for other in ({"seed": 1, "step": 5}, {"seed": 0, "step": 6}):
        assert (random_erasing(images, image_index=index, mode=mode, **other) != whole).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["const", "pixel"])
def test_it_is_the_same_on_every_device_and_never_waits(mode, dtype, device):
    images, index = make(20, 2, 12, 9)
    images = images.astype(dtype)
    expected = random_erasing(images, image_index=index, mode=mode, fill=-0.5, **KEY)
    there, there_index = move(images, device), move(index, device)
    with watched(device, uploads=True):
        found = random_erasing(there, image_index=there_index, mode=mode, fill=-0.5, **KEY)
    assert_same(found, expected, device)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": np.zeros((2, 3, 4, 4), np.uint8)}, TypeError, "a float type, got uint8"),
        ({"probability": 1.5}, ValueError, "probability from 0 to 1"),
        ({"area": (0.5, 0.2)}, ValueError, "smallest first"),
        ({"aspect": (0.0, 1.0)}, ValueError, "positive aspects"),
        ({"mode": "rand"}, ValueError, '"const" or "pixel", got'),
        ({"image_index": np.arange(3)}, ValueError, "index for each of 2 images"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    arguments = {"images": np.zeros((2, 3, 4, 4)), "image_index": np.arange(2)} | KEY | change
    with pytest.raises(error, match=message):
        random_erasing(**arguments)
