"""PyTorch does the same work: the losses agree step by step, as far as float32 does."""

import dataclasses
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest

from minivit import models, optim
from minivit.backend.cpu.threads import Workers
from minivit.backend.onednn import load_onednn
from minivit.compare.rivals.torch_side import start_torch, torch_contender
from minivit.recipes.speed import MlpWork, ModelWork, RunWork
from minivit.recipes.step import make_optimizer

pytestmark = pytest.mark.reference

WITHOUT_WARMUP = {"warmup": 0.0, "schedule": "constant"}  # so that a few steps move the weights
UDA = {**WITHOUT_WARMUP, "confidence": 0.101, "learning_rate": 1e-2}  # some originals exceed it soon, others do not


def losses(step_of, steps):
    with step_of as step:
        return np.array([float(step()) for _ in range(steps)])


@pytest.fixture(autouse=True)
def threads():
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("work", "falls"),
    [
        (ModelWork("vit_nano_cifar", batch=6, threads=1), True),
        (ModelWork("resnet_nano_cifar", batch=6, threads=1, optimizer="sgd"), True),
        (ModelWork("resnet_nano_cifar", batch=6, threads=1), True),
        (ModelWork("vit_nano_cifar", training=False, batch=3, threads=1), False),
        (ModelWork("resnet_nano_cifar", training=False, batch=3, threads=1), False),
        (RunWork("supervised", "digits", 12, threads=1, settings=WITHOUT_WARMUP), True),
        (RunWork("supervised", "shapes", 6, threads=1, settings={**WITHOUT_WARMUP, "ema": 0.9}), True),
        (RunWork("uda", "digits", 6, 12, threads=1, settings=UDA), True),
        (RunWork("uda", "digits", 6, 12, threads=1, settings={**UDA, "optimizer": "muon"}), True),
        (MlpWork(), True),
    ],
)
def test_the_losses_agree(work, falls):
    ours, theirs = losses(work.start(), 6), losses(start_torch(work), 6)
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    assert (np.ptp(ours) > 1e-3 * abs(ours[0])) == falls  # or equal losses would prove nothing


@pytest.mark.parametrize(
    ("work", "in_bfloat16"),
    [
        (ModelWork("vit_nano_cifar", batch=6, threads=1), {"precision": "bf16"}),
        (ModelWork("vit_nano_cifar", training=False, batch=6, threads=1), {"precision": "bf16"}),
        (
            RunWork("supervised", "digits", 12, threads=1, settings=WITHOUT_WARMUP),
            {"settings": {**WITHOUT_WARMUP, "precision": "bf16"}},
        ),
    ],
)
def test_in_bfloat16_the_losses_agree_as_far_as_that_does(work, in_bfloat16):
    try:
        load_onednn()
    except RuntimeError as error:
        pytest.skip(str(error))
    single, rounded = losses(work.start(), 4), dataclasses.replace(work, **in_bfloat16)
    assert rounded.told()["precision"] == "bf16"
    for other in losses(rounded.start(), 4), losses(start_torch(rounded), 4):
        np.testing.assert_allclose(other, single, rtol=2e-2)
        assert other[-1] != single[-1]


def test_a_contender_does_it_in_another_process():
    contender = torch_contender(MlpWork())
    assert losses(contender.start(), 2) == pytest.approx(losses(start_torch(MlpWork()), 2), rel=1e-6)
    assert contender.environment == {"MINIVIT_MKL": "0"}


@pytest.mark.parametrize("setting", [{"tsa": "linear"}, {"implementation": "usb"}, {"entropy_weight": 0.1}])
def test_a_loss_that_the_rival_does_not_have_is_refused(setting):
    with (
        pytest.raises(ValueError, match="UDA's rival has neither TSA"),
        start_torch(RunWork("uda", "digits", 4, 8, threads=1, settings=setting)),
    ):
        pass


def test_work_without_a_rival_is_refused():
    with pytest.raises(ValueError, match="SimpleNamespace has no rival"):
        start_torch(SimpleNamespace())


@pytest.mark.parametrize("name", ["adamw", "muon", "sgd"])
def test_optimisers_move_every_weight_alike(name):
    import torch

    from minivit.compare.modules import torch_twin
    from minivit.compare.rivals.torch_optimizer import TorchOptimizer

    model = models.create("vit_nano_cifar").astype(np.float64)
    twin, _ = torch_twin(model)
    work = ModelWork("vit_nano_cifar")
    config = dataclasses.replace(work.config, optimizer=name, clip=1.0, ema=0.9, learning_rate=0.01)
    theirs = TorchOptimizer(twin, model, config)
    ours = make_optimizer(model, config, Workers(1))
    average = optim.ExponentialMovingAverage(ours.flat, 0.9)
    generator = np.random.default_rng(0)
    for _ in range(3):
        for (_, p), (_, q) in zip(model.named_parameters(), twin.named_parameters(), strict=True):
            p.grad = generator.standard_normal(p.shape)
            q.grad = torch.from_numpy(p.grad.copy())
        optim.clip_grad_norm(ours.flat, 1.0)
        ours.learning_rate = 0.01
        ours.step()
        average.update()
        theirs.step(0.01)
    averages = average.state_dict()
    for (key, q), mean in zip(twin.named_parameters(), theirs.averages, strict=True):
        p = dict(model.named_parameters())[key]
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-9, atol=1e-12, err_msg=key)
        np.testing.assert_allclose(averages[key], mean.numpy(), rtol=1e-9, atol=1e-12, err_msg=key)


def test_the_rival_has_one_learning_rate_for_all_layers():
    from minivit.compare.modules import torch_twin
    from minivit.compare.rivals.torch_optimizer import TorchOptimizer

    model = models.create("vit_nano_cifar")
    config = dataclasses.replace(ModelWork().config, layer_decay=0.5)
    with pytest.raises(ValueError, match="layer_decay has to be 1"):
        TorchOptimizer(torch_twin(model)[0], model, config)


def test_without_pytorch_there_is_no_rival(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="PyTorch, to measure against, is not installed: pip install torch"):
        torch_contender(MlpWork())
