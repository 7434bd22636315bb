"""Tests of minivit/augment/randaugment/policy.py and dialects.py."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from minivit.augment import randaugment
from minivit.backend.random import random_bits


def make(count=60, channels=3, side=32):
    rng = np.random.default_rng(side)
    images = rng.integers(0, 256, (count, channels, side, side), dtype=np.uint8)
    images[::3] = np.linspace(30, 200, side).astype(np.uint8)  # ramps, which AutoContrast and Equalize change more
    return images, rng.permutation(10 * count)[:count]


def draws(policy, step, index, slot):
    """What the policy draws for one operation of each image: numbers from [0, 1)."""
    words = random_bits(np, policy.seed, step, "randaugment", index, 8 * policy.dialect.num_ops + 2)
    return words[:, 8 * slot : 8 * slot + 8] / 2**32


UDA_OPERATIONS = [
    "Invert", "Cutout", "Sharpness", "AutoContrast", "Posterize", "ShearX", "TranslateX", "TranslateY", "ShearY",
    "Rotate", "Equalize", "Contrast", "Color", "Solarize", "Brightness",
]  # fmt: skip


def uda_on_rgba(picture, name, level, negative, row, column):
    """One operation of UDA on a picture with an alpha channel, by Pillow."""
    sign = -1 if negative else 1

    def opaque(function, *arguments):
        return function(picture.convert("RGB"), *arguments).convert("RGBA")

    def affine(*matrix):
        return picture.transform(picture.size, Image.Transform.AFFINE, matrix)

    match name:
        case "AutoContrast":
            return opaque(ImageOps.autocontrast)
        case "Equalize":
            return opaque(ImageOps.equalize)
        case "Invert":
            return opaque(ImageOps.invert)
        case "Posterize":
            return opaque(ImageOps.posterize, [4, 4, 3, 3, 2, 2, 2, 1, 1][level - 1])
        case "Solarize":
            return opaque(ImageOps.solarize, 256 - int(25.6 * level))
        case "ShearX":
            return affine(1, sign * 0.03 * level, 0, 0, 1, 0)
        case "ShearY":
            return affine(1, 0, 0, sign * 0.03 * level, 1, 0)
        case "TranslateX":
            return affine(1, 0, sign * level, 0, 1, 0)
        case "TranslateY":
            return affine(1, 0, 0, 0, 1, sign * level)
        case "Rotate":
            return picture.rotate(sign * 3 * level)
        case "Cutout":
            size = 2 * level
            picture = picture.copy()
            pixels = picture.load()
            for y in range(max(0, row - size // 2), min(picture.height, row + size // 2)):
                for x in range(max(0, column - size // 2), min(picture.width, column + size // 2)):
                    pixels[x, y] = (125, 122, 113, 0)
            return picture
    return getattr(ImageEnhance, name)(picture).enhance(level * 1.8 / 10 + 0.1)


@pytest.mark.parametrize("gray", [False, True])
def test_uda_is_its_operations_on_pictures_with_an_alpha_channel(gray):
    images, index = make(400)
    if gray:
        images = np.repeat(images[:, :1], 3, axis=1)
    policy = randaugment("uda", seed=3, num_ops=3, cutout_size=0)  # three: more often one after another
    found, blank = policy(images, 7, index)
    assert found.dtype == np.uint8
    assert blank.dtype == bool
    assert blank.shape == (400, 1, 32, 32)
    pictures = [Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).convert("RGBA") for image in images]
    for slot in range(3):
        for number, (which, level, applied, sign, _, _, row, column) in enumerate(draws(policy, 7, index, slot)):
            if applied < 0.5:
                name = UDA_OPERATIONS[int(15 * which)]
                place = int(32 * row), int(32 * column)
                pictures[number] = uda_on_rgba(pictures[number], name, 1 + int(9 * level), sign >= 0.5, *place)
    expected = np.stack([np.asarray(picture) for picture in pictures]).transpose(0, 3, 1, 2)
    assert set(np.unique(expected[:, 3])) == {0, 255}
    np.testing.assert_array_equal(blank[:, 0], expected[:, 3] == 0)
    np.testing.assert_array_equal(found, expected[:, :3])
    below = found.transpose(0, 2, 3, 1)[blank[:, 0]]
    assert len(np.unique(below, axis=0)) > 10, "operations that keep the alpha channel change what lies below it"
    if gray:  # images of one channel are augmented as if they had three, but for the color that Cutout hides
        np.testing.assert_array_equal(policy(images[:, :1], 7, index)[1], blank)
