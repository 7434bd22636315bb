"""Tests of minivit/augment/random_resized_crop.py."""

import math

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment import random_resized_crop
from minivit.augment.random_resized_crop import ATTEMPTS, STEPS, crop_places
from minivit.backend import move
from minivit.backend.random import random_bits

KEY = {"seed": 3, "step": 5}


def make(count=40, channels=3, height=20, width=26, dtype=np.uint8):
    pixels = np.random.default_rng(0).integers(0, 256, (count, channels, height, width))
    return pixels.astype(dtype), np.arange(count) * 11


def boxes_by_loops(index, height, width, area, aspect):
    """Top, left, height and width for each image, as torchvision's ``get_params`` reads, from the same words."""
    found = []
    for words in random_bits(np, KEY["seed"], KEY["step"], "resized crop", index, 2 * ATTEMPTS + 2).astype(object):
        share = [(int(word) * STEPS >> 32) + 0.5 for word in words]
        for attempt in range(ATTEMPTS):
            target = height * width * (area[0] + (area[1] - area[0]) * share[attempt] / STEPS)
            low, high = math.log(aspect[0]), math.log(aspect[1])
            ratio = math.exp(low + (high - low) * share[ATTEMPTS + attempt] / STEPS)
            w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
            if 0 < w <= width and 0 < h <= height:
                found.append((words[-2] * (height - h + 1) >> 32, words[-1] * (width - w + 1) >> 32, h, w))
                break
        else:
            w, h = width, height
            if width / height < aspect[0]:
                h = round(width / aspect[0])
            elif width / height > aspect[1]:
                w = round(height * aspect[1])
            found.append(((height - h) // 2, (width - w) // 2, h, w))
    return found


def resized_by_loops(image, height, width):
    """A pixel at a time: the four around its place, edges repeated."""
    C, H, W = image.shape
    out = np.zeros((C, height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * H / height - 0.5, 0), H - 1)
            x = min(max((j + 0.5) * W / width - 0.5, 0), W - 1)
            top, left = int(y), int(x)
            below, right = min(top + 1, H - 1), min(left + 1, W - 1)
            upper = image[:, top, left] * (1 - x + left) + image[:, top, right] * (x - left)
            lower = image[:, below, left] * (1 - x + left) + image[:, below, right] * (x - left)
            out[:, i, j] = upper * (1 - y + top) + lower * (y - top)
    return out


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64], ids=["uint8", "float32", "float64"])
@pytest.mark.parametrize(
    ("size", "area", "aspect", "shape"),
    [
        (0, (0.08, 1.0), (3 / 4, 4 / 3), (20, 26)),
        (9, (0.05, 1.0), (3 / 4, 4 / 3), (20, 26)),
        (31, (0.3, 0.3), (1.0, 1.0), (20, 26)),
        (8, (0.5, 1.0), (3 / 4, 4 / 3), (10, 40)),  # no box of these proportions is large enough
        (8, (0.5, 1.0), (3 / 4, 4 / 3), (40, 10)),
        (8, (1.0, 1.0), (2.0, 3.0), (12, 12)),
    ],
    ids=str,
)
def test_it_is_a_loop_over_images(size, area, aspect, shape, dtype):
    images, index = make(height=shape[0], width=shape[1], dtype=dtype)
    before = images.copy()
    cropped = random_resized_crop(images, image_index=index, size=size, area=area, aspect=aspect, **KEY)
    assert cropped.dtype == dtype
    expected = np.stack(
        [
            resized_by_loops(image[:, top : top + h, left : left + w].astype(np.float64), size or 20, size or 26)
            for image, (top, left, h, w) in zip(images, boxes_by_loops(index, *shape, area, aspect), strict=True)
        ]
    )
    if dtype == np.uint8:
        np.testing.assert_array_equal(cropped, np.floor(expected + 0.5 + 1e-9))
    else:
        np.testing.assert_allclose(cropped, expected, atol=1e-4 if dtype == np.float32 else 1e-10)
    np.testing.assert_array_equal(images, before)


