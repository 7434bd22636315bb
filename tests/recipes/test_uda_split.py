"""UDA whose examples go forward together, split over workers: it is the loss of the batch in one piece."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from devices import DEVICES, watched

import minivit as mv
from minivit.backend import move
from minivit.backend.cpu.threads import Workers
from minivit.models import VisionTransformer, WideResNet
from minivit.recipes.uda import uda_loss
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_step import UdaBatch, UdaStep

CLASSES = 4
OFFSET = 3  # of the keys of random masks


def model_of(kind: str, dtype: Any) -> mv.nn.Module:
    if kind == "wide_resnet":
        model: Any = WideResNet(depth=10, widen=1, num_classes=CLASSES, channels=1, dropout=0.2, seed=2)
        head = model.fc
    else:
        stem = (4, 6) if kind == "conv_stem" else None
        model = VisionTransformer(
            8, 4, 8, 1, 2, 12, CLASSES, channels=1, stem=stem, drop_path=0.3, dropout=0.2, initialization="fan_in"
        )
        head = model.head
    # Some rows are confident, and some not.
    head.weight.assign(
        np.random.default_rng(1).normal(size=head.weight.shape) * (1.0 if kind == "wide_resnet" else 0.5)
    )
    return model.astype(dtype)


def batch_of(seed: int, labelled: int, unlabelled: int, dtype: Any = np.float64) -> UdaBatch:
    draw = np.random.default_rng(seed)
    # Each image has a mean and a scale of its own, so the statistics of a part are far from those of the batch.
    count = labelled + 2 * unlabelled
    images = draw.normal(size=(count, 1, 8, 8)) * draw.uniform(0.5, 2.0, (count, 1, 1, 1))
    images = (images + draw.normal(size=(count, 1, 1, 1))).astype(dtype)
    index = np.arange(count) * OFFSET
    labels = draw.integers(0, CLASSES, labelled)
    cut = labelled, labelled + unlabelled
    if unlabelled == 0:
        return UdaBatch(images, labels, None, None, index, None, None, step=4)
    parts = [[array[: cut[0]], array[cut[0] : cut[1]], array[cut[1] :]] for array in (images, index)]
    return UdaBatch(parts[0][0], labels, *parts[0][1:], *parts[1], step=4)


def config_of(**settings: Any) -> UdaConfig:
    base = {"steps": 10, "batch_size": 6, "micro_batch": 2, "learning_rate": 0.1, "confidence": 0.7, "ema": 0.0}
    return UdaConfig(**{**base, "optimizer": "sgd", "weight_decay": 0.0, "forward": "concatenated", **settings})


def split_step(kind: str, batch: UdaBatch, threads: int, **settings: Any) -> tuple[UdaStep, dict[str, Any]]:
    """A step after forward and backward on some workers, and what it measured."""
    with Workers(threads) as workers:
        step = UdaStep(model_of(kind, batch.labelled.dtype), config_of(**settings), 10, workers, CLASSES)
        return step, step.forward_backward(batch)


def logits_of(model: mv.nn.Module, batch: UdaBatch) -> mv.Tensor:
    """From one forward of all examples: labelled, augmented, original."""
    images, index = [batch.labelled], [batch.labelled_index]
    if batch.unlabelled_size:
        images += [batch.augmented, batch.original]
        index += [batch.augmented_index, batch.original_index]
    with mv.nn.mask_keys(config_of().seed, batch.step, np.concatenate(index)):
        return model(mv.Tensor(np.concatenate(images)))


def in_one_piece(kind: str, batch: UdaBatch, **settings: Any) -> tuple[mv.nn.Module, dict[str, Any]]:
    """A model with the gradients of the loss of the paper, from one forward of all examples, and the loss's terms."""
    model, config, L = model_of(kind, batch.labelled.dtype), config_of(**settings), len(batch.labels)
    U = batch.unlabelled_size
    logits = logits_of(model, batch)
    wanted = dataclasses.asdict(config.loss_settings())
    unlabelled = (logits[L + U :], logits[L : L + U])
    if not U:
        nothing = mv.Tensor(np.zeros((1, CLASSES), batch.labelled.dtype))
        unlabelled, wanted["weight"] = (nothing, nothing), 0.0
    loss, quantities = uda_loss(logits[:L], batch.labels, *unlabelled, progress=batch.step / 10, **wanted)
    loss.backward()
    return model, {"accuracy": quantities.pop("labelled_accuracy"), **quantities}


def assert_the_same(step: UdaStep, found: dict, model: mv.nn.Module, expected: dict, rounding: float) -> None:
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=rounding, atol=rounding, err_msg=name)
    mine = dict(step.model.named_parameters())
    largest = max(np.abs(p.grad).max() for p in model.parameters() if p.grad is not None)
    assert largest > 1e-3
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            assert mine[name].grad is None, name
        else:
            np.testing.assert_allclose(mine[name].grad, parameter.grad, rtol=0, atol=rounding * largest, err_msg=name)
    state = step.model.state_dict()
    for name, buffer in model.named_buffers():
        np.testing.assert_allclose(state[name], buffer.numpy(), rtol=rounding, atol=rounding, err_msg=name)


