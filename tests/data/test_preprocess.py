"""Tests of minivit/data/preprocess.py."""

import doctest
import math

import numpy as np
import pytest
from PIL import Image

from minivit.data import DatasetError, Preprocessing, preprocess
from minivit.data.image_folder import read_image
from minivit.data.preprocess import METHODS, STATISTICS
from minivit.data.resize import resize_area, resize_bilinear


@pytest.fixture
def photo(tmp_path):
    """A 300 x 200 photo of noise, stored without loss."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def pixels_of(photo):
    return np.asarray(Image.open(photo))


@pytest.mark.parametrize(
    ("crop_fraction", "short", "long", "top", "left"),
    [
        (0.9, 248, 372, 12, 74),  # floor(224 / 0.9) = 248, int(248 * 300 / 200) = 372
        (0.875, 256, 384, 16, 80),
        (1.0, 224, 336, 0, 56),
    ],
)
def test_timm_resizes_the_shorter_side_and_crops(photo, crop_fraction, short, long, top, left) -> None:
    assert short == math.floor(224 / crop_fraction)
    resized = Image.open(photo).resize((long, short), Image.Resampling.BICUBIC)
    expected = np.asarray(resized)[top : top + 224, left : left + 224]
    found = Preprocessing("timm", crop_fraction).read(photo, 224)
    assert found.shape == (3, 224, 224)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected.transpose(2, 0, 1))


def test_timm_rounds_an_odd_margin_to_even(tmp_path) -> None:
    """torchvision's centre crop begins at ``int(round((height - size) / 2))``: 0.5 -> 0, 1.5 -> 2."""
    for longer, begin in ((9, 0), (11, 2)):
        pixels = np.random.default_rng(1).integers(0, 256, (longer, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "odd.png")
        found = Preprocessing("timm").read(tmp_path / "odd.png", 8)
        assert np.array_equal(found, pixels[begin : begin + 8].transpose(2, 0, 1))


def test_an_upright_photo_is_cropped_at_top_and_bottom(photo, tmp_path) -> None:
    turned = Image.open(photo).transpose(Image.Transpose.TRANSPOSE)
    turned.save(tmp_path / "turned.png")
    way = Preprocessing("timm", 0.875)
    first = way.read(tmp_path / "turned.png", 64).astype(int)
    second = way.read(photo, 64).transpose(0, 2, 1)
    assert np.abs(first - second).max() <= 1  # Pillow rounds between its two passes, columns first


def test_google_shows_the_whole_photo_whatever_its_shape(photo) -> None:
    found = Preprocessing("google").read(photo, 96)
    expected = resize_bilinear(pixels_of(photo), 96, 96)
    assert np.array_equal(found, np.rint(expected).astype(np.uint8).transpose(2, 0, 1))
    assert np.abs(found.transpose(1, 2, 0) / 127.5 - expected / 127.5).max() <= 0.5 / 127.5 + 1e-6


@pytest.mark.reference
def test_google_is_pytorchs_bilinear_without_antialias(photo) -> None:
    """Which is TensorFlow's."""
    import torch

    image = torch.from_numpy(pixels_of(photo).transpose(2, 0, 1).astype(np.float32))[None]
    expected = torch.nn.functional.interpolate(image, size=(64, 64), mode="bilinear", align_corners=False)[0]
    found = Preprocessing("google").read(photo, 64)
    assert np.abs(found - expected.numpy()).max() <= 0.5 + 0.01


@pytest.mark.reference
def test_timm_is_nearly_pytorchs_antialiased_bicubic(photo) -> None:
    """Pillow rounds its weights to 22 bits and the pixels between its two passes; PyTorch does neither."""
    import torch

    image = torch.from_numpy(pixels_of(photo).transpose(2, 0, 1).astype(np.float32))[None]
    expected = torch.nn.functional.interpolate(
        image, size=(64, 96), mode="bicubic", align_corners=False, antialias=True
    )[0, :, :, 16:80]
    found = Preprocessing("timm").read(photo, 64).astype(np.float64)
    assert np.abs(found - np.clip(expected.numpy(), 0, 255)).max() <= 2


def test_big_vision_takes_384_of_448(photo) -> None:
    found = Preprocessing("big_vision", 384 / 448).read(photo, 384)
    whole = resize_area(pixels_of(photo), 448, 672)
    expected = np.floor(whole + 1e-6).astype(np.uint8)[32:416, 144:528]
    assert np.array_equal(found, expected.transpose(2, 0, 1))


def test_fit_is_what_a_folder_of_images_is_read_by(photo) -> None:
    assert np.array_equal(Preprocessing("fit").read(photo, 32), read_image(photo, 32))


def test_the_methods_differ(photo) -> None:
    ways = (Preprocessing(name, 0.875 if name in ("timm", "big_vision") else 1.0) for name in METHODS)
    seen = [way.read(photo, 64).astype(int) for way in ways]
    for first in range(len(seen)):
        for second in range(first):
            assert np.abs(seen[first] - seen[second]).max() > 10


@pytest.mark.parametrize("method", METHODS)
def test_grey_values_for_a_model_of_one_channel(photo, method) -> None:
    grey = Preprocessing(method).read(photo, 16, 1)
    assert grey.shape == (1, 16, 16)
    rgb = Preprocessing(method).read(photo, 16).astype(np.float64)
    assert np.abs(grey[0] - (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])).max() <= 0.5 + 1e-9


def test_a_photo_can_be_taken_as_it_is_stored(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    pixels = np.zeros((16, 16, 4), np.uint8)
    pixels[:, :8] = 255  # white at the left; the rest black, and clear
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    stored = Preprocessing("timm").read(tmp_path / "photo.png", 16, as_stored=True)
    assert np.array_equal(stored, pixels[:, :, :3].transpose(2, 0, 1))
    assert Preprocessing("timm").read(tmp_path / "photo.png", 16).min() == 255


def test_statistics_by_name() -> None:
    half, imagenet = STATISTICS["half"], STATISTICS["imagenet"]
    assert imagenet == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for method, statistics in {"timm": imagenet, "fit": imagenet, "google": half, "big_vision": half}.items():
        assert (Preprocessing(method).mean, Preprocessing(method).std) == statistics
    way = Preprocessing("timm", 0.9, "half")
    assert (way.mean, way.std) == half
    assert way.of_training() == Preprocessing("timm", 1.0, "half")


@pytest.mark.parametrize("method", METHODS)
def test_files_that_are_no_image_are_named(tmp_path, photo, method) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:5000])
    for name in ("text.jpg", "empty.jpg", "cut.png"):
        for as_stored in (True, False):
            with pytest.raises(DatasetError, match=name):
                Preprocessing(method).read(tmp_path / name, 8, as_stored=as_stored)
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        Preprocessing(method).read(tmp_path / "gone.jpg", 8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("tim",), "timm, google, big_vision, fit, got 'tim'"),
        (("timm", 1.1), "crop fraction above 0 and up to 1, got 1.1"),
        (("timm", 0.0), "crop fraction"),
        (("google", 0.9), "'google' resizes all that it shows"),
        (("timm", 1.0, "mean"), "imagenet, half, got 'mean'"),
    ],
)
def test_settings_that_make_no_sense(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocessing(*settings)


def test_sizes_that_make_no_sense(photo) -> None:
    with pytest.raises(ValueError, match="channels, got 4"):
        Preprocessing().read(photo, 8, 4)
    with pytest.raises(ValueError, match="image size of at least 1, got 0"):
        Preprocessing().read(photo, 0)


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(preprocess).failed == 0
