"""Models and whole training steps: on the stand-in without waiting for it, and the same numbers on every backend."""

import io
from pathlib import Path

import numpy as np
import pytest
import standin
from devices import DEVICES, assert_same, watched

import minivit as mv
from minivit import augment, nn, ops, optim
from minivit.autograd.errors import DeviceError
from minivit.backend import array_module, device_of, kernels_disabled, move, to_host, use_device
from minivit.backend.cpu.threads import Workers
from minivit.data import Batches, Dataset, load
from minivit.nn import mask_keys
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.presets import preset_settings
from minivit.recipes.supervised import Supervised, SupervisedStep
from minivit.recipes.trainer import Trainer

SIZE, CLASSES, IMAGES = 8, 5, 12
VIT = {"image_size": SIZE, "patch_size": 4, "dim": 16, "depth": 2, "heads": 2, "mlp_dim": 24, "num_classes": CLASSES}
MODELS = {
    "class token": {"dropout": 0.2, "drop_path": 0.3},
    "mean of tokens": {"pool": "mean", "positions": "sincos2d", "gelu": "tanh", "qkv_bias": False, "drop_path": 0.3},
    "stem": {"stem": (8, 16), "positions": "none"},
    "sequence": {"pool": "sequence", "stem": (8, 12), "positions": "sincos2d", "drop_path": 0.3},
    "checkpointed": {"checkpoint_blocks": True, "dropout": 0.2, "drop_path": 0.3},
    "paper": {"initialization": "paper"},
}


@pytest.fixture
def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(
        name="noise",
        images=rng.integers(0, 256, (IMAGES, 3, SIZE, SIZE), np.uint8),
        labels=rng.integers(0, CLASSES, IMAGES),
        classes=tuple("abcde"),
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3),
        source="random numbers",
    )


@pytest.fixture(autouse=True)
def texts_everywhere():
    """The stand-in runs the ops' texts, so NumPy does too: then both give the same bits."""
    with kernels_disabled():
        yield


# Models


