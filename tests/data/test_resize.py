"""Tests of minivit/data/resize.py."""

import numpy as np
import pytest

from minivit.data.resize import resize_area, resize_bilinear

SIZES = [((9, 13), (4, 5)), ((9, 13), (20, 31)), ((8, 8), (8, 8)), ((50, 37), (7, 37)), ((1, 3), (2, 2))]


def make(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def bilinear_by_loops(pixels, height, width):
    """A pixel at a time: the four pixels around the place whose centre is scaled, edges repeated."""
    H, W, C = pixels.shape
    out = np.zeros((height, width, C))
    for i in range(height):
        for j in range(width):
            y, x = (i + 0.5) * H / height - 0.5, (j + 0.5) * W / width - 0.5
            top, left = int(np.floor(y)), int(np.floor(x))
            for row, share in ((top, 1 - (y - top)), (top + 1, y - top)):
                for column, part in ((left, 1 - (x - left)), (left + 1, x - left)):
                    out[i, j] += share * part * pixels[min(max(row, 0), H - 1), min(max(column, 0), W - 1)]
    return out


def area_by_loops(pixels, height, width):
    """A pixel at a time: every old pixel weighted by the area that it shares with the new one."""
    H, W, C = pixels.shape
    out = np.zeros((height, width, C))
    tall, wide = H / height, W / width
    for i in range(height):
        for j in range(width):
            for row in range(H):
                for column in range(W):
                    shared_rows = min((i + 1) * tall, row + 1) - max(i * tall, row)
                    shared_columns = min((j + 1) * wide, column + 1) - max(j * wide, column)
                    out[i, j] += max(shared_rows, 0) * max(shared_columns, 0) * pixels[row, column] / (tall * wide)
    return out


@pytest.mark.parametrize(("size", "wanted"), SIZES, ids=str)
def test_bilinear_is_its_definition(size, wanted):
    pixels = make(*size)
    resized = resize_bilinear(pixels, *wanted)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, bilinear_by_loops(pixels, *wanted), atol=2e-3)


@pytest.mark.parametrize(("size", "wanted"), SIZES, ids=str)
def test_area_is_its_definition(size, wanted):
    pixels = make(*size)
    np.testing.assert_allclose(resize_area(pixels, *wanted), area_by_loops(pixels, *wanted), atol=1e-10)


def test_bilinear_does_not_look_between_the_neighbours():
    """Shrunk threefold, each new pixel is one old one, the centre of its square. Antialias would average."""
    pixels = make(9, 9)
    np.testing.assert_allclose(resize_bilinear(pixels, 3, 3), pixels[1::3, 1::3], atol=1e-3)


@pytest.mark.reference
@pytest.mark.parametrize("wanted", [(224, 224), (384, 384), (17, 300)])
def test_bilinear_is_that_of_pytorch(wanted):
    """Which defines it as TensorFlow does: half-pixel centres, no antialias."""
    import torch

    pixels = make(333, 500)
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32))[None]
    expected = torch.nn.functional.interpolate(image, size=wanted, mode="bilinear", align_corners=False)
    found = resize_bilinear(pixels, *wanted).transpose(2, 0, 1)
    np.testing.assert_allclose(found, expected[0].numpy(), atol=0.02)


@pytest.mark.reference("jax")
def test_bilinear_is_that_of_jax():
    import jax

    pixels = make(33, 50)
    expected = jax.image.resize(pixels.astype(np.float32), (16, 24, 3), "bilinear", antialias=False)
    np.testing.assert_allclose(resize_bilinear(pixels, 16, 24), np.asarray(expected), atol=0.02)


@pytest.mark.reference
def test_area_is_pytorchs_mean_where_the_sizes_divide():
    import torch

    pixels = make(48, 60)
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float64))[None]
    expected = torch.nn.functional.interpolate(image, size=(16, 12), mode="area")[0].numpy()
    np.testing.assert_allclose(resize_area(pixels, 16, 12).transpose(2, 0, 1), expected, atol=1e-10)
