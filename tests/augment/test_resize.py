"""Tests of minivit/augment/resize.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment import resize
from minivit.augment.resize import interpolation_matrix
from minivit.backend import move


def images(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, channels, height, width)).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width", "size"), [(32, 32, 224), (32, 32, 96), (24, 40, 17), (9, 9, 32)])
def test_bytes_are_pillows_but_for_rounding(interpolation: str, height: int, width: int, size: int) -> None:
    Image = pytest.importorskip("PIL.Image")
    given = images(height, width)
    found = resize(given, size, interpolation)
    assert found.dtype == np.uint8
    assert found.shape == (2, 3, size, size)
    for before, after in zip(given, found, strict=True):
        picture = Image.fromarray(np.ascontiguousarray(before.transpose(1, 2, 0)))
        expected = np.asarray(picture.resize((size, size), Image.Resampling[interpolation.upper()]), np.int64)
        difference = np.abs(expected.transpose(2, 0, 1) - after)
        assert difference.max() <= 2
        assert (difference > 0).mean() < 0.005


@pytest.mark.reference
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [5, 12, 29])
def test_floats_are_pytorchs_with_antialias(interpolation: str, size: int) -> None:
    import torch

    given = np.random.default_rng(1).standard_normal((2, 3, 12, 17))
    expected = torch.nn.functional.interpolate(
        torch.tensor(given), size=(size, size), mode=interpolation, antialias=True
    )
    np.testing.assert_allclose(resize(given, size, interpolation), expected.numpy(), atol=1e-13)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_any_device_gives_the_same_and_is_not_waited_for(device: str, dtype: type) -> None:
    given = (images(8, 8) // 8 * 8).astype(dtype)
    expected = resize(given, 12, "bilinear")
    there = move(given, device)
    with watched(device, uploads=True):
        found = resize(there, 12, "bilinear")
    assert_same(found, expected, device)


def test_the_same_size_changes_nothing() -> None:
    given = images(8, 8)
    assert resize(given, 8) is given


def test_rows_of_the_matrix_sum_to_one_and_are_not_to_be_written() -> None:
    for options in ({}, {"interpolation": "bicubic"}, {"align_corners": True}, {"antialias": True}):
        matrix = interpolation_matrix(7, 4, **options)
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-15)
        with pytest.raises(ValueError, match="read-only"):
            matrix[0] = 0


def test_a_linear_ramp_stays_one_inside() -> None:
    ramp = np.arange(16.0).reshape(1, 1, 1, 16).repeat(16, 2)
    for interpolation in ("bilinear", "bicubic"):
        inside = resize(ramp, 32, interpolation)[0, 0, 0, 4:-4]
        np.testing.assert_allclose(np.diff(inside), 0.5, atol=1e-12)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="bilinear, bicubic, got 'nearest'"):
        resize(images(8, 8), 4, "nearest")
    with pytest.raises(ValueError, match="at least 1, got 8 and 0"):
        resize(images(8, 8), 0)
    with pytest.raises(ValueError, match=r"expected images \(B, C, H, W\), got \(3, 8, 8\)"):
        resize(images(8, 8)[0], 4)
    with pytest.raises(ValueError, match="take one"):
        interpolation_matrix(3, 4, align_corners=True, antialias=True)
