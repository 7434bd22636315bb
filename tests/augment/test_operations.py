"""Tests of minivit/augment/randaugment/operations.py and its parts: each operation is Pillow's, bit for bit."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from minivit.augment import OPERATIONS

SIZES = [(32, 32), (8, 8), (28, 28), (17, 30)]
FILL = (128, 77, 3)


def make(channels, height, width):
    """Noise, a ramp, one value, two values, a bright and a dark half, and few levels."""
    rng = np.random.default_rng(height * width + channels)
    shape = (channels, height, width)
    noise = rng.integers(0, 256, (4, *shape))
    ramp = np.broadcast_to(np.linspace(20, 230, width).astype(int), shape)
    constant = np.broadcast_to(np.array([0, 127, 255])[:channels, None, None], shape)
    two = rng.integers(0, 2, shape) * 200 + 3
    halves = np.where(np.arange(height)[:, None] < height // 2, 255, rng.integers(0, 3, shape))
    few = rng.integers(100, 104, shape)
    dark = np.where(rng.random(shape) < 0.97, 0, rng.integers(0, 256, shape))
    return np.concatenate([noise, np.stack([ramp, constant, two, halves, few, dark])]).astype(np.uint8)


def to_pillow(image):
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def from_pillow(picture):
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def affine(*matrix):
    def transform(picture, fill, filter):
        color = fill if picture.mode == "RGB" else fill[0]
        return picture.transform(picture.size, Image.Transform.AFFINE, matrix, filter, fillcolor=color)

    return transform


def rotate(degrees):
    return lambda picture, fill, filter: picture.rotate(
        degrees, filter, fillcolor=fill if picture.mode == "RGB" else fill[0]
    )


MOVES = {
    "ShearX": lambda slope: affine(1, slope, 0, 0, 1, 0),
    "ShearY": lambda slope: affine(1, 0, 0, slope, 1, 0),
    "TranslateX": lambda pixels: affine(1, 0, pixels, 0, 1, 0),
    "TranslateY": lambda pixels: affine(1, 0, 0, 0, 1, pixels),
    "Rotate": rotate,
}
VALUES = {
    "ShearX": [sign * 0.3 * level / 10 for level in range(1, 11) for sign in (1, -1)] + [0.0, 0.123456],
    "ShearY": [sign * 0.3 * level / 10 for level in range(1, 11) for sign in (1, -1)] + [0.0, -0.987],
    "TranslateX": [*range(-12, 13), 3.5, -3.25, 4.05, -14.4, 100],
    "TranslateY": [*range(-12, 13), 3.5, -3.25, 4.05, -14.4, -100],
    "Rotate": [*range(-30, 31, 3), 9.000000357627869, 27.3, -13.7, 45, 90, 180],
}
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MOVES)
def test_an_affine_transform_is_pillows(name, channels, size, interpolation):
    images = make(channels, *size)
    for value in VALUES[name]:
        moved = OPERATIONS[name](images, value, fill=FILL[:channels], interpolation=interpolation)
        for image, result in zip(images, moved, strict=True):
            expected = MOVES[name](value)(to_pillow(image), FILL, FILTERS[interpolation])
            np.testing.assert_array_equal(result, from_pillow(expected), f"{name} by {value}")


def table(function):
    return lambda picture, value: function(picture)


COLORS = {
    "Invert": table(ImageOps.invert),
    "AutoContrast": table(ImageOps.autocontrast),
    "Equalize": table(ImageOps.equalize),
    "Posterize": lambda picture, bits: ImageOps.posterize(picture, bits),
    "Solarize": lambda picture, threshold: ImageOps.solarize(picture, threshold),
    "SolarizeAdd": lambda picture, addend: picture.point(
        [min(255, v + addend) if v < 128 else v for v in range(256)] * len(picture.getbands())
    ),
    "Brightness": lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor),
    "Contrast": lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor),
    "Color": lambda picture, factor: ImageEnhance.Color(picture).enhance(factor),
    "Sharpness": lambda picture, factor: ImageEnhance.Sharpness(picture).enhance(factor),
    "Identity": table(lambda picture: picture),
}
FACTORS = [level * 1.8 / 10 + 0.1 for level in range(11)] + [0.0, 0.05, 0.5, 1.0, 1.27, 0.73, 2.0, 1.8999999]
COLOR_VALUES = {
    "Posterize": range(1, 9),
    "Solarize": [0, 1, 26, 178.5, 231, 255, 256],
    "SolarizeAdd": [0, 1, 55, 110, 200],
    "Brightness": FACTORS,
    "Contrast": FACTORS,
    "Color": FACTORS,
    "Sharpness": FACTORS,
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", COLORS)
def test_an_operation_on_colors_is_pillows(name, channels, size):
    images = make(channels, *size)
    before = images.copy()
    for value in COLOR_VALUES.get(name, [0]):
        found = OPERATIONS[name](images, value)
        for image, result in zip(images, found, strict=True):
            np.testing.assert_array_equal(
                result, from_pillow(COLORS[name](to_pillow(image), value)), f"{name} with {value}"
            )
    np.testing.assert_array_equal(images, before)
