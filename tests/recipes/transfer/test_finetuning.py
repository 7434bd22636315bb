"""Tests of minivit/recipes/transfer/finetuning.py and task.py."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minivit import augment, interop, nn
from minivit.autograd import Hook, Tensor, hooked, no_grad
from minivit.models import ResNet, VisionTransformer
from minivit.recipes.console import Console
from minivit.recipes.pretext import PretextModel
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.trainer import Trainer
from minivit.recipes.transfer.encoder import load_pretrained
from minivit.recipes.transfer.presets import transfer_preset


def test_training_starts_from_the_weights_with_a_head_of_zeros(make_finetuning, weights: Path) -> None:
    finetuning = make_finetuning()
    kept, _ = interop.load_model(weights)
    state = finetuning.model.state_dict()
    for name, array in kept.state_dict().items():
        if not name.startswith("head."):
            np.testing.assert_array_equal(state[name], array)
    assert state["head.weight"].shape == (10, 12)
    assert not state["head.weight"].any()
    assert "kept" in finetuning.task.describe()
    assert "dropped head.weight (7, 12)" in finetuning.task.describe()


def test_images_are_normalised_as_the_weights_were_trained_with(make_finetuning) -> None:
    finetuning = make_finetuning()
    assert (finetuning.mean, finetuning.std) == ((0.25,), (0.5,))
    images = finetuning.test_set.images[:4]
    np.testing.assert_array_equal(finetuning.task.inputs(images), augment.normalize(images, (0.25,), (0.5,)))
    assert finetuning.metadata()["mean"] == [0.25]


def test_the_random_model_is_the_same_but_for_its_weights(make_finetuning) -> None:
    first, second = (make_finetuning(init="random", seed=seed) for seed in (1, 2))
    pretrained = make_finetuning()
    assert first.model.config == {**pretrained.model.config, "seed": 1}
    assert first.results()["weights_sha256"] is None
    states = [procedure.model.state_dict() for procedure in (first, second, pretrained)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (states[one]["blocks.0.attn.qkv.weight"] != states[other]["blocks.0.attn.qkv.weight"]).any()


def test_another_image_size_resizes_images_and_positions(make_finetuning) -> None:
    finetuning = make_finetuning(image_size=12, positions="timm", interpolation="bilinear")
    step = finetuning.make_step(20)
    batch = finetuning.prepare(step, 0)
    assert batch.images.shape == (64, 1, 12, 12)
    assert finetuning.model.config["image_size"] == 12
    assert "resized pos_embed (1, 5, 12) -> (1, 10, 12) (timm)" in finetuning.task.describe()
    images = finetuning.test_set.images[:2]
    found = finetuning.task.inputs(images)
    np.testing.assert_allclose(
        found, augment.normalize(augment.resize(images, 12, "bilinear"), (0.25,), (0.5,)), atol=1.01 / 255 / 0.5
    )
    few, _ = finetuning.shown_examples(finetuning.evaluate("test"), "test", 3)
    assert few.images.shape == (3, 1, 12, 12)
    assert few.images.dtype == np.uint8


def test_resizing_does_not_make_white_whiter(make_finetuning) -> None:
    task = make_finetuning(image_size=12).task
    images = np.zeros((1, 1, 8, 8), np.uint8)
    images[..., 4:] = 255
    found = task.inputs(images)
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == (-0.5, 1.5)  # black and white less the mean, over the std
    assert task.resized(augment.normalize(images, (0.25,), (0.5,)), bounded=False).max() > 1.51


class Backwards(Hook):
    """Counts the ops whose backward runs."""

    def __init__(self) -> None:
        self.ops: list[str] = []

    def before_backward(self, node, *_) -> None:
        self.ops.append(node.op.name)


def gradient_step(finetuning):
    step = finetuning.make_step(20)
    hook = Backwards()
    batch = finetuning.prepare(step, 0)
    finetuning.model.load_state_dict(
        {name: value + 0.1 * name.startswith("head.") for name, value in finetuning.model.state_dict().items()}
    )
    with hooked(hook):
        step.forward_backward(batch)
    return step, hook.ops


def test_the_backward_of_a_head_alone_ends_at_the_head(make_finetuning) -> None:
    step, ops = gradient_step(make_finetuning(mode="head"))
    assert sorted({segment.name for segment in step.optimizer.flat.segments}) == ["head.bias", "head.weight"]
    assert np.abs(step.optimizer.flat.grad).max() > 0
    assert "linear" in ops
    assert not {"layer_norm", "attention", "qkv_attention", "mlp", "gelu", "embed_tokens", "getitem"} & set(ops)
    _, whole = gradient_step(make_finetuning(mode="full", layer_decay=1.0))
    assert {"layer_norm", "embed_tokens"} <= set(whole)


def test_a_frozen_encoder_keeps_its_weights_and_drops_nothing(make_finetuning, tmp_path: Path) -> None:
    finetuning = make_finetuning(mode="head", drop_path=0.5)
    model = finetuning.model
    assert not any(module.training for _, module in model.named_modules())
    before = model.state_dict()
    Trainer(finetuning, tmp_path / "run", Console(io.StringIO())).run()
    assert not any(module.training for _, module in model.named_modules())
    for name, array in model.state_dict().items():
        assert (array != before[name]).any() == name.startswith("head."), name


def test_batch_norms_of_a_frozen_residual_network_keep_their_statistics(make_finetuning, tmp_path: Path) -> None:
    network = ResNet((1, 1), "basic", 4, 3, channels=1, stem="cifar", zero_init_last=False)
    network.bn1.running_mean.assign(np.full(4, 0.1, np.float32))
    interop.save(network, tmp_path / "resnet.safetensors", {"mean": [0.25], "std": [0.5], "image_size": 8})
    pretrained = load_pretrained(tmp_path / "resnet.safetensors")
    assert pretrained.image_size == 8
    for mode in ("head", "full"):
        finetuning = make_finetuning(pretrained, mode=mode, steps=2)
        before = finetuning.model.state_dict()
        assert not before["fc.weight"].any()
        Trainer(finetuning, tmp_path / mode, Console(io.StringIO())).run()
        after = finetuning.model.state_dict()
        moved = {name for name in after if (after[name] != before[name]).any()}
        assert (moved == {"fc.weight", "fc.bias"}) == (mode == "head")
        assert ("bn1.running_mean" in moved) == (mode == "full")
        assert finetuning.evaluate("test").examples == 60
        assert (tmp_path / mode / "checkpoint.safetensors").exists()


def test_layers_learn_at_rates_of_their_own(make_finetuning) -> None:
    step = make_finetuning(layer_decay=0.5).make_step(20)
    scale = step.optimizer.learning_rate_scale
    parameters = dict(step.model.named_parameters())
    assert [scale(name, parameters[name]) for name in ("pos_embed", "blocks.1.norm1.weight", "head.weight")] == [
        1 / 8, 1 / 2, 1,
    ]  # fmt: skip


def test_it_learns_and_its_result_says_what_was_transferred(make_finetuning, tmp_path: Path) -> None:
    finetuning = make_finetuning(epochs=15, batch_size=16, learning_rate=1e-2)
    trainer = Trainer(finetuning, tmp_path / "run", Console(io.StringIO()))
    results = trainer.run()
    assert results["test_accuracy"] > 0.3
    assert results["mode"] == "full"
    assert len(results["weights_sha256"]) == 64
    assert results["trained_parameters"] == results["parameters"]
    model, metadata = interop.load_model(tmp_path / "run" / "checkpoint.safetensors")
    assert metadata["std"] == [0.5]
    images = Tensor(finetuning.task.inputs(finetuning.test_set.images))
    with no_grad():
        found = model(images).numpy().argmax(1)
    assert (found == finetuning.test_set.labels).mean() == results["test_accuracy"]


def test_a_run_does_not_go_on_with_other_weights(make_finetuning, weights: Path, tmp_path: Path) -> None:
    Trainer(make_finetuning(), tmp_path / "run", Console(io.StringIO())).run()
    other, metadata = interop.load_model(weights)
    other.norm.bias.assign(np.ones(12))
    interop.save(other, tmp_path / "other.safetensors", metadata)
    changed = make_finetuning(load_pretrained(tmp_path / "other.safetensors"))
    with pytest.raises(ResumeError, match="has changed since the run"):
        Trainer(changed, tmp_path / "run", Console(io.StringIO())).run(resume=True)
    assert json.loads((tmp_path / "run" / "weights.json").read_text())["sha256"]


def test_an_encoder_of_patches_sees_whole_images(make_finetuning, tmp_path: Path) -> None:
    encoder = VisionTransformer(4, 2, 12, 2, 3, 20, 0, channels=1, initialization="fan_in")
    model = PretextModel("context", encoder, nn.Linear(24, 8))
    path = tmp_path / "checkpoint.safetensors"
    interop.save(model, path, {"task": "context", "mean": [0.25], "std": [0.5], "image_size": 8})
    pretrained = load_pretrained(tmp_path)
    assert pretrained.image_size == 8
    finetuning = make_finetuning(pretrained)
    assert finetuning.task.image_size == finetuning.metadata()["image_size"] == 8
    np.testing.assert_array_equal(finetuning.model.norm.weight.numpy(), encoder.norm.weight.numpy())
    assert "resized pos_embed (1, 5, 12) -> (1, 17, 12)" in finetuning.task.describe()
    assert "head" not in str(finetuning.task.report.dropped)


def test_the_first_images_alone(make_finetuning, splits) -> None:
    finetuning = make_finetuning(first_training=50, first_test=20)
    np.testing.assert_array_equal(finetuning.train_set.images, splits.train.images[:50])
    np.testing.assert_array_equal(finetuning.test_set.labels, splits.test.labels[:20])
    with pytest.raises(ValueError, match="has 160 images, fewer than the first 161"):
        make_finetuning(first_training=161)


def test_what_does_not_fit_is_refused(make_finetuning, pretrained) -> None:
    with pytest.raises(ValueError, match="whitening would overwrite"):
        make_finetuning(whitening=True)
    with pytest.raises(ValueError, match=r"images of 3 channel\(s\), those of digits train have 1"):
        make_finetuning(replace(pretrained, mean=(0.5,) * 3, std=(0.5,) * 3))
    with pytest.raises(ValueError, match="mode must be one of full, head, probe, knn"):
        make_finetuning(mode="linear")
    with pytest.raises(ValueError, match="leave out the model"):
        make_finetuning(model="vit_tiny_cifar")


def test_the_presets() -> None:
    google = transfer_preset("full", "google", "cifar10")
    assert (google["optimizer"], google["nesterov"], google["learning_rate"]) == ("sgd", False, 0.01)
    assert (google["batch_size"], google["steps"], google["warmup"], google["weight_decay"]) == (512, 10_000, 0.05, 0.0)
    assert transfer_preset("full", "google", "cifar100")["learning_rate"] == 0.03
    pets = transfer_preset("full", "google", "pets")
    assert (pets["steps"], pets["steps"] * pets["warmup"], pets["crop_area"]) == (500, 100, 0.05)
    assert transfer_preset("full", "google", "imagenet")["steps"] == 20_000
    assert transfer_preset("full", "adamw", "pets")["crop_area"] == 0.0
    assert transfer_preset("full", "adamw", "cifar10")["layer_decay"] == 0.75
    assert not transfer_preset("head", "adamw", "digits")["flip"]
