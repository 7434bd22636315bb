"""Tests of minivit/augment/context_patches.py."""

import dataclasses

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment import (
    ContextPatches,
    PatchGrid,
    context_patches,
    drop_colors,
    gray_colors,
    project_colors,
    random_resolution,
    standardize_patches,
)
from minivit.augment.context_patches import NEIGHBOURS, patch_corners
from minivit.backend import move
from minivit.backend.random import integers

KEY = {"seed": 3, "step": 7}
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def make(count=6, channels=3, side=32):
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side)).astype(np.uint8)


@pytest.mark.parametrize(
    ("side", "sizes"),
    [(32, (8, 3, 1)), (96, (24, 10, 2)), (64, (16, 7, 1)), (224, (56, 24, 4)), (28, (7, 2, 1)), (8, (2, 1, 0))],
)
def test_the_grid_that_fits_an_image(side, sizes):
    grid = PatchGrid.fit(side)
    assert (grid.patch_size, grid.gap, grid.jitter) == sizes
    assert side - 1 <= grid.extent <= side, "the grid fills the image"
    assert grid.gap >= 2 * grid.jitter


def test_sizes_that_are_given_stay():
    assert PatchGrid.fit(32, patch_size=6) == PatchGrid(32, 6, 6, 1)
    assert PatchGrid.fit(32, gap=2) == PatchGrid(32, 8, 2, 1)
    assert PatchGrid.fit(32, jitter=0) == PatchGrid(32, 8, 4, 0)
    assert PatchGrid.fit(96, 20, 14, 4) == PatchGrid(96, 20, 14, 4)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((32, 8, 3, 2), "move by up to 2 pixels need a gap of at least 4, got 3"),
        ((32, 9, 3, 1), "take 35 pixels; the images have 32"),
        ((32, 0, 3, 1), "at least 1 pixel"),
        ((32, 8, 3, -1), "jitter of at least 0"),
        ((32, 8, -1, 0), "gap of at least 0, got -1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        PatchGrid(*sizes)


@pytest.mark.parametrize("grid", [PatchGrid.fit(32), PatchGrid(32, 6, 4, 2), PatchGrid(32, 5, 0, 0)])
def test_patches_are_windows_of_the_image_on_a_grid_with_gap_and_jitter(grid):
    images, index = make(), np.array([4, 9, 2, 0, 7, 30])
    patches = context_patches(images, grid, image_index=index, **KEY)
    p = grid.patch_size
    assert patches.shape == (6, 9, 3, p, p)
    assert patches.dtype == np.uint8
    place = integers(np, op="context place", count=2, high=32 - grid.extent + 1, image_index=index, **KEY)
    moved = integers(np, op="context jitter", count=18, high=2 * grid.jitter + 1, image_index=index, **KEY)
    for image in range(6):
        for patch in range(9):
            row, column = divmod(patch, 3)
            top = place[image, 0] + grid.jitter + row * (p + grid.gap) + (moved[image, patch] - grid.jitter)
            left = place[image, 1] + grid.jitter + column * (p + grid.gap) + (moved[image, 9 + patch] - grid.jitter)
            np.testing.assert_array_equal(patches[image, patch], images[image, :, top : top + p, left : left + p])


@pytest.mark.parametrize("grid", [PatchGrid.fit(32), PatchGrid(32, 6, 4, 2)])
def test_patches_reach_every_place_of_theirs_and_never_overlap(grid):
    top, left = patch_corners(np, grid, image_index=np.arange(3000), **KEY)
    p = grid.patch_size
    assert top.min() == left.min() == 0
    assert top.max() == left.max() == 32 - p
    for a in range(9):
        for b in range(a):
            apart = np.maximum(np.abs(top[:, a] - top[:, b]), np.abs(left[:, a] - left[:, b]))
            assert apart.min() >= p + grid.gap - 2 * grid.jitter
    # Each coordinate of each patch moves evenly and independently of the others.
    moved = np.concatenate([top, left], 1)
    relative = moved - moved.min(1, keepdims=True)
    assert len({tuple(row) for row in relative.tolist()}) > 2900
    slack = 32 - grid.extent
    counts = np.bincount(top[:, 0], minlength=slack + 2 * grid.jitter + 1)
    expected = 3000 * np.convolve(np.ones(slack + 1), np.ones(2 * grid.jitter + 1))
    expected /= (slack + 1) * (2 * grid.jitter + 1)
    assert ((counts - expected) ** 2 / expected).sum() < 30


def test_neighbours_are_numbered_row_by_row_without_the_middle():
    image = np.zeros((1, 1, 9, 9), np.uint8)
    image[0, 0] = np.arange(81).reshape(9, 9)
    patches = context_patches(image, PatchGrid(9, 3, 0, 0), image_index=np.array([0]), **KEY)
    offsets = [patch[0, 0, 0] - patches[0, 4, 0, 0, 0].astype(int) for patch in patches[0][list(NEIGHBOURS)]]
    assert offsets == [-30, -27, -24, -3, 3, 24, 27, 30]


OPTIONS = [
    {},
    {"colors_per": "image"},
    {"colors": "project"},
    {"colors": "gray"},
    {"colors": "gray", "colors_per": "image", "standardize": False},
    {"colors": "none", "standardize": False},
    {"colors": "none", "resolution_probability": 0.5, "fewest_pixels": 9},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_whole_is_its_parts_one_after_the_other(options):
    images, index = make(), np.arange(6) * 5
    sampler = ContextPatches(MEAN, STD, 3, PatchGrid.fit(32), **options)
    found = sampler(images, 7, index)
    cut = context_patches(images, sampler.grid, image_index=index, **KEY)
    expected = cut / np.float32(255) - np.array(MEAN, np.float32)[:, None, None]
    if sampler.resolution_probability:
        expected = random_resolution(expected, 0.5, 9, image_index=index, **KEY)
    if sampler.colors == "drop":
        expected = drop_colors(expected, per=sampler.colors_per, image_index=index, **KEY)
    if sampler.colors == "project":
        expected = project_colors(expected)
    if sampler.colors == "gray":
        expected = gray_colors(expected, 0.66, per=sampler.colors_per, image_index=index, **KEY)
    if sampler.standardize:
        expected = standardize_patches(expected)
    else:
        expected = expected / np.array(STD)[:, None, None]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_result_does_not_depend_on_how_the_batch_is_split(options):
    images, index = make(), np.array([4, 9, 2, 0, 7, 30])
    before = images.copy()
    sampler = ContextPatches(MEAN, STD, 3, PatchGrid.fit(32), **options)
    whole = sampler(images, 7, index)
    for part in (slice(0, 1), slice(1, 4), [5, 0, 2]):
        np.testing.assert_array_equal(sampler(images[part], 7, index[part]), whole[part])
    np.testing.assert_array_equal(images, before)
    assert (sampler(images, 8, index) != whole).any()
    assert (dataclasses.replace(sampler, seed=4)(images, 7, index) != whole).any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_the_same_on_every_device_and_never_waits(options, device):
    images, index = make(4), np.arange(4)
    sampler = ContextPatches(MEAN, STD, 3, PatchGrid(32, 6, 4, 2), **options)
    expected = sampler(images, 7, index)
    there, there_index = move(images, device), move(index, device)
    with watched(device, uploads=True):
        found = sampler(there, 7, there_index)
    assert_same(found, expected, device)


def test_images_of_one_channel_lose_none():
    sampler = ContextPatches((0.5,), (0.2,), 3, PatchGrid.fit(32))
    images, index = make(channels=1), np.arange(6)
    plain = dataclasses.replace(sampler, colors="none")
    np.testing.assert_allclose(sampler(images, 0, index), plain(images, 0, index), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colors": "grey"}, "colors must be one of drop, project, gray, none; got 'grey'"),
        ({"colors_per": "batch"}, '"patch" or "image"'),
        ({"colors": "project", "mean": (0.5,), "std": (0.2,)}, "3 channels; the images have 1"),
        ({"mean": (0.5,)}, "for each channel, got 1 and 3"),
    ],
)
def test_wrong_settings_are_named(change, message):
    settings = {"mean": MEAN, "std": STD, "seed": 3, "grid": PatchGrid.fit(32)} | change
    with pytest.raises(ValueError, match=message):
        ContextPatches(**settings)


def test_wrong_images_are_named():
    sampler = ContextPatches(MEAN, STD, 3, PatchGrid.fit(32))
    with pytest.raises(ValueError, match="images of 32x32, got 28x28"):
        sampler(make(side=28), 0, np.arange(6))
    with pytest.raises(TypeError, match="uint8, got float32"):
        sampler(make().astype(np.float32), 0, np.arange(6))
    with pytest.raises(ValueError, match=r"index for each of 6 images, got \(5,\)"):
        sampler(make(), 0, np.arange(5))
