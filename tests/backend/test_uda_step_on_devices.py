"""UDA's step: on the stand-in without waiting for it, and the same numbers on every backend."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit.backend import device_of, kernels_disabled
from minivit.data import Dataset, Splits
from minivit.recipes.semi_supervised import SemiSupervised
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_presets import uda_preset


def noise(name: str, seed: int, images: int = 40) -> Dataset:
    rng = np.random.default_rng(seed)
    return Dataset(
        name=name,
        images=rng.integers(0, 256, (images, 3, 16, 16), np.uint8),
        labels=np.arange(images) % 5,
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


def steps_of(device: str, settings: dict) -> tuple[list, dict]:
    config = UdaConfig(
        dataset="cifar10", labels=10, device=device, steps=5, batch_size=4, unlabelled_ratio=2.0, micro_batch=3,
        threads=1, model="small", validation=0.0, confidence=0.15, drop_path=0.2, optimizer="adamw",
        whitening=False, **settings,
    ).filled(uda_preset("cifar10", 10))  # fmt: skip
    procedure = SemiSupervised(config, Splits(noise("train", 0), noise("test", 1)), "cifar10")
    step = procedure.make_step(5)
    left = []
    for number in range(2):
        with watched(device, uploads=True):
            batch = procedure.prepare(step, number)
        with watched(device):
            result = step(batch)
        assert result.is_finite()
        left += [*result.values.values(), result.grad_norm]
    return left, procedure.model.state_dict()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"tsa": "exp"}, {"entropy_weight": 0.2}, {"forward": "concatenated"}, {"implementation": "uda_pytorch"}],
    ids=str,
)
def test_a_step_of_uda_is_the_same_and_never_waits(device: str, settings: dict) -> None:
    (expected, weights), (found, found_weights) = steps_of("cpu", settings), steps_of(device, settings)
    for mine, reference in zip(found, expected, strict=True):
        assert device_of(mine).startswith(device)
        assert_same(mine, reference, device, drift=0.1)
    for name, array in weights.items():
        assert_same(found_weights[name], array, device, drift=0.1)
