"""Tests of minivit/recipes/pretext/fillings.py."""

import numpy as np
import pytest

from minivit.augment import center_mask, random_region_mask
from minivit.recipes.pretext.fillings import FILLINGS, fill_diffusion, fill_mean


def images(size=(12, 10)):
    return np.random.default_rng(0).standard_normal((3, 2, *size)).astype(np.float32)


@pytest.mark.parametrize("fill", FILLINGS.values(), ids=FILLINGS)
def test_known_pixels_stay_and_hidden_ones_do_not_matter(fill):
    x = images()
    hidden = random_region_mask((12, 10), seed=0, step=0, image_index=np.arange(3))
    filled = fill(x, hidden)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(np.where(hidden, 0, filled), np.where(hidden, 0, x))
    np.testing.assert_array_equal(fill(np.where(hidden, 9, x), hidden), filled)


def test_the_mean_colour_is_zero():
    hidden = center_mask((12, 10), image_index=np.arange(3))
    assert (fill_mean(images(), hidden)[np.broadcast_to(hidden, (3, 2, 12, 10))] == 0).all()


def test_diffusion_continues_a_plane_and_settles_where_each_pixel_is_the_mean_of_its_neighbours():
    row, column = np.mgrid[:16, :16]
    plane = (0.25 * row - 0.5 * column)[None, None].astype(np.float64)
    hidden = center_mask((16, 16), image_index=np.arange(1))
    np.testing.assert_allclose(fill_diffusion(plane, hidden), plane, atol=0.01)

    filled = fill_diffusion(images((16, 16)).astype(np.float64), center_mask((16, 16), image_index=np.arange(3)))
    mean = (filled[:, :, :-2, 1:-1] + filled[:, :, 2:, 1:-1] + filled[:, :, 1:-1, :-2] + filled[:, :, 1:-1, 2:]) / 4
    np.testing.assert_allclose(filled[:, :, 4:12, 4:12], mean[:, :, 3:11, 3:11], atol=1e-3)


def test_a_hole_too_wide_for_a_few_rounds_is_filled_from_smaller_images():
    image = np.broadcast_to(np.arange(256.0), (1, 1, 256, 256))
    hidden = center_mask((256, 256), image_index=np.arange(1))
    assert np.abs(fill_diffusion(image, hidden) - image).max() < 2


def test_a_wholly_hidden_image_is_filled_with_zeros():
    hidden = np.ones((3, 1, 12, 10), bool)
    assert (fill_diffusion(images(), hidden) == 0).all()