def test_boxes_have_the_stated_areas_proportions_and_places():
    rows, columns = crop_places(
        np, (4000, 1, 64, 64), 512, image_index=np.arange(4000), area=(0.05, 1.0), aspect=(3 / 4, 4 / 3), **KEY
    )
    tops, lefts = rows.first.min(1), columns.first.min(1)
    heights, widths = rows.second.max(1) - tops + 1, columns.second.max(1) - lefts + 1
    share = heights * widths / 4096
    assert 0.04 < share.min() < 0.06
    assert 0.9 < share.max() <= 1
    # A long box of a large area does not fit and is drawn anew, so the mean lies a little below the middle.
    assert 0.45 < share.mean() < 0.525
    proportions = np.log(widths / heights)
    assert abs(proportions.mean()) < 0.01
    assert np.abs(proportions).max() < math.log(4 / 3) + 0.1  # rounding small sides
    for starts, lengths in ((tops, heights), (lefts, widths)):
        place = (starts + np.random.default_rng(0).random(len(starts))) / (64 - lengths + 1)
        counts = np.histogram(place, 10, (0, 1))[0]
        assert ((counts - 400) ** 2 / 400).sum() < 27.9  # the 99.9 % point at 9 degrees of freedom


def test_the_whole_image_stays_as_it_is():
    images, index = make(height=24, width=24)
    whole = {"area": (1.0, 1.0), "aspect": (1.0, 1.0)}
    np.testing.assert_array_equal(random_resized_crop(images, image_index=index, **whole, **KEY), images)


@pytest.mark.reference
def test_the_resize_is_that_of_pytorch():
    """And so of TensorFlow: half-pixel centres, no antialias."""
    import torch

    images, index = make(6, height=40, width=40, dtype=np.float64)
    cropped = random_resized_crop(images, image_index=index, size=17, **KEY)
    boxes = boxes_by_loops(index, 40, 40, (0.08, 1.0), (3 / 4, 4 / 3))
    for image, found, (top, left, h, w) in zip(images, cropped, boxes, strict=True):
        crop = torch.from_numpy(image[None, :, top : top + h, left : left + w].copy())
        expected = torch.nn.functional.interpolate(crop, size=(17, 17), mode="bilinear", align_corners=False)
        np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-10)


def test_the_largest_sums_fit_into_their_integers():
    white = np.full((2, 1, 700, 900), 255, np.uint8)
    assert random_resized_crop(white, image_index=np.arange(2), size=1024, **KEY).min() == 255


def test_the_result_does_not_depend_on_how_the_batch_is_split():
    images, index = make()
    whole = random_resized_crop(images, image_index=index, **KEY)
    for part in (slice(0, 1), slice(1, 14), [5, 0, 2]):
        split = random_resized_crop(images[part], image_index=index[part], **KEY)
        np.testing.assert_array_equal(split, whole[part])
    for key in ({"seed": 4, "step": 5}, {"seed": 3, "step": 6}):
        assert (random_resized_crop(images, image_index=index, **key) != whole).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32], ids=["uint8", "float32"])
def test_it_runs_on_devices_and_never_waits(device, dtype):
    images, index = make(dtype=dtype)
    expected = random_resized_crop(images, image_index=index, size=12, **KEY)
    on_device, index_there = move(images, device), move(index, device)
    with watched(device, uploads=True):
        found = random_resized_crop(on_device, image_index=index_there, size=12, **KEY)
    assert_same(found, expected, device)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"area": (0.0, 1.0)}, ValueError, "areas from above 0 to 1"),
        ({"area": (0.5, 0.1)}, ValueError, "smallest first"),
        ({"area": (0.5, 1.1)}, ValueError, "areas from above 0 to 1"),
        ({"aspect": (2.0, 1.0)}, ValueError, "positive aspects"),
        ({"size": -1}, ValueError, "size of 1 to 1024"),
        ({"size": 1025}, ValueError, "got 1025, 20x26"),
        ({"images": make(dtype=np.int64)[0]}, TypeError, "uint8 or a float type, got int64"),
        ({"images": make()[0][0]}, ValueError, r"\(B, C, H, W\)"),
        ({"image_index": np.arange(3)}, ValueError, "index for each of 40 images"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    images, index = make()
    with pytest.raises(error, match=message):
        random_resized_crop(**({"images": images, "image_index": index} | KEY | change))
