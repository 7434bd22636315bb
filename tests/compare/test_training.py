"""Two hundred steps in minivit and in PyTorch: the same losses and, in the end, the same weights."""

import numpy as np
import pytest

from minivit import models, optim
from minivit.compare.training import OPTIMIZERS, SMALL, Parity, Recipe, train_both, train_small
from minivit.compare.training_picture import draw_parity

pytestmark = pytest.mark.reference("torch")


@pytest.fixture(scope="module")
def trained():
    return {(one.recipe.optimizer, one.dtype): one for one in train_small()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_losses_and_weights_stay_together(trained, optimizer, dtype):
    found = trained[optimizer, dtype]
    assert len(found.ours) == len(found.theirs) == 200
    assert found.theirs[-20:].mean() < 0.6 * found.theirs[0]  # it learned
    assert found.passed
    names = {name for name, _ in models.VisionTransformer(**SMALL, channels=1).named_parameters()}
    assert set(found.weights) == names
    rounding = 1e-5 if dtype == "float32" else 1e-9
    assert found.loss_error < rounding
    assert found.weight_error < rounding


def test_only_in_single_precision_the_key_biases_are_apart(trained):
    assert max(trained["AdamW", "float32"].key_biases.values()) > 1e-3
    assert max(trained["AdamW", "float64"].key_biases.values()) < 1e-6


def test_another_step_is_noticed(monkeypatch):
    clip = optim.clip_grad_norm
    monkeypatch.setattr(optim, "clip_grad_norm", lambda flat, norm: clip(flat, 1.01 * norm))
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((40, 1, 8, 8)), rng.integers(0, 10, 40)
    model = models.VisionTransformer(**SMALL, channels=1)
    assert not train_both(model, images, labels, Recipe("SGD", 60, 5), "float64").passed


def test_what_passes():
    curve = np.ones(3)

    def parity(apart, weight):
        return Parity(Recipe(), "float32", curve + apart, curve, {"w": weight}, {})

    assert parity(0.9e-4, 0.9e-3).passed
    assert not parity(1.1e-4, 0.0).passed
    assert not parity(0.0, 1.1e-3).passed


def test_the_picture_is_drawn(trained, tmp_path):
    path = draw_parity(list(trained.values()), tmp_path / "parity.png")
    assert path.stat().st_size > 10_000