SETTINGS = [
    {},
    {"tsa": "exp", "label_smoothing": 0.1},
    {"tsa": "linear", "entropy_weight": 0.3},
    {"stop_gradient": False},
    {"implementation": "usb", "tsa": "log"},
    {"implementation": "uda_pytorch", "entropy_weight": 0.2},
    {"confidence": 0.0, "temperature": 1.0, "weight": 2.5},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("kind", ["wide_resnet", "conv_stem", "patches"])
def test_the_parts_of_all_workers_are_the_loss_of_one_forward(kind: str, threads: int, settings: dict) -> None:
    batch = batch_of(0, 5, 8)
    step, found = split_step(kind, batch, threads, **settings)
    model, expected = in_one_piece(kind, batch, **settings)
    assert settings.get("confidence") == 0.0 or 0 < expected["confident_share"] < 1
    assert found.keys() == expected.keys()
    assert_the_same(step, found, model, expected, 2e-13)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [(2, 9), (9, 2), (1, 1), (1, 12), (7, 0)])
@pytest.mark.parametrize("threads", [2, 3, 5])
def test_however_uneven_the_split(threads: int, sizes: tuple[int, int], seed: int) -> None:
    """Some parts have no labelled examples, or no unlabelled ones; there may be fewer examples than workers."""
    batch, settings = batch_of(seed, *sizes), {"tsa": "log", "implementation": "uda_pytorch", "confidence": 0.4}
    step, found = split_step("wide_resnet", batch, threads, **settings)
    model, expected = in_one_piece("wide_resnet", batch, **settings)
    assert_the_same(step, found, model, expected, 2e-13)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("confidence", "share"), [(1.0, 0.0), (0.0, 1.0)])
def test_none_and_all_of_the_unlabelled_may_count(confidence: float, share: float, threads: int) -> None:
    batch, settings = batch_of(1, 5, 8), {"confidence": confidence, "implementation": "uda_pytorch"}
    step, found = split_step("wide_resnet", batch, threads, **settings)
    model, expected = in_one_piece("wide_resnet", batch, **settings)
    assert found["confident_share"] == share
    assert (found["consistency_loss"] > 1e-3) == (share > 0)
    assert_the_same(step, found, model, expected, 2e-13)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("right", "share"), [(True, 0.0), (False, 1.0)])
def test_none_and_all_of_the_labelled_may_count(right: bool, share: float, threads: int) -> None:
    batch = dataclasses.replace(batch_of(2, 5, 8), step=0)
    logits = logits_of(model_of("wide_resnet", np.float64), batch).numpy()[:5]
    # At the very beginning TSA leaves out whose label is likelier than chance.
    batch = dataclasses.replace(batch, labels=logits.argmax(1) if right else logits.argmin(1))
    step, found = split_step("wide_resnet", batch, threads, tsa="linear")
    model, expected = in_one_piece("wide_resnet", batch, tsa="linear")
    assert found["kept_share"] == share
    assert (found["supervised_loss"] > 1e-3) == (share > 0)
    assert_the_same(step, found, model, expected, 2e-13)


@pytest.mark.parametrize("kind", ["wide_resnet", "conv_stem", "patches"])
def test_in_float32_the_number_of_workers_changes_rounding_alone(kind: str) -> None:
    batch, settings = batch_of(3, 5, 9, np.float32), {"tsa": "exp", "entropy_weight": 0.1}
    model, expected = in_one_piece(kind, batch, **settings)
    for threads in (1, 2, 3, 4):
        step, found = split_step(kind, batch, threads, **settings)
        assert step.optimizer.flat.grad.dtype == np.float32
        assert_the_same(step, found, model, expected, 1e-5)


def test_every_worker_has_its_share_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    forward = WideResNet.forward

    def counted(model: WideResNet, images: mv.Tensor) -> mv.Tensor:
        rows.append(images.shape[0])
        return forward(model, images)

    monkeypatch.setattr(WideResNet, "forward", counted)
    split_step("wide_resnet", batch_of(0, 4, 12), 4)
    assert rows == [1 + 3 + 3] * 4


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("settings", [{}, {"tsa": "exp", "implementation": "uda_pytorch"}], ids=str)
def test_on_another_device_it_is_the_same_and_never_waits(device: str, settings: dict) -> None:
    batch = batch_of(0, 5, 8, np.float32)
    model, expected = in_one_piece("wide_resnet", batch, **settings)
    there = UdaBatch(*(value if name == "step" else move(value, device) for name, value in vars(batch).items()))
    model_there = model_of("wide_resnet", np.float32).to(device)
    step = UdaStep(model_there, config_of(**settings), 10, Workers(1), CLASSES)
    with watched(device, uploads=True):
        found = step.forward_backward(there)
    for name, value in found.items():
        np.testing.assert_allclose(move(value, "cpu"), expected[name], rtol=2e-4, err_msg=name)
    mine = dict(step.model.named_parameters())
    largest = max(np.abs(parameter.grad).max() for parameter in model.parameters())
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            move(mine[name].grad, "cpu"), parameter.grad, rtol=0, atol=1e-5 * largest, err_msg=name
        )
