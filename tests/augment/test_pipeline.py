"""Tests of minivit/augment/pipeline.py."""

import numpy as np
import pytest

from minivit.augment import (
    TrainAugmentation,
    cutout,
    normalize,
    randaugment,
    random_crop,
    random_flip,
    random_resized_crop,
)

MEAN, STD = (0.5, 0.25, 0.1), (0.2, 0.3, 0.4)


def make(count=12):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), np.arange(count) * 7


@pytest.mark.parametrize("mode", ["reflect", "zero"])
@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("cutout_size", [0, 3])
def test_it_is_its_parts_one_after_the_other(mode, flip, cutout_size):
    images, index = make()
    before = images.copy()
    augment = TrainAugmentation(MEAN, STD, 5, padding=2, padding_mode=mode, flip=flip, cutout_size=cutout_size)
    key = {"seed": 5, "step": 9, "image_index": index}
    expected = random_crop(images, 2, mode=mode, **key)
    if flip:
        expected = random_flip(expected, **key)
    expected = normalize(expected, MEAN, STD)
    if cutout_size:
        expected = cutout(expected, cutout_size, fill=0.0, **key)
    augmented = augment(images, 9, index)
    assert augmented.dtype == np.float32
    np.testing.assert_array_equal(augmented, expected)
    np.testing.assert_array_equal(images, before)


def test_the_result_does_not_depend_on_how_the_batch_is_split():
    images, index = make()
    augment = TrainAugmentation(MEAN, STD, 5, padding=2, cutout_size=2)
    whole = augment(images, 4, index)
    np.testing.assert_array_equal(
        np.concatenate([augment(images[s], 4, index[s]) for s in (np.s_[:5], np.s_[5:])]), whole
    )
    assert (augment(images, 5, index) != whole).any()


def test_nothing_to_do_is_normalize():
    images, index = make()
    plain = TrainAugmentation(MEAN, STD, 0, padding=0, flip=False)
    np.testing.assert_array_equal(plain(images, 0, index), normalize(images, MEAN, STD))


@pytest.mark.parametrize("mode", ["reflect", "zero"])
def test_uda_comes_first_and_what_it_blanks_is_the_mean_in_the_end(mode):
    images, index = make(100)
    policy = randaugment("uda", seed=8, image_size=8)
    augment = TrainAugmentation(MEAN, STD, 5, padding=2, padding_mode=mode, policy=policy)
    key = {"seed": 5, "step": 9, "image_index": index}
    expected, blank = policy(images, 9, index)
    expected = normalize(random_flip(random_crop(expected, 2, mode=mode, **key), **key), MEAN, STD)
    blank = random_flip(random_crop(blank, 2, mode=mode, **key), **key)
    assert 0.05 < blank.mean() < 0.95
    augmented = augment(images, 9, index)
    assert augmented.dtype == np.float32
    np.testing.assert_array_equal(augmented, np.where(blank, 0, expected))
    parts = [augment(images[s], 9, index[s]) for s in (np.s_[:31], np.s_[31:])]
    np.testing.assert_array_equal(np.concatenate(parts), augmented)


@pytest.mark.parametrize("style", ["torchvision", "timm", "fixmatch"])
def test_the_other_styles_are_given_cropped_and_flipped_images(style):
    images, index = make(50)
    policy = randaugment(style, seed=8, image_size=8)
    augment = TrainAugmentation(MEAN, STD, 5, padding=2, cutout_size=3, policy=policy)
    key = {"seed": 5, "step": 9, "image_index": index}
    expected, _ = policy(random_flip(random_crop(images, 2, **key), **key), 9, index)
    expected = cutout(normalize(expected, MEAN, STD), 3, fill=0.0, **key)
    np.testing.assert_array_equal(augment(images, 9, index), expected)


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("size", [0, 5])
def test_photos_are_cropped_at_random_and_resized(flip, size):
    images, index = make()
    augment = TrainAugmentation(MEAN, STD, 5, flip=flip, cutout_size=2, crop_area=(0.05, 1.0), crop_size=size)
    key = {"seed": 5, "step": 9, "image_index": index}
    expected = random_resized_crop(images, area=(0.05, 1.0), size=size, **key)
    if flip:
        expected = random_flip(expected, **key)
    expected = cutout(normalize(expected, MEAN, STD), 2, fill=0.0, **key)
    np.testing.assert_array_equal(augment(images, 9, index), expected)


def test_what_uda_blanks_stays_blank_in_a_resized_crop():
    images, index = make(100)
    policy = randaugment("uda", seed=8, image_size=8)
    augment = TrainAugmentation(MEAN, STD, 5, policy=policy, crop_area=(0.2, 1.0), crop_size=16)
    key = {"seed": 5, "step": 9, "image_index": index}
    changed, blank = policy(images, 9, index)
    expected = normalize(random_flip(random_resized_crop(changed, area=(0.2, 1.0), size=16, **key), **key), MEAN, STD)
    share = random_flip(random_resized_crop(blank.astype(np.float64), area=(0.2, 1.0), size=16, **key), **key)
    augmented = augment(images, 9, index)
    inside, outside = np.broadcast_to(share == 1, augmented.shape), np.broadcast_to(share == 0, augmented.shape)
    assert inside.any()
    assert not augmented[inside].any()
    np.testing.assert_array_equal(augmented[outside], expected[outside])