def forward_backward(options: dict, device: str) -> list:
    model = mv.models.VisionTransformer(**{**VIT, **options}, seed=3).to(device)
    rng = np.random.default_rng(1)
    images = mv.tensor(rng.standard_normal((4, 3, SIZE, SIZE), np.float32), device=device)
    labels = mv.tensor(rng.integers(0, CLASSES, 4), device=device)
    index = move(np.array([7, 1, 3, 9]), device)
    with mv.no_grad(), mask_keys(5, 2, index):
        model(images)  # the first forward brings fixed positions to the device
    with watched(device), mask_keys(5, 2, index):
        logits = model(images)
        ops.cross_entropy(logits, labels, 0.1).backward()
    assert logits.device == model.device
    return [logits.data, *(p.grad for p in model.parameters())]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_the_same_and_never_waits(name, device):
    for mine, reference in zip(
        forward_backward(MODELS[name], device), forward_backward(MODELS[name], "cpu"), strict=True
    ):
        assert device_of(mine).startswith(device)
        assert_same(mine, reference, device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_model_refuses_images_of_another_device(device):
    model = mv.models.VisionTransformer(**VIT).to(device)
    with pytest.raises(DeviceError, match="nothing moves by itself"):
        model(mv.tensor(np.zeros((1, 3, SIZE, SIZE), np.float32)))


@pytest.mark.parametrize("device", DEVICES)
def test_a_model_keeps_its_weights_on_the_way_there_and_back(device):
    model = mv.models.VisionTransformer(**VIT, seed=1)
    before = model.state_dict()
    model.to(device)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    model.to("cpu")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


# Steps


def train(dataset: Dataset, device: str, optimizer_type: type = optim.AdamW, steps: int = 3, **options) -> dict:
    """A few steps with everything that a step can have; what they leave, on the host."""
    model = mv.models.VisionTransformer(**VIT, dropout=0.1, drop_path=0.2, **options).to(device)
    optimizer = optimizer_type(model, learning_rate=0.01, weight_decay=0.1)
    average = optim.ExponentialMovingAverage(optimizer.flat, 0.9)
    batches = Batches(dataset, 4, seed=2)
    augmentation = augment.TrainAugmentation(dataset.mean, dataset.std, seed=2, padding=2, cutout_size=3)
    left = {}
    for step in range(steps):
        batch = batches.at(step)
        images, labels, index = (move(array, device) for array in (batch.images, batch.labels, batch.index))
        with watched(device, uploads=True) as seen:  # constants of the normalisation, drawn permutations
            images = augmentation(images, step, index)
            images, targets = augment.mixup(images, augment.one_hot(labels, CLASSES), alpha=0.4, seed=2, step=step)
        assert len(seen.uploads) <= 6
        with watched(device):
            optimizer.zero_grad()
            with mask_keys(2, step, index):
                logits = model(mv.Tensor(images))
            loss = ops.cross_entropy(logits, mv.Tensor(targets), label_smoothing=0.1)
            loss.backward()
            norm = optim.clip_grad_norm(optimizer.flat, 0.5)
            optimizer.learning_rate = 0.01 * optim.warmup_cosine(step, steps, 1)
            optimizer.step()
            average.update()
        left |= {f"images {step}": to_host(images), f"loss {step}": to_host(loss.data), f"norm {step}": to_host(norm)}
    return left | model.state_dict() | {f"average of {k}": v for k, v in average.state_dict().items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("optimizer_type", [optim.AdamW, optim.SGD, optim.Muon])
def test_a_training_step_is_the_same_and_never_waits(optimizer_type, device, dataset):
    expected = train(dataset, "cpu", optimizer_type)
    found = train(dataset, device, optimizer_type)
    assert found.keys() == expected.keys()
    for name in expected:
        first = name.endswith(" 0")  # of the first step: nothing was updated yet
        assert_same(found[name], expected[name], device, drift=0.0 if first else 0.1)


def test_a_training_step_runs_on_a_second_device(dataset):
    use_device("standin:1")
    try:
        found = train(dataset, "standin:1", steps=1)
    finally:
        use_device("standin:0")
    for name, array in train(dataset, "cpu", steps=1).items():
        np.testing.assert_array_equal(found[name], array)


def recipe(dataset: Dataset, device: str) -> tuple[list, dict]:
    config = TrainConfig(
        device=device, seed=4, batch_size=4, micro_batch=2, optimizer="adamw", learning_rate=0.01, weight_decay=0.1,
        warmup=0.2, clip=1.0, ema=0.9, crop=2, flip=True, cutout=3, label_smoothing=0.1, mixup=0.2,
    )  # fmt: skip
    model = mv.models.VisionTransformer(**VIT, drop_path=0.2, seed=config.seed).to(device)
    workers = Workers(1)
    augmentation = mv.augment.TrainAugmentation(dataset.mean, dataset.std, config.seed, padding=2, cutout_size=3)
    stepper = SupervisedStep(model, config, 5, workers, augmentation, CLASSES)
    batches = Batches(dataset, 4, seed=config.seed)
    left = []
    for step in range(3):
        with watched(device, uploads=True):
            prepared = stepper.prepare(batches.at(step))
        with watched(device):
            result = stepper(prepared)
        assert result.is_finite()
        left += [*result.values.values(), result.grad_norm]
    return left, model.state_dict()


@pytest.mark.parametrize("device", DEVICES)
def test_a_step_of_the_recipe_is_the_same_and_never_waits(device, dataset):
    (expected, weights), (found, found_weights) = recipe(dataset, "cpu"), recipe(dataset, device)
    for mine, reference in zip(found, expected, strict=True):
        assert device_of(mine).startswith(device)
        assert_same(mine, reference, device, drift=0.1)
    for name, array in weights.items():
        assert_same(found_weights[name], array, device, drift=0.1)


# Runs


def whole_run(device: str, folder: Path) -> tuple[dict, dict, list[str]]:
    """Train on the digits with a checkpoint and an evaluation; then load the checkpoint and evaluate again."""
    config = TrainConfig(
        device=device, dataset="digits", threads=1, steps=4, micro_batch=16, ema=0.9, drop_path=0.1, mixup=0.2, cutout=2
    ).filled(preset_settings("digits"))
    losses = []
    with standin.watch() as seen:
        for resume in (False, True):
            trainer = Trainer(Supervised(config, load("digits"), "digits"), folder, Console(io.StringIO()))
            results = trainer.run(resume)
            losses.append(results["test_loss"])
    assert losses[0] == losses[1]
    return results, trainer.model.state_dict(), seen.synchronisations


@pytest.mark.parametrize("device", DEVICES)
def test_a_whole_run_comes_to_the_same(device, tmp_path):
    expected, weights, _ = whole_run("cpu", tmp_path / "cpu")
    found, found_weights, waits = whole_run(device, tmp_path / device)
    assert not [line for line in waits if "device.py" not in line]  # where it waits, it says so: to_host
    assert found["steps"] == 4
    for name, array in weights.items():
        assert_same(found_weights[name], array, device, drift=0.02)
    assert_same(np.float32(found["test_loss"]), np.float32(expected["test_loss"]), device, drift=0.02)


def test_a_whole_run_on_a_second_device(tmp_path):
    try:
        _, weights, _ = whole_run("standin:1", tmp_path / "second")
    finally:
        use_device("standin:0")
    for name, array in whole_run("cpu", tmp_path / "cpu")[1].items():
        np.testing.assert_array_equal(weights[name], array)


def test_looking_into_a_model_works_on_a_device():
    model = mv.models.VisionTransformer(**VIT, seed=1)
    images = np.random.default_rng(0).standard_normal((2, 3, SIZE, SIZE), np.float32)
    expected = mv.inspect.heat_maps(model, mv.tensor(images))
    model.to("standin")
    there = mv.tensor(images, device="standin")
    for mine, reference in zip(mv.inspect.heat_maps(model, there), expected, strict=True):
        np.testing.assert_array_equal(mine, reference)
    found = mv.inspect.find_non_finite(lambda: model(there * float("inf")).sum().backward(), model)
    assert "multiply_number" in str(found)
    assert f"{model.count_parameters():,}" in str(mv.inspect.summarize(model))


# Planted mistakes: each would pass unseen on NumPy


def reads_the_norm(flat, max_norm):
    norm = optim.grad_norm(flat)
    if float(norm) > max_norm:
        flat.grad *= max_norm / norm
    return norm


def takes_numpy(flat, max_norm):
    flat.grad *= np.full(flat.size, 0.5, np.float32)
    return optim.grad_norm(flat)


def misses_a_name(flat, max_norm):
    return array_module(flat.grad).vecdot(flat.grad, flat.grad)


@pytest.mark.parametrize(
    ("planted", "error", "message"),
    [
        (reads_the_norm, AssertionError, r"waited for the device:\n  float\(\) at .*test_training_step.py"),
        (takes_numpy, TypeError, "Unsupported type"),
        (misses_a_name, AttributeError, "no attribute 'vecdot'"),
    ],
)
def test_a_mistake_planted_in_the_step_is_found(planted, error, message, dataset, monkeypatch):
    monkeypatch.setattr(optim, "clip_grad_norm", planted)
    train(dataset, "cpu", steps=1)
    with pytest.raises(error, match=message):
        train(dataset, "standin", steps=1)


# Random numbers


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_seed_draws_the_same_on_every_backend(device, dataset):
    here = mv.models.VisionTransformer(**VIT, seed=9)
    there = mv.models.VisionTransformer(**VIT, seed=9).to(device)
    for name, array in there.state_dict().items():
        np.testing.assert_array_equal(array, here.state_dict()[name])
    layer, index = nn.Dropout(0.3), np.array([4, 0, 2**31])
    for like in (np.ones((3, 7), np.float32), np.ones((3, 5, 9), np.float64)):
        masks = []
        for where in ("cpu", device):
            with mask_keys(11, 3, move(index, where)):
                masks.append(layer(mv.tensor(like, device=where)).numpy())
        np.testing.assert_array_equal(masks[0], masks[1])
    images, indices = dataset.images[:3], np.array([5, 2, 8])
    for transform in (
        lambda x, i: augment.random_crop(x, 2, seed=1, step=2, image_index=i),
        lambda x, i: augment.random_crop(x, 3, seed=1, step=2, image_index=i, mode="zero", fill=7),
        lambda x, i: augment.random_flip(x, seed=1, step=2, image_index=i),
        lambda x, i: augment.cutout(x, 3, seed=1, step=2, image_index=i, fill=(1.0, 2.0, 3.0)),
    ):
        np.testing.assert_array_equal(
            to_host(transform(move(images, device), move(indices, device))), transform(images, indices)
        )
    floats = images / np.float32(255) - np.float32(0.5)
    there = augment.color_rotation(move(floats, device), seed=1, step=2, image_index=move(indices, device))
    here = augment.color_rotation(floats, seed=1, step=2, image_index=indices)
    np.testing.assert_allclose(to_host(there), here, atol=1e-6)  # a sine may round differently on a GPU
