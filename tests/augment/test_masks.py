"""Tests of minivit/augment/masks.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.augment import center_mask, random_block_mask, random_patch_mask, random_region_mask, shrink_mask
from minivit.augment.masks import ONE, _enlargement
from minivit.backend import move

KEY = {"seed": 0, "step": 5}


def patches(size, **options):
    return random_patch_mask(size, 1 if size[0] % 2 or size[1] % 2 else 2, **options)


DRAWN = {"blocks": random_block_mask, "region": random_region_mask, "patches": patches}
EVERY = {**DRAWN, "center": lambda size, *, image_index, **_: center_mask(size, image_index=image_index)}


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("size", [(4, 4), (7, 9), (32, 32), (33, 20), (96, 96)])
def test_every_side_has_masks_that_hide_something_and_not_everything(size, kind):
    mask = EVERY[kind](size, image_index=np.arange(50), **KEY)
    assert mask.dtype == bool
    assert mask.shape == (50, 1, *size)
    share = mask.mean((1, 2, 3))
    assert share.min() > 0
    assert share.max() < 0.7


def test_the_centre_is_half_of_each_side():
    mask = center_mask((8, 12), image_index=np.arange(3))
    expected = np.zeros((3, 1, 8, 12), bool)
    expected[:, :, 2:6, 3:9] = True
    np.testing.assert_array_equal(mask, expected)
    odd = center_mask((5, 7), image_index=np.arange(1))[0, 0]
    assert np.argwhere(odd).min(0).tolist() == [1, 2]
    assert np.argwhere(odd).max(0).tolist() == [2, 4]


def test_blocks_are_squares_that_stay_inside_and_below_a_quarter():
    single = random_block_mask((32, 32), image_index=np.arange(3000), blocks=1, **KEY)[:, 0]
    rows, columns = single.any(2), single.any(1)
    np.testing.assert_array_equal(single, rows[:, :, None] & columns[:, None, :])
    np.testing.assert_array_equal(rows.sum(1), columns.sum(1))
    for side in (rows, columns):
        assert (np.abs(np.diff(side.astype(int), axis=1)).sum(1) <= 2).all(), "one stretch"
    sides = np.bincount(rows.sum(1))
    assert np.flatnonzero(sides).tolist() == list(range(8, 17))
    assert ((sides[8:] - 3000 / 9) ** 2 / (3000 / 9)).sum() < 26.1  # the 99.9 % point at 8 degrees of freedom
    for start, side in ((rows.argmax(1), rows.sum(1)), (columns.argmax(1), columns.sum(1))):
        places = np.bincount(start[side == 8])
        expected = (side == 8).sum() / 25
        assert len(places) == 25
        assert ((places - expected) ** 2 / expected).sum() < 51.2  # at 24 degrees of freedom

    several = random_block_mask((32, 32), image_index=np.arange(3000), **KEY).mean((1, 2, 3))
    assert several.max() <= 0.25
    # Four sides from 4 to 8, squared, are 38 pixels on average; overlaps take a little.
    assert 0.12 < several.mean() < 4 * 38 / 1024


def test_regions_hide_the_stated_share_evenly_distributed_and_evenly_placed():
    mask = random_region_mask((32, 32), image_index=np.arange(4000), **KEY)
    count = mask.sum((1, 2, 3))
    assert count.min() == 205
    assert count.max() == 307
    spread = np.histogram(count, 10, (205, 308))[0]
    assert ((spread - 400) ** 2 / 400).sum() < 27.9  # the 99.9 % point at 9 degrees of freedom
    frequency = mask.mean(0)[0]
    assert frequency == pytest.approx(np.full((32, 32), 0.25), abs=0.04)  # 5.8 standard deviations


def test_regions_are_blots_whose_size_the_cells_set():
    def boundary(cells):
        mask = random_region_mask((64, 64), image_index=np.arange(100), cells=cells, **KEY)
        return (mask[:, :, 1:] != mask[:, :, :-1]).mean()

    lengths = [boundary(cells) for cells in (2, 4, 8, 16, 64)]
    assert lengths == sorted(lengths)
    assert lengths[2] / lengths[1] == pytest.approx(2, abs=0.2), "half the size, twice the boundary"
    assert lengths[3] / lengths[2] == pytest.approx(2, abs=0.2)
    assert lengths[-1] == pytest.approx(2 * 0.25 * 0.75, abs=0.01), "no blots: neighbours are independent"


def test_the_enlargement_interpolates_and_keeps_lines_straight():
    weights = _enlargement(24, 8) / ONE
    assert weights.shape == (27, 12)
    np.testing.assert_allclose(weights.sum(1), 1, atol=3 / ONE)
    np.testing.assert_allclose(weights @ np.arange(12), 1 + np.arange(27) / 3, atol=12 / ONE)
    np.testing.assert_array_equal(weights[3 * 5], np.eye(12)[6])


@pytest.mark.parametrize(("share", "count"), [(0.5, 32), (0.6, 38), (1e-9, 1), (1.0, 64)])
def test_patches_are_whole_and_counted(share, count):
    mask = random_patch_mask((32, 32), 4, image_index=np.arange(500), share=share, **KEY)
    blocks = mask.reshape(500, 8, 4, 8, 4)
    np.testing.assert_array_equal(blocks.all((2, 4)), blocks.any((2, 4)))
    np.testing.assert_array_equal(mask.sum((1, 2, 3)), 16 * count)


def test_every_patch_is_hidden_equally_often():
    mask = random_patch_mask((4, 6), 1, image_index=np.arange(4000), share=0.25, **KEY)
    counts = mask.sum(0).ravel()
    # The counts add up, and a patch is hidden or not: a chi-square of 23 degrees of freedom after scaling.
    assert ((counts - 1000) ** 2 / (1000 * 0.75) * 23 / 24).sum() < 49.7


@pytest.mark.parametrize("kind", DRAWN)
def test_the_result_does_not_depend_on_how_the_batch_is_split(kind):
    index = np.array([5, 2, 9, 11, 0, 3]) * 7
    whole = DRAWN[kind]((12, 10), image_index=index, **KEY)
    for part in (slice(2, 5), [4, 0]):
        np.testing.assert_array_equal(DRAWN[kind]((12, 10), image_index=index[part], **KEY), whole[part])
    for other in ({"seed": 1, "step": 5}, {"seed": 0, "step": 6}):
        assert (DRAWN[kind]((12, 10), image_index=index, **other) != whole).any()
    assert (whole[0] != whole[1:]).any((1, 2, 3)).all()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", EVERY)
def test_masks_are_the_same_on_every_device_and_never_wait(kind, device):
    index = np.arange(20)
    expected = EVERY[kind]((12, 10), image_index=index, **KEY)
    there = move(index, device)
    with watched(device, uploads=True):
        found = EVERY[kind]((12, 10), image_index=there, **KEY)
        shrunk = shrink_mask(found, 1)
    assert_same(found, expected, device)
    assert_same(shrunk, shrink_mask(expected, 1), device)


@pytest.mark.parametrize("border", [0, 1, 2, 40])
def test_a_shrunk_mask_keeps_off_every_known_pixel_but_not_off_the_image_edge(border):
    mask = random_region_mask((9, 11), image_index=np.arange(40), area=(0.3, 0.9), cells=3, **KEY)
    before = mask.copy()
    shrunk = shrink_mask(mask, border)
    padded = np.pad(mask, ((0, 0), (0, 0), (border, border), (border, border)), constant_values=True)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * border + 1, 2 * border + 1), axis=(2, 3))
    np.testing.assert_array_equal(shrunk, windows.all((-1, -2)))
    np.testing.assert_array_equal(mask, before)


def test_the_border_of_the_paper_is_four_of_sixty_four_pixels():
    shrunk = shrink_mask(center_mask((128, 128), image_index=np.arange(1)), 4)
    expected = np.zeros((128, 128), bool)
    expected[36:92, 36:92] = True
    np.testing.assert_array_equal(shrunk[0, 0], expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda key: center_mask((1, 8), image_index=np.arange(2)), "at least 2 pixels each"),
        (lambda key: random_block_mask((8, 8), blocks=0, **key), "at least 1 block"),
        (lambda key: random_block_mask((3, 3), **key), "less than a pixel each: take fewer blocks"),
        (lambda key: random_region_mask((8, 8), area=(0.3, 0.2), **key), "smallest first"),
        (lambda key: random_region_mask((8, 8), cells=0, **key), "at least 1 cell"),
        (lambda key: random_patch_mask((8, 8), 3, **key), "3 does not divide 8 x 8 pixels"),
        (lambda key: random_patch_mask((8, 8), 2, share=0.0, **key), "share above 0"),
        (lambda key: shrink_mask(np.ones((1, 1, 2, 2), bool), -1), "at least 0 pixels"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(KEY | {"image_index": np.arange(2)})
