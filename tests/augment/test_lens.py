"""Tests of minivit/augment/lens.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment import lens
from minivit.backend import move


def make(count=3, channels=3, side=10):
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side)).astype(np.uint8)


def test_a_pixel_is_a_weighted_mean_around_the_place_that_is_shown():
    images, factors, side, blur = make(), (1.0, 1.2, 0.9), 15, 0.7
    seen = lens(images, side, factors, blur)
    assert seen.shape == (3, 3, side, side)
    assert seen.dtype == np.uint8
    rows, columns = np.mgrid[:10, :10]
    for channel, factor in enumerate(factors):
        for i in range(side):
            for j in range(side):
                y, x = (
                    min(max(5 + (k + 0.5 - side / 2) * 10 / side / factor - 0.5, 0), 9) for k in (i, j)
                )  # fmt: skip
                weights = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * blur**2))
                expected = (images[:, channel] * weights).sum((1, 2)) / weights.sum()
                assert np.abs(seen[:, channel, i, j] - expected).max() <= 0.51


def test_a_channel_is_displaced_outwards_in_proportion_to_the_distance_from_the_middle():
    """A spot in every channel: the green one lies a tenth further out."""
    for row, column in ((7, 7), (8, 20), (23, 12), (15, 24)):
        images = np.zeros((1, 3, 32, 32), np.uint8)
        images[:, :, row, column] = 255
        seen = lens(images, 64, (1.0, 1.1, 1.0), 1.5).astype(float)[0]
        places = np.arange(64) + 0.5 - 32  # from the middle
        for axis in (0, 1):
            red, green, blue = (
                (channel.sum(1 - axis) * places).sum() / channel.sum() for channel in seen
            )  # fmt: skip
            assert red == blue
            assert green == pytest.approx(1.1 * red, abs=0.15)


def test_every_place_is_as_sharp():
    """The variance of noise does not depend on where it is, nor on the magnification."""
    noise = np.random.default_rng(1).integers(0, 256, (4000, 1, 16, 16)).astype(np.uint8).repeat(2, 1)
    variance = lens(noise, 32, (1.0, 1.06)).astype(float).var(0)[:, 6:-6, 6:-6]
    assert variance.std() / variance.mean() < 0.04  # 0.022 of it from the number of images
    assert variance[1].mean() == pytest.approx(variance[0].mean(), rel=0.02)


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_the_same_on_every_device_and_never_waits(device):
    images = make()
    expected = lens(images, 15, (1.0, 1.2, 0.9))
    there = move(images, device)
    with watched(device, uploads=True):
        found = lens(there, 15, (1.0, 1.2, 0.9))
    assert_same(found, expected, device)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"images": make().astype(np.float32)}, TypeError, "uint8, got float32"),
        ({"images": make()[..., :8]}, ValueError, "square images"),
        ({"magnification": (1.0, 1.1)}, ValueError, "each of 3 channels, got 2"),
        ({"magnification": (1.0, 0.0, 1.0)}, ValueError, "must be positive"),
        ({"blur": 0.0}, ValueError, "must be positive"),
        ({"side": 0}, ValueError, "must be positive"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        lens(**({"images": make(), "side": 20, "magnification": (1.0, 1.1, 1.0)} | change))
