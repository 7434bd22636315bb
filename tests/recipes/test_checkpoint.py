from pathlib import Path

import numpy as np
import pytest

from minivit import interop, models, ops
from minivit.autograd import Tensor
from minivit.optim import AdamW, ExponentialMovingAverage
from minivit.recipes.checkpoint import load_checkpoint, save_checkpoint


def make(kind: str = "vit") -> tuple:
    if kind == "vit":
        model = models.VisionTransformer(8, 4, 8, 1, 2, 16, 4, channels=1)
    else:
        model = models.create(kind, num_classes=4, channels=1)
    optimizer = AdamW(model, 1e-2)
    return model, optimizer, ExponentialMovingAverage(optimizer.flat, 0.9)


def step(model, optimizer, average, number: int) -> None:
    generator = np.random.default_rng(number)
    optimizer.zero_grad()
    images = Tensor(generator.normal(size=(6, 1, 8, 8)).astype(np.float32))
    ops.cross_entropy(model(images), generator.integers(0, 4, 6)).backward()
    optimizer.step()
    average.update()


@pytest.mark.parametrize("kind", ["vit", "resnet_micro_cifar"])
def test_a_restored_run_goes_on_to_the_last_bit(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "checkpoint.safetensors"
    straight = make(kind)
    for number in range(5):
        step(*straight, number)
        if number == 2:
            save_checkpoint(path, *straight, {"step": 3, "window": [[0.1, 2, 6]]}, {"classes": list("abcd")})
    resumed = make(kind)
    assert load_checkpoint(path, *resumed) == {"step": 3, "window": [[0.1, 2, 6]]}
    for number in (3, 4):
        step(*resumed, number)
    for name, array in straight[0].state_dict().items():
        np.testing.assert_array_equal(resumed[0].state_dict()[name], array)
    np.testing.assert_array_equal(resumed[2].average, straight[2].average)


def test_a_checkpoint_is_a_model_to_use_with_the_averaged_weights(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    model, optimizer, average = make()
    step(model, optimizer, average, 0)
    save_checkpoint(path, model, optimizer, average, {"step": 1}, {"classes": list("abcd")})
    loaded, metadata = interop.load_model(path)
    assert metadata["classes"] == list("abcd")
    with average.swapped_in():
        expected = model.state_dict()
    own = model.state_dict()
    for name, array in loaded.state_dict().items():
        np.testing.assert_array_equal(array, expected[name])
    assert any((own[name] != expected[name]).any() for name in own)


def test_weights_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    model, optimizer, average = make()
    path = tmp_path / "weights.safetensors"
    interop.save(model, path)
    with pytest.raises(interop.WeightsError, match="no state of a run"):
        load_checkpoint(path, model, optimizer, average)
