"""Tests of minivit/augment/randaugment/operations.py and its parts: each operation is Pillow's, bit for bit."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageEnhance, ImageOps

from minivit.augment import OPERATIONS
from minivit.augment.randaugment.operations import Plan, application, apply
from minivit.backend import array_module, move

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


@given(
    images=arrays(
        np.uint8, st.tuples(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 24), st.integers(1, 24))
    ),
    levels=st.integers(0, 255),
    factor=st.floats(0, 2),
)
def test_measured_tables_are_pillows_on_any_image(images, levels, factor):
    images = np.minimum(images, np.uint8(levels))  # often few values, one of them frequent
    for name in ("AutoContrast", "Equalize", "Contrast", "Sharpness", "Color"):
        found = OPERATIONS[name](images, factor)
        for image, result in zip(images, found, strict=True):
            np.testing.assert_array_equal(result, from_pillow(COLORS[name](to_pillow(image), factor)), name)


@given(value=st.floats(-40, 40), size=st.tuples(st.integers(1, 20), st.integers(1, 20)), data=st.data())
def test_affine_transforms_are_pillows_by_any_value(value, size, data):
    name = data.draw(st.sampled_from(sorted(MOVES)))
    interpolation = data.draw(st.sampled_from(sorted(FILTERS)))
    image = np.random.default_rng(0).integers(0, 256, (1, 3, *size), dtype=np.uint8)
    found = OPERATIONS[name](image, value, fill=FILL, interpolation=interpolation)[0]
    expected = MOVES[name](value)(to_pillow(image[0]), FILL, FILTERS[interpolation])
    np.testing.assert_array_equal(found, from_pillow(expected))


def test_autocontrast_rounds_as_pillow_between_any_two_values():
    """Where 255 (v - low) / (high - low) is whole, the rounding of floats decides which level it is cut off to."""
    pairs = [(low, low + reach) for reach in range(1, 256) for low in {0, 1, 7, (255 - reach) // 2, 255 - reach}]
    pairs = np.array([(low, high) for low, high in pairs if high < 256])
    images = np.clip(np.arange(256), pairs[:, :1], pairs[:, 1:]).astype(np.uint8).reshape(-1, 1, 16, 16)
    for image, result in zip(images, OPERATIONS["AutoContrast"](images), strict=True):
        np.testing.assert_array_equal(result, from_pillow(ImageOps.autocontrast(to_pillow(image))))


def test_posterize_to_no_bits_is_black():
    images = make(3, 8, 8)
    assert (OPERATIONS["Posterize"](images, 0) == 0).all()
    np.testing.assert_array_equal(OPERATIONS["Posterize"](images, 8), images)


@pytest.mark.parametrize("size", [0, 2, 5, 6, 40])
def test_cutout_leaves_a_square_in_the_middle(size):
    images = np.full((2, 3, 10, 12), 7, np.uint8)
    cut = OPERATIONS["Cutout"](images, size, fill=(1, 2, 3))
    half = size // 2
    expected = images.copy()
    expected[:, :, max(0, 5 - half) : 5 + half, max(0, 6 - half) : 6 + half] = np.array([1, 2, 3])[:, None, None]
    np.testing.assert_array_equal(cut, expected)


VALUE = {
    "Posterize": 3,
    "Solarize": 100,
    "SolarizeAdd": 50,
    "Rotate": -20,
    "TranslateX": 3,
    "TranslateY": -2,
    "Cutout": 4,
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("interpolation", FILTERS)
def test_each_image_gets_the_operation_of_its_row(interpolation, device):
    images = make(3, 12, 12)
    plan = Plan.of([application(name, VALUE.get(name, 0.3), 12, 12) for name in OPERATIONS])
    rows = np.arange(len(images) * 2) % len(OPERATIONS)
    state = np.concatenate([images, images[::-1]])
    names = [list(OPERATIONS)[row] for row in rows]
    expected = np.concatenate(
        [
            OPERATIONS[name](state[k : k + 1], VALUE.get(name, 0.3), fill=FILL, interpolation=interpolation)
            for k, name in enumerate(names)
        ]
    )
    there, there_rows = move(state.copy(), device), move(rows, device)
    cubic = move(np.full(len(rows), interpolation == "bicubic"), device)
    place = move(np.full((len(rows), 2), 2**31, np.uint32), device)
    fill = move(np.array(FILL, np.uint8), device)
    plan = plan.on(array_module(there))
    with watched(device):
        cubic = None if interpolation == "nearest" else cubic
        apply(there, 3, there_rows, plan, fill=fill, cut_color=fill, place=place, cubic=cubic)
    assert_same(there, expected, device)


def test_wrong_arguments_are_named():
    images = make(3, 8, 8)
    with pytest.raises(ValueError, match='"nearest", "bilinear" or "bicubic", got \'cubic\''):
        OPERATIONS["Rotate"](images, 3, interpolation="cubic")
    with pytest.raises(ValueError, match=r"an operation of Identity, ShearX, .*, got 'Blur'"):
        application("Blur", 1, 8, 8)
