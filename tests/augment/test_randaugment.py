"""Tests of minivit/augment/randaugment/policy.py and dialects.py, against transcriptions of the originals by Pillow."""

from collections import Counter
from statistics import NormalDist

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from minivit.augment import TrainAugmentation, randaugment
from minivit.augment.draws import below, unit
from minivit.backend import move
from minivit.backend.random import integers, random_bits, uniform

STYLES = ["uda", "torchvision", "timm", "fixmatch"]


def make(count=60, channels=3, side=32):
    rng = np.random.default_rng(side)
    images = rng.integers(0, 256, (count, channels, side, side), dtype=np.uint8)
    images[::3] = np.linspace(30, 200, side).astype(np.uint8)  # ramps, which AutoContrast and Equalize change more
    return images, rng.permutation(10 * count)[:count]


def draws(policy, step, index):
    """What a policy draws: numbers from [0, 1), eight for each operation and two at the end, for each image."""
    return random_bits(np, policy.seed, step, "randaugment", index, 8 * policy.dialect.num_ops + 2) / 2**32


def to_pillow(image):
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def from_pillow(picture):
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def transcribed(images, policy, step, index, one, finish=None):
    """The images through one operation after another, as `one` says, and `finish` in the end."""
    results = []
    for image, numbers in zip(images, draws(policy, step, index), strict=True):
        picture = to_pillow(image)
        for slot in range(policy.dialect.num_ops):
            picture = one(picture, *numbers[8 * slot : 8 * slot + 8])
        results.append(from_pillow(finish(picture, *numbers[-2:]) if finish else picture))
    return np.stack(results)


def affine(picture, matrix, filter=Image.Resampling.NEAREST, gray=None):
    color = None if gray is None else (gray,) * len(picture.getbands()) if picture.mode != "L" else gray
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, filter, fillcolor=color)


# UDA

UDA = [
    "Invert", "Cutout", "Sharpness", "AutoContrast", "Posterize", "ShearX", "TranslateX", "TranslateY", "ShearY",
    "Rotate", "Equalize", "Contrast", "Color", "Solarize", "Brightness",
]  # fmt: skip


def uda(picture, which, level, applied, sign, _, __, row, column):
    """One operation of UDA on a picture with an alpha channel."""
    picture = picture.convert("RGBA")
    if applied >= 0.5:
        return picture
    level, sign, side = 1 + int(9 * level), -1 if sign >= 0.5 else 1, picture.width
    pixels = sign * int(level * side / 32)

    def opaque(function, *arguments):
        return function(picture.convert("RGB"), *arguments).convert("RGBA")

    match name := UDA[int(15 * which)]:
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
            return affine(picture, (1, sign * 0.03 * level, 0, 0, 1, 0))
        case "ShearY":
            return affine(picture, (1, 0, 0, sign * 0.03 * level, 1, 0))
        case "TranslateX":
            return affine(picture, (1, 0, pixels, 0, 1, 0))
        case "TranslateY":
            return affine(picture, (1, 0, 0, 0, 1, pixels))
        case "Rotate":
            return picture.rotate(sign * 3 * level)
        case "Cutout":
            half, row, column = int(2 * level * side / 32) // 2, int(side * row), int(side * column)
            pixels = picture.load()
            for y in range(max(0, row - half), min(side, row + half)):
                for x in range(max(0, column - half), min(side, column + half)):
                    pixels[x, y] = (125, 122, 113, 0)
            return picture
    return getattr(ImageEnhance, name)(picture).enhance(level * 1.8 / 10 + 0.1)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("side", [32, 28, 64])
