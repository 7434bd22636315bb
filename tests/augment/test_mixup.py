"""Tests of minivit/augment/mixup.py."""

import numpy as np
import pytest

import minivit as mv
from minivit.augment import cutmix, mixup, one_hot


def make(count=16, classes=16):
    images = np.random.default_rng(0).standard_normal((count, 3, 2, 2)).astype(np.float32)
    return images, one_hot(np.arange(count) % classes, classes)


def lambdas_and_partners(targets):
    """With a class for each image, a target tells what it was mixed from."""
    own = np.diag(targets).copy()
    others = targets - np.diag(own)
    return own, np.where(others.max(1) > 0, others.argmax(1), np.arange(len(targets))), others.max(1)


@pytest.mark.parametrize("per_image", [False, True])
def test_images_and_targets_are_blended_alike(per_image):
    images, targets = make()
    mixed, mixed_targets = mixup(images, targets, alpha=1.0, seed=1, step=2, per_image=per_image)
    assert mixed.dtype == mixed_targets.dtype == np.float32
    np.testing.assert_allclose(mixed_targets.sum(1), 1, rtol=1e-6)
    own, partner, other = lambdas_and_partners(mixed_targets)
    assert sorted(partner.tolist()) == list(range(16))
    expected = own[:, None, None, None] * images + other[:, None, None, None] * images[partner]
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    mixed_ones = own[partner != np.arange(16)]
    assert (len(set(mixed_ones.tolist())) > 1) == per_image
    assert ((mixed_ones > 0) & (mixed_ones < 1)).all()


def test_the_step_and_seed_decide():
    images, targets = make()
    first = mixup(images, targets, alpha=0.4, seed=1, step=2)[0]
    np.testing.assert_array_equal(first, mixup(images, targets, alpha=0.4, seed=1, step=2)[0])
    for key in ({"seed": 1, "step": 3}, {"seed": 2, "step": 2}):
        assert (mixup(images, targets, alpha=0.4, **key)[0] != first).any()


def test_lambda_is_beta_distributed():
    own = []
    for step in range(2000):
        pair = mixup(np.zeros((2, 1, 1, 1)), np.eye(2), alpha=0.5, seed=0, step=step)[1]
        if pair[0, 1] > 0:  # the permutation exchanged the two
            own.append(pair[0, 0])
    assert 880 < len(own) < 1120
    assert np.mean(own) == pytest.approx(0.5, abs=0.04)
    assert np.var(own) == pytest.approx(1 / 8, abs=0.01)


@pytest.mark.reference
@pytest.mark.parametrize("mix", [mixup, cutmix])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixed_targets_are_trained_on_as_by_pytorch(mix, smoothing):
    """As soft targets, and as the paper has it: lam times the loss of one label, 1 - lam times that of the other."""
    import torch

    rng = np.random.default_rng(4)
    images, targets = np.zeros((16, 3, 8, 8)), np.eye(16)
    mixed = mix(images, targets, alpha=1.0, seed=3, step=1, per_image=True)[1]
    own, partner, other = lambdas_and_partners(mixed)
    assert (other > 0.01).sum() > 5
    logits = rng.standard_normal((16, 16))
    ours = mv.tensor(logits, requires_grad=True)
    loss = mv.ops.cross_entropy(ours, mixed, smoothing)
    loss.backward()

    cross_entropy = torch.nn.functional.cross_entropy
    theirs = torch.tensor(logits, requires_grad=True)
    expected = cross_entropy(theirs, torch.tensor(mixed), label_smoothing=smoothing)
    expected.backward()
    np.testing.assert_allclose(loss.numpy(), expected.detach(), rtol=1e-13)
    np.testing.assert_allclose(ours.grad, theirs.grad, atol=1e-15)
    first, second = (
        cross_entropy(theirs, torch.tensor(labels), reduction="none", label_smoothing=smoothing)
        for labels in (np.arange(16), partner)
    )
    two = (torch.tensor(own) * first + torch.tensor(1 - own) * second).mean()
    np.testing.assert_allclose(loss.numpy(), two.detach(), rtol=1e-13)


def test_alpha_zero_changes_nothing():
    images, targets = make()
    assert mixup(images, targets, alpha=0, seed=0, step=0) == (images, targets)


def test_one_hot():
    hot = one_hot(np.array([2, 0, 5]), 3)
    assert hot.dtype == np.float32
    assert hot.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"alpha": -0.1}, ValueError, "alpha of at least 0"),
        ({"images": np.zeros((16, 3, 2, 2), np.uint8)}, TypeError, "images of a float type, got uint8"),
        ({"targets": np.zeros((16, 4), np.int64)}, TypeError, "targets of a float type, got int64"),
        ({"targets": np.zeros(16)}, ValueError, r"targets \(B, K\)"),
        ({"targets": np.zeros((15, 4))}, ValueError, r"targets \(B, K\)"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    images, targets = make()
    with pytest.raises(error, match=message):
        mixup(**({"images": images, "targets": targets, "alpha": 1.0, "seed": 0, "step": 0} | change))
