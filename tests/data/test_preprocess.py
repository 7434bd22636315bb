import numpy as np
import pytest
from PIL import Image

from minivit.data import DatasetError
from minivit.data.image_folder import read_image
from minivit.data.preprocess import read_photo


@pytest.fixture
def photo(tmp_path):
    """A 300 x 200 photo of noise, stored without loss."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_resize_and_crop_are_those_of_timm(photo) -> None:
    """floor(224 / 0.9) = 248 for the shorter side, int(248 * 300 / 200) = 372 for the longer, then the centre."""
    resized = Image.open(photo).resize((372, 248), Image.Resampling.BICUBIC)
    expected = np.asarray(resized)[12 : 12 + 224, 74 : 74 + 224]
    found = read_photo(photo, 224, crop_fraction=0.9)
    assert found.shape == (3, 224, 224)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected.transpose(2, 0, 1))


def test_an_upright_photo_is_cropped_at_top_and_bottom(photo, tmp_path) -> None:
    turned = Image.open(photo).transpose(Image.Transpose.TRANSPOSE)
    turned.save(tmp_path / "turned.png")
    first = read_photo(tmp_path / "turned.png", 64, crop_fraction=0.875).astype(int)
    second = read_photo(photo, 64, crop_fraction=0.875).transpose(0, 2, 1)
    assert np.abs(first - second).max() <= 1  # Pillow rounds between its two passes, columns first


def test_without_a_margin_it_is_what_training_reads(photo) -> None:
    assert np.array_equal(read_photo(photo, 32), read_image(photo, 32))


def test_grey_values_for_a_model_of_one_channel(photo) -> None:
    grey = read_photo(photo, 16, channels=1)
    assert grey.shape == (1, 16, 16)
    rgb = read_photo(photo, 16).astype(np.float64)
    assert np.abs(grey[0] - (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("crop_fraction", [1.0, 0.9])
def test_files_that_are_no_image_are_named(tmp_path, crop_fraction: float) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name in ("text.jpg", "empty.jpg"):
        with pytest.raises(DatasetError, match=name):
            read_photo(tmp_path / name, 8, crop_fraction=crop_fraction)
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        read_photo(tmp_path / "gone.jpg", 8, crop_fraction=crop_fraction)


def test_a_cut_off_photo_is_named(photo, tmp_path) -> None:
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:5000])
    with pytest.raises(DatasetError, match=r"cut\.png"):
        read_photo(tmp_path / "cut.png", 8, crop_fraction=0.9)


def test_settings_that_make_no_sense(photo) -> None:
    with pytest.raises(ValueError, match="crop fraction"):
        read_photo(photo, 8, crop_fraction=1.1)
    with pytest.raises(ValueError, match="channels"):
        read_photo(photo, 8, channels=4)
