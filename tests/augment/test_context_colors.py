"""Tests of minivit/augment/context_colors.py."""

import numpy as np
import pytest

from minivit.augment import drop_colors, gray_colors, project_colors, standardize_patches
from minivit.augment.context_colors import GREEN_MAGENTA

KEY = {"seed": 3, "step": 7}


def make(count=5, patches=9, channels=3, size=6, dtype=np.float32):
    return np.random.default_rng(0).normal(0.1, 0.3, (count, patches, channels, size, size)).astype(dtype)


def kept(dropped):
    """Which channel of each patch (B, n) is not noise."""
    loud = np.abs(dropped).max((3, 4)) > 0.5 / 255
    assert (loud.sum(2) == 1).all(), "one channel is kept"
    return loud.argmax(2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_channel_is_kept_minus_its_mean(dtype):
    patches = make(dtype=dtype)
    dropped = drop_colors(patches, image_index=np.arange(5), **KEY)
    assert dropped.dtype == dtype
    for image, channels in enumerate(kept(dropped)):
        for patch, channel in enumerate(channels):
            own = patches[image, patch, channel]
            np.testing.assert_allclose(dropped[image, patch, channel], own - own.mean(), atol=1e-6)


@pytest.mark.parametrize("per", ["patch", "image"])
def test_each_channel_is_kept_as_often_by_patch_or_by_image(per):
    channels = kept(drop_colors(make(2000), image_index=np.arange(2000), per=per, **KEY))
    same = (channels == channels[:, :1]).all(1)
    assert same.all() if per == "image" else same.mean() < 0.01
    draws = channels if per == "patch" else channels[:, :1]
    counts, expected = np.bincount(draws.reshape(-1), minlength=3), draws.size / 3
    assert ((counts - expected) ** 2 / expected).sum() < 13.8  # the 99.9 % point at 2 degrees of freedom


def test_the_noise_is_even_between_half_a_grey_level_down_and_up_and_its_own_everywhere():
    dropped = drop_colors(make(200), image_index=np.arange(200), **KEY)
    noise = np.stack([np.delete(patch, channel, 0) for patch, channel in zip(
        dropped.reshape(-1, 3, 6, 6), kept(dropped).reshape(-1), strict=True
    )]) * 255  # fmt: skip
    assert np.abs(noise).max() <= 0.5
    assert abs(noise.mean()) < 0.005
    assert noise.std() == pytest.approx(12**-0.5, abs=0.003)
    assert len(np.unique(noise)) > 0.99 * noise.size
    assert abs(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1]) < 0.02


def test_projected_colours_are_orthogonal_to_green_against_magenta():
    patches = make(dtype=np.float64)
    projected = project_colors(patches)
    a = np.array(GREEN_MAGENTA)
    matrix = np.eye(3) - np.outer(a, a) / (a @ a)
    for image in range(5):
        for patch in range(9):
            pixels = patches[image, patch].reshape(3, -1)
            np.testing.assert_allclose(projected[image, patch].reshape(3, -1), matrix @ pixels, atol=1e-12)
    np.testing.assert_allclose(np.einsum("bncij,c->bnij", projected, a), 0, atol=1e-12)
    np.testing.assert_allclose(project_colors(projected), projected, atol=1e-12)
    greys = np.repeat(patches[:, :, :1], 3, 2)
    np.testing.assert_allclose(project_colors(greys), greys, atol=1e-12)


@pytest.mark.parametrize("per", ["patch", "image"])
def test_some_become_the_mean_of_their_channels_by_patch_or_by_image(per):
    patches = make(1500, size=2)
    found = gray_colors(patches, image_index=np.arange(1500), per=per, **KEY)
    grey = (found == found[:, :, :1]).all((2, 3, 4))  # (B, n)
    means = np.repeat(patches.mean(2, keepdims=True), 3, 2)
    np.testing.assert_allclose(found, np.where(grey[:, :, None, None, None], means, patches), atol=1e-6)
    same = (grey == grey[:, :1]).all(1)
    assert same.all() if per == "image" else not same.all()
    draws = grey if per == "patch" else grey[:, 0]
    assert draws.mean() == pytest.approx(0.66, abs=4 * (0.66 * 0.34 / draws.size) ** 0.5)
    for probability, share in ((0.0, 0), (1.0, 1)):
        found = gray_colors(patches, probability, image_index=np.arange(1500), per=per, **KEY)
        assert (found == found[:, :, :1]).all((2, 3, 4)).mean() == share


def test_standardised_patches_have_mean_zero_and_deviation_one():
    patches = make(dtype=np.float64)
    patches[0, 0] = 0.7  # flat
    patches[0, 1] = 0.7 + 0.001 * (patches[0, 1] > 0)  # all but flat
    found = standardize_patches(patches)
    for image in range(5):
        for patch in range(9):
            own = patches[image, patch]
            np.testing.assert_allclose(found[image, patch], (own - own.mean()) / max(own.std(), 1 / 255), atol=1e-12)
    np.testing.assert_allclose(found[0, 0], 0, atol=1e-9)
    assert 0 < found[0, 1].std() < 0.2
    np.testing.assert_allclose(found.std((2, 3, 4)).reshape(-1)[2:], 1)


@pytest.mark.parametrize("function", [drop_colors, gray_colors])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"patches": make()[0]}, ValueError, r"\(B, n, C, p, p\), got \(9, 3, 6, 6\)"),
        ({"patches": make().astype(np.uint8)}, TypeError, "float type, got uint8"),
        ({"image_index": np.arange(4)}, ValueError, r"for each of 5 images, got \(4,\)"),
        ({"per": "batch"}, ValueError, '"patch" or "image", got \'batch\''),
    ],
)
def test_wrong_arguments_are_named(function, change, error, message):
    arguments = {"patches": make(), "image_index": np.arange(5)} | KEY | change
    with pytest.raises(error, match=message):
        function(**arguments)


def test_a_wrong_probability_and_wrong_channels_are_named():
    with pytest.raises(ValueError, match=r"from 0 to 1, got 1\.5"):
        gray_colors(make(), 1.5, image_index=np.arange(5), **KEY)
    with pytest.raises(ValueError, match=r"red, green and blue, got \(5, 9, 2, 6, 6\)"):
        project_colors(make(channels=2))
