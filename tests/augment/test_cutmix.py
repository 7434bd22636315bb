"""Tests of minivit/augment/cutmix.py."""

import numpy as np
import pytest
from devices import DEVICES, assert_same

from minivit.augment import cutmix, one_hot
from minivit.backend import move


def make(count=16, height=8, width=12):
    """Each image holds its own number, so that a pixel tells where it is from."""
    images = np.broadcast_to(np.arange(count)[:, None, None, None], (count, 2, height, width)).astype(np.float32)
    return images, one_hot(np.arange(count), count)


@pytest.mark.parametrize("per_image", [False, True])
def test_a_box_is_the_partners_and_the_targets_follow_its_area(per_image):
    images, targets = make()
    before = images.copy()
    shares = []
    for step in range(20):
        mixed, mixed_targets = cutmix(images, targets, alpha=1.0, seed=1, step=step, per_image=per_image)
        assert mixed.dtype == mixed_targets.dtype == np.float32
        for number in range(16):
            foreign = mixed[number] != number
            np.testing.assert_array_equal(foreign[0], foreign[1])
            rows, columns = foreign[0].any(1), foreign[0].any(0)
            np.testing.assert_array_equal(foreign[0], rows[:, None] & columns[None, :])
            for span in (rows, columns):
                assert np.abs(np.diff(span.astype(int))).sum() <= 2, "one stretch"
            expected = np.zeros(16, np.float32)
            expected[number] += 1 - foreign[0].mean()
            if foreign.any():
                partner = int(np.unique(mixed[number][foreign]).item())
                expected[partner] += foreign[0].mean()
            np.testing.assert_allclose(mixed_targets[number], expected, atol=1e-6)
        own = np.diag(mixed_targets)
        shares.append(own[own < 1])
        assert (len(np.unique(own[own < 1])) > 1) == per_image or len(shares[-1]) == 0
    assert len(np.unique(np.concatenate(shares))) > 5
    np.testing.assert_array_equal(images, before)


def test_the_boxes_have_the_papers_size_and_every_pixel_as_their_centre():
    """Without the edges: boxes that were not cut off have half sides of half the image's times sqrt(1 - lam)."""
    images, targets = make(2, 40, 40)
    areas, covered = [], np.zeros((40, 40))
    for step in range(3000):
        mixed, mixed_targets = cutmix(images, targets, alpha=1.0, seed=0, step=step)
        if mixed_targets[0, 1] > 0:  # the permutation exchanged the two
            areas.append(mixed_targets[0, 1])
            covered += mixed[0, 0] == 1
    assert 1300 < len(areas) < 1700
    # lam is uniform: with side s = sqrt(1 - lam) and a centre anywhere, an axis keeps s - s^2 / 4 on average, so the
    # area is E[(s - s^2 / 4)^2] = 1/2 - 1/5 + 1/48, less a little for halves that are cut off to whole pixels.
    assert np.mean(areas) == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.025)
    np.testing.assert_allclose(covered, covered[::-1, ::-1], atol=0.1 * len(areas))
    assert covered[20, 20] > 1.5 * covered[0, 0]


def test_seed_and_step_decide():
    images, targets = make()
    first = cutmix(images, targets, alpha=0.4, seed=1, step=2)[0]
    np.testing.assert_array_equal(first, cutmix(images, targets, alpha=0.4, seed=1, step=2)[0])
    for key in ({"seed": 1, "step": 3}, {"seed": 2, "step": 2}):
        assert (cutmix(images, targets, alpha=0.4, **key)[0] != first).any()


def test_alpha_zero_changes_nothing():
    images, targets = make()
    assert cutmix(images, targets, alpha=0, seed=0, step=0) == (images, targets)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("per_image", [False, True])
def test_it_is_the_same_on_every_device(per_image, device):
    images, targets = make()
    key = {"alpha": 1.0, "seed": 3, "step": 4, "per_image": per_image}
    expected = cutmix(images, targets, **key)
    found = cutmix(move(images, device), move(targets, device), **key)
    for mine, reference in zip(found, expected, strict=True):
        assert_same(mine, reference, device)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"alpha": -0.1}, ValueError, "alpha of at least 0"),
        ({"targets": np.zeros((16, 4), np.int64)}, TypeError, "targets of a float type, got int64"),
        ({"targets": np.zeros((15, 4))}, ValueError, r"targets \(B, K\)"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    images, targets = make()
    with pytest.raises(error, match=message):
        cutmix(**({"images": images, "targets": targets, "alpha": 1.0, "seed": 0, "step": 0} | change))
