"""Tests of minivit/interop/resnet.py: files with torchvision's, timm's and kekmodel's names."""

import numpy as np
import pytest

from minivit import interop, models
from minivit.autograd import no_grad, tensor
from minivit.interop import WeightsError
from minivit.interop.npz_file import write_npz
from minivit.interop.safetensors_file import write_safetensors


def randomised(name, **overrides):
    """A named model with random weights and statistics."""
    model = models.create(name, initialization="none", **overrides)
    rng = np.random.default_rng(0)
    state = {}
    for path, array in model.state_dict().items():
        values = rng.uniform(0.5, 1.5, array.shape) / np.prod(array.shape[1:])  # small, as activations add up
        state[path] = np.full(array.shape, 7, array.dtype) if array.dtype.kind == "i" else values.astype(array.dtype)
    model.load_state_dict(state)
    return model.eval()


def same_state(first, second):
    a, b = first.state_dict(), second.state_dict()
    return list(a) == list(b) and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("resnet18", {"width": 4}),
        ("resnet34", {"width": 2, "num_classes": 3}),
        ("resnet50", {"width": 2, "num_classes": 0}),
        ("resnet50_cifar", {"width": 2, "channels": 1}),
        ("resnet_micro_cifar", {}),
        ("wrn_28_2_cifar", {"num_classes": 4}),
        ("wrn_16_4_cifar", {"widen": 1, "num_classes": 0}),
    ],
)
def test_the_shapes_tell_the_model_and_it_comes_back_as_it_was(tmp_path, name, overrides, suffix) -> None:
    model = randomised(name, **overrides)
    interop.save(model, tmp_path / f"model.{suffix}", format="timm")
    again, metadata = interop.load_model(tmp_path / f"model.{suffix}")
    assert metadata["flavour"]["bn_eps"] == "1e-05 (convention)"
    assert set(metadata) == {"flavour"}
    assert same_state(again, model)
    assert again.config == model.config
    x = tensor(np.random.default_rng(1).standard_normal((2, *(model.config["channels"], 32, 32))), dtype=np.float32)
    with no_grad():
        assert np.array_equal(again(x).numpy(), model(x).numpy())


def test_a_named_model_takes_torchvisions_weights_and_their_number_of_classes(tmp_path) -> None:
    model = randomised("resnet18", num_classes=3)
    interop.save(model, tmp_path / "model.npz")
    assert same_state(interop.load("resnet18", tmp_path / "model.npz"), model)
    with pytest.raises(WeightsError, match=r"missing layer1\.2\.conv1\.weight"):
        interop.load("resnet34", tmp_path / "model.npz")
    assert same_state(interop.load_model(tmp_path / "model.npz")[0], model)


def test_files_without_the_count_of_batches_are_read(tmp_path) -> None:
    model = randomised("resnet18", width=2)
    state = {name: a for name, a in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    write_safetensors(tmp_path / "old.safetensors", state, {"format": "pt"})
    again, _ = interop.load_model(tmp_path / "old.safetensors")
    assert all(np.array_equal(again.state_dict()[name], array) for name, array in state.items())
    assert again.bn1.num_batches_tracked.numpy() == 0
    write_npz(tmp_path / "broken.npz", {name: a for name, a in state.items() if name != "bn1.running_mean"})
    with pytest.raises(WeightsError, match=r"missing bn1\.running_mean"):
        interop.load_model(tmp_path / "broken.npz")


def test_a_checkpoint_makes_its_model_again(tmp_path) -> None:
    model = randomised("wrn_28_2_cifar", depth=10, slope=0.3, bn_momentum=0.05)
    interop.save(model, tmp_path / "model.safetensors", {"classes": ["a"], "image_size": 24})
    again, metadata = interop.load_model(tmp_path / "model.safetensors")
    assert metadata == {"classes": ["a"], "image_size": 24}
    assert same_state(again, model)
    assert again.config == model.config
    with pytest.raises(WeightsError, match=r"slope: the file says 0\.3, the model has 0\.1"):
        interop.load(models.create("wrn_28_2_cifar", depth=10), tmp_path / "model.safetensors")


def test_what_neither_shapes_nor_settings_change_may_differ(tmp_path) -> None:
    interop.save(randomised("resnet18", width=2), tmp_path / "model.safetensors")
    interop.load(
        models.create("resnet18", width=2, bn_momentum=0.5, zero_init_last=False), tmp_path / "model.safetensors"
    )


def test_relatives_that_are_no_resnets_say_so(tmp_path) -> None:
    state = randomised("resnet50", width=4).state_dict()
    state["layer1.0.conv2.weight"] = np.zeros((4, 2, 3, 3), np.float32)  # a ResNeXt's, in groups
    write_npz(tmp_path / "resnext.npz", state)
    with pytest.raises(WeightsError, match=r"shape of layer1\.0\.conv2\.weight: expected \(4, 4, 3, 3\)"):
        interop.load_model(tmp_path / "resnext.npz")
    state = randomised("resnet18", width=2).state_dict()
    state["conv1.weight"] = np.zeros((2, 3, 5, 5), np.float32)
    write_npz(tmp_path / "stem.npz", state)
    with pytest.raises(WeightsError, match="no named model has these shapes"):
        interop.load_model(tmp_path / "stem.npz")