def test_uda_is_its_operations_on_pictures_with_an_alpha_channel(side, gray):
    images, index = make(300, side=side)
    if gray:
        images = np.repeat(images[:, :1], 3, axis=1)
    policy = randaugment("uda", seed=3, image_size=side, num_ops=3, cutout_size=0)  # three: more meet one another
    found, blank = policy(images, 7, index)
    expected = transcribed(images, policy, 7, index, uda)
    assert found.dtype == np.uint8
    assert blank.dtype == bool
    assert set(np.unique(expected[:, 3])) == {0, 255}
    np.testing.assert_array_equal(blank, expected[:, 3:] == 0)
    np.testing.assert_array_equal(found, expected[:, :3])
    below_blank = np.unique(found.transpose(0, 2, 3, 1)[blank[:, 0]], axis=0)
    assert len(below_blank) > 3, "operations that keep the alpha channel change what lies below it"
    if gray:  # images of one channel are augmented as if they had three, but for the colour that Cutout hides
        np.testing.assert_array_equal(policy(images[:, :1], 7, index)[1], blank)


@pytest.mark.parametrize("size", [16, 10])
def test_uda_always_cuts_out_a_square_around_a_pixel(size):
    images, index = make(500)
    found, blank = randaugment("uda", seed=1, cutout_size=size)(images, 2, index)
    before, blank_before = randaugment("uda", seed=1, cutout_size=0)(images, 2, index)
    numbers = draws(randaugment("uda", seed=1), 2, index)
    square = np.zeros((500, 1, 32, 32), bool)
    for mask, (row, column) in zip(square, (32 * numbers[:, -2:]).astype(int), strict=True):
        mask[0, max(0, row - size // 2) : row + size // 2, max(0, column - size // 2) : column + size // 2] = True
    np.testing.assert_array_equal(blank, blank_before | square)
    np.testing.assert_array_equal(np.where(square, 0, found), np.where(square, 0, before))


# torchvision

TORCHVISION = [
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
    "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize",
]  # fmt: skip


def torchvision_at_9_of_31(picture, which, _, __, sign, *___):
    sign = -1 if sign >= 0.5 else 1
    match name := TORCHVISION[int(14 * which)]:
        case "Identity":
            return picture
        case "ShearX":
            return affine(picture, (1, sign * 0.09, 0, 0, 1, 0))
        case "ShearY":
            return affine(picture, (1, 0, 0, sign * 0.09, 1, 0))
        case "TranslateX":  # 150 / 331 of the side, times .3
            return affine(picture, (1, 0, -sign * int(0.3 * 150 / 331 * picture.width), 0, 1, 0))
        case "TranslateY":
            return affine(picture, (1, 0, 0, 0, 1, -sign * int(0.3 * 150 / 331 * picture.height)))
        case "Rotate":
            return picture.rotate(sign * 9.0)
        case "Posterize":
            return ImageOps.posterize(picture, 7)
        case "Solarize":
            return ImageOps.solarize(picture, 178.5)
        case "AutoContrast":
            return ImageOps.autocontrast(picture)
        case "Equalize":
            return ImageOps.equalize(picture)
    return getattr(ImageEnhance, name)(picture).enhance(1.0 + sign * float(np.float32(0.9 * 9 / 30)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [32, 28])
def test_torchvision_is_its_operations_on_pictures(side, channels):
    images, index = make(300, channels, side)
    policy = randaugment("torchvision", seed=5, image_size=side)
    found, blank = policy(images, 1, index)
    assert blank is None
    np.testing.assert_array_equal(found, transcribed(images, policy, 1, index, torchvision_at_9_of_31))


@pytest.mark.reference
@pytest.mark.parametrize("bins", [31, 10, 2])
def test_torchvisions_magnitudes_are_those_of_its_tensors(bins):
    import torch

    for magnitude in range(bins):
        values = randaugment("torchvision", seed=0, magnitude=magnitude, num_magnitude_bins=bins).dialect.values

        def at(start, end, bin=magnitude):
            return float(torch.linspace(start, end, bins)[bin].item())

        slack = 0 if (bins, magnitude) == (31, 9) else 1e-7  # the last bit depends on the processor, there too
        for name, expected in {
            "ShearX": [at(0.0, 0.3), -at(0.0, 0.3)],
            "Rotate": [at(0.0, 30.0), -at(0.0, 30.0)],
            "Color": [1 + at(0.0, 0.9), 1 - at(0.0, 0.9)],
            "Solarize": [at(255.0, 0.0)] * 2,
        }.items():
            np.testing.assert_allclose(values[name][0], expected, rtol=slack, atol=slack)
        pixels = int(at(0.0, 150.0 / 331.0 * 32))
        assert sorted(values["TranslateX"][0].tolist()) == [-pixels, pixels]
        bits = 8 - (torch.arange(bins) / ((bins - 1) / 4)).round().int()
        assert values["Posterize"].tolist() == [[int(bits[magnitude])] * 2]


# timm

TIMM = [
    "AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast",
    "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateX", "TranslateY",
]  # fmt: skip


def timm(magnitude, increasing):
    def one(picture, which, _, applied, sign, filter, *__):
        if applied >= 0.5:
            return picture
        sign = -1 if sign >= 0.5 else 1
        filter = Image.Resampling.BICUBIC if filter >= 0.5 else Image.Resampling.BILINEAR
        level = magnitude / 10
        match name := TIMM[int(15 * which)]:
            case "AutoContrast":
                return ImageOps.autocontrast(picture)
            case "Equalize":
                return ImageOps.equalize(picture)
            case "Invert":
                return ImageOps.invert(picture)
            case "Rotate":
                color = 128 if picture.mode == "L" else (128, 128, 128)
                return picture.rotate(sign * (level * 30.0), filter, fillcolor=color)
            case "Posterize":
                bits = 4 - int(level * 4) if increasing else int(level * 4)
                return ImageOps.posterize(picture, bits) if bits else picture.point(lambda _: 0)
            case "Solarize":
                return ImageOps.solarize(picture, 256 - int(level * 256) if increasing else int(level * 256))
            case "SolarizeAdd":
                add = int(level * 110)
                table = [min(255, value + add) if value < 128 else value for value in range(256)]
                return picture.point(table * len(picture.getbands()))
            case "ShearX":
                return affine(picture, (1, sign * (level * 0.3), 0, 0, 1, 0), filter, 128)
            case "ShearY":
                return affine(picture, (1, 0, 0, sign * (level * 0.3), 1, 0), filter, 128)
            case "TranslateX":
                return affine(picture, (1, 0, sign * (level * 0.45) * picture.width, 0, 1, 0), filter, 128)
            case "TranslateY":
                return affine(picture, (1, 0, 0, 0, 1, sign * (level * 0.45) * picture.height), filter, 128)
        factor = max(0.1, 1.0 + sign * (level * 0.9)) if increasing else level * 1.8 + 0.1
        return getattr(ImageEnhance, name)(picture).enhance(factor)

    return one


@pytest.mark.parametrize("increasing", [True, False])
@pytest.mark.parametrize("magnitude", [9, 2, 10, 6.5])
@pytest.mark.parametrize("channels", [1, 3])
def test_timm_is_its_operations_on_pictures(channels, magnitude, increasing):
    images, index = make(200, channels)
    policy = randaugment("timm", seed=2, magnitude=magnitude, magnitude_std=0, increasing=increasing)
    found, blank = policy(images, 1, index)
    assert blank is None
    np.testing.assert_array_equal(found, transcribed(images, policy, 1, index, timm(magnitude, increasing)))


def test_timms_magnitudes_are_normal_and_cut_off():
    policy = randaugment("timm", seed=0)  # 9, 0.5
    levels = policy.dialect.values["Rotate"][:, 0] / 3
    assert levels.max() == pytest.approx(10)
    normal = NormalDist(9, 0.5)
    for bound in (8, 8.5, 9, 9.5, 9.99):
        assert (levels < bound).mean() == pytest.approx(normal.cdf(bound), abs=1e-3)
    assert (levels == levels.max()).mean() == pytest.approx(1 - normal.cdf(10), abs=1e-3)
    images = np.zeros((4000, 3, 4, 4), np.uint8)
    images[:] = 100
    found, _ = randaugment("timm", seed=0, image_size=4, num_ops=1, probability=1.0)(images, 0, np.arange(4000))
    added = np.unique(found[:, 0, 0, 0][found[:, 0, 0, 0] > 180])  # SolarizeAdd: 100 + int(11 level)
    assert {192, 199, 207} <= set(added.tolist()), "one image at a level of its own"


# FixMatch

FIXMATCH = [
    "AutoContrast", "Brightness", "Color", "Contrast", "Equalize", "Identity", "Posterize", "Rotate", "Sharpness",
    "ShearX", "ShearY", "Solarize", "TranslateX", "TranslateY",
]  # fmt: skip


def fixmatch(picture, which, level, applied, sign, *_):
    if applied >= 0.5:
        return picture
    level, sign = 1 + int(9 * level), -1 if sign >= 0.5 else 1
    match name := FIXMATCH[int(14 * which)]:
        case "AutoContrast":
            return ImageOps.autocontrast(picture)
        case "Equalize":
            return ImageOps.equalize(picture)
        case "Identity":
            return picture
        case "Posterize":
            return ImageOps.posterize(picture, [4, 4, 5, 5, 6, 6, 6, 7, 7][level - 1])
        case "Rotate":
            return picture.rotate(sign * 3 * level)
        case "ShearX":
            return affine(picture, (1, sign * 0.03 * level, 0, 0, 1, 0))
        case "ShearY":
            return affine(picture, (1, 0, 0, sign * 0.03 * level, 1, 0))
        case "Solarize":
            return ImageOps.solarize(picture, 256 - int(25.6 * level))
        case "TranslateX":
            return affine(picture, (1, 0, int(sign * 0.03 * level * picture.width), 0, 1, 0))
        case "TranslateY":
            return affine(picture, (1, 0, 0, 0, 1, int(sign * 0.03 * level * picture.height)))
    return getattr(ImageEnhance, name)(picture).enhance(float(level) * 0.9 / 10 + 0.05)


def fixmatch_cutout(picture, y, x):
    width, height = picture.size
    size = 16 * width // 32
    x0, y0 = int(max(0, width * x - size / 2)), int(max(0, height * y - size / 2))
    corners = (x0, y0, int(min(width, x0 + size)), int(min(height, y0 + size)))
    ImageDraw.Draw(picture := picture.copy()).rectangle(corners, 127 if picture.mode == "L" else (127, 127, 127))
    return picture


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [32, 30])  # at 30 pixels the square's size is odd
def test_fixmatch_is_its_operations_on_pictures(side, channels):
    images, index = make(400, channels, side)
    policy = randaugment("fixmatch", seed=6, image_size=side)
    found, blank = policy(images, 1, index)
    assert blank is None
    np.testing.assert_array_equal(found, transcribed(images, policy, 1, index, fixmatch, fixmatch_cutout))


# All of them


def chi_square_bound(freedom):
    """The 99.9 % point, by E. Wilson and M. Hilferty (1931)."""
    return freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3


@pytest.mark.parametrize(
    ("style", "options", "one", "levels"),
    [
        ("uda", {"cutout_size": 0}, uda, 9),
        ("torchvision", {}, torchvision_at_9_of_31, 1),
        ("timm", {"magnitude_std": 0}, timm(9, True), 1),
        ("fixmatch", {"cutout_size": 0}, fixmatch, 9),
    ],
)
def test_operations_levels_signs_and_application_are_as_likely_as_stated(style, options, one, levels):
    """One image, again and again: how often each result that an operation can have is seen."""
    count, side = 20000, 12
    image = np.random.default_rng(1).integers(0, 256, (3, side, side), dtype=np.uint8)
    policy = randaugment(style, seed=4, image_size=side, num_ops=1, **options)
    found, blank = policy(np.repeat(image[None], count, axis=0), 0, np.arange(count))
    if blank is not None:
        found = np.concatenate([found, np.where(blank, 0, 255).astype(np.uint8)], axis=1)
    seen = Counter(result.tobytes() for result in found)
    expected = Counter()
    operations = {"uda": 15, "torchvision": 14, "timm": 15, "fixmatch": 14}[style]
    middles = [(k + 0.5) / operations for k in range(operations)]
    places = [(k + 0.5) / side for k in range(side)]
    for which in middles:
        for level in [(k + 0.5) / levels for k in range(levels)]:
            for sign in (0.25, 0.75):
                for applied in (0.25, 0.75):
                    for filter in (0.25, 0.75):
                        cutout = style == "uda" and UDA[int(15 * which)] == "Cutout" and applied < 0.5
                        spots = [(row, column) for row in places for column in places] if cutout else [(0.0, 0.0)]
                        if cutout and (sign > 0.5 or filter > 0.5):
                            continue
                        weight = (4 if cutout else 1) / (8 * operations * levels * len(spots))
                        for row, column in spots:
                            picture = one(to_pillow(image), which, level, applied, sign, filter, 0.0, row, column)
                            expected[from_pillow(picture).tobytes()] += count * weight
    assert sum(expected.values()) == pytest.approx(count)
    assert set(seen) <= set(expected)
    rare = {result for result, number in expected.items() if number < 8}  # these are counted together
    terms = [(seen[result], number) for result, number in expected.items() if result not in rare]
    if rare:
        terms.append((sum(seen[result] for result in rare), sum(expected[result] for result in rare)))
    assert len(terms) > 15
    assert sum((mine - number) ** 2 / number for mine, number in terms) < chi_square_bound(len(terms) - 1)


def test_the_operations_of_an_image_are_drawn_independently():
    images, index = np.full((12000, 1, 4, 4), 10, np.uint8), np.arange(12000)
    images[:, :, 0] = 200
    found, _ = randaugment("timm", seed=0, image_size=4, magnitude_std=0, probability=1.0)(images, 0, index)
    # Both operations are Invert, or both are neither Invert nor change such an image beyond what one does.
    both = (found == images).all(axis=(1, 2, 3)).mean()
    one, _ = randaugment("timm", seed=0, image_size=4, magnitude_std=0, probability=1.0, num_ops=1)(images, 0, index)
    unchanged = (one == images).all(axis=(1, 2, 3)).mean()
    inverted = (one == 255 - images).all(axis=(1, 2, 3)).mean()
    assert inverted == pytest.approx(1 / 15, abs=0.01)
    assert both >= unchanged**2 + inverted**2 - 0.01


@pytest.mark.parametrize("style", STYLES)
def test_the_result_depends_on_seed_step_and_index_alone(style):
    images, index = make(90)
    policy = randaugment(style, seed=3)
    before = images.copy()
    whole, blank = policy(images, 5, index)
    np.testing.assert_array_equal(images, before)
    for part in (slice(0, 1), slice(1, 50), slice(50, 90), [70, 3, 12]):
        found, blank_part = policy(images[part], 5, index[part])
        np.testing.assert_array_equal(found, whole[part])
        if style == "uda":
            np.testing.assert_array_equal(blank_part, blank[part])
    np.testing.assert_array_equal(randaugment(style, seed=3)(images, 5, index)[0], whole)
    for other in (policy(images, 6, index), randaugment(style, seed=4)(images, 5, index), policy(images, 5, index + 1)):
        assert (other[0] != whole).any(axis=(1, 2, 3)).mean() > 0.5
    none, _ = policy(images[:0], 5, index[:0])
    assert none.shape == (0, 3, 32, 32)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("style", STYLES)
def test_it_is_the_same_on_every_device_and_never_waits(style, channels, device):
    images, index = make(40, channels, 12)
    policy = randaugment(style, seed=3, image_size=12)
    expected, expected_blank = policy(images, 5, index)
    there, there_index = move(images, device), move(index, device)
    policy(there, 4, there_index)  # its tables are copied there once
    with watched(device):
        found, blank = policy(there, 5, there_index)
    assert_same(found, expected, device)
    assert (blank is None) == (expected_blank is None)
    if blank is not None:
        assert_same(blank, expected_blank, device)
    augment = TrainAugmentation((0.5,) * channels, (0.2,) * channels, 1, padding=2, policy=policy)
    with watched(device, uploads=True):
        found = augment(there, 5, there_index)
    assert_same(found, augment(images, 5, index), device)


def test_draws_are_those_of_the_random_numbers():
    index = np.arange(1000)
    words = random_bits(np, 1, 2, "x", index, 3)
    np.testing.assert_array_equal(below(words, 15), integers(np, 1, 2, "x", index, 3, 15))
    np.testing.assert_array_equal(unit(words), uniform(np, 1, 2, "x", index, 3))
    assert unit(words).dtype == np.float32


def test_pixels_grow_with_the_image():
    small, large = (randaugment("uda", seed=0, image_size=side).dialect for side in (32, (64, 96)))
    assert large.cutout == 2 * small.cutout == 32
    np.testing.assert_array_equal(large.values["Cutout"], 2 * small.values["Cutout"])
    np.testing.assert_array_equal(large.values["TranslateX"], 3 * small.values["TranslateX"])
    np.testing.assert_array_equal(large.values["TranslateY"], 2 * small.values["TranslateY"])
    np.testing.assert_array_equal(large.values["ShearX"], small.values["ShearX"])
    images = np.zeros((5, 3, 64, 96), np.uint8)
    assert randaugment("uda", seed=0, image_size=(64, 96))(images, 0, np.arange(5))[1].shape == (5, 1, 64, 96)


@pytest.mark.parametrize(
    ("style", "options", "error", "message"),
    [
        ("autoaugment", {}, ValueError, "expected a style of uda, torchvision, timm, fixmatch, got 'autoaugment'"),
        ("uda", {"magnitude": 3}, TypeError, "style of uda has no option 'magnitude'; it has num_ops, probability"),
        ("uda", {"num_ops": 0}, ValueError, "at least 1 operation for each image, got num_ops=0"),
        ("uda", {"probability": 1.5}, ValueError, "probability from 0 to 1, got 1.5"),
        ("uda", {"cutout_size": -1}, ValueError, "at least 0 pixels"),
        ("torchvision", {"magnitude": 31}, ValueError, "magnitude of bins 0 to 30, got 31"),
        ("timm", {"magnitude": 11}, ValueError, "magnitude from 0 to 10, got 11"),
        ("timm", {"magnitude_std": -1.0}, ValueError, "magnitude_std of at least 0, got -1.0"),
        ("fixmatch", {"magnitude": 1}, ValueError, "magnitude from 2 to 11"),
    ],
)
def test_wrong_options_are_named(style, options, error, message):
    with pytest.raises(error, match=message):
        randaugment(style, seed=0, **options)


@pytest.mark.parametrize(
    ("images", "index", "error", "message"),
    [
        (np.zeros((2, 3, 32, 32)), np.arange(2), TypeError, "images of uint8, got float64"),
        (np.zeros((2, 4, 32, 32), np.uint8), np.arange(2), ValueError, r"1 or 3 channels and 32x32 pixels, got \(2, 4"),
        (np.zeros((2, 3, 28, 32), np.uint8), np.arange(2), ValueError, r"32x32 pixels, got \(2, 3, 28, 32\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), np.arange(3), ValueError, "index for each of 2 images"),
    ],
)
def test_wrong_images_are_named(images, index, error, message):
    with pytest.raises(error, match=message):
        randaugment("uda", seed=0)(images, 0, index)
