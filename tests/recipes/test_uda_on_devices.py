"""The UDA loss on the stand-in, and on a GPU where there is one: as on NumPy, and without waiting for the device."""

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

import minivit as mv
from minivit.backend import device_of, kernels_disabled
from minivit.recipes.uda import uda_loss

OPTIONS = [
    {},
    {"tsa": "log", "entropy_weight": 0.1, "label_smoothing": 0.1},
    {"tsa": "log", "tsa_gate": "max", "supervised_average": "batch", "consistency_average": "confident"},
    {"stop_gradient": False, "confidence_of": "sharpened", "temperature_of": "augmented", "entropy_weight": 0.1},
]


def run(device, dtype, options):
    """Loss, named quantities and gradients."""
    rng = np.random.default_rng(12)
    inputs = [
        mv.tensor((2.0 * rng.standard_normal((rows, 4))).astype(dtype), requires_grad=True, device=device)
        for rows in (6, 9, 9)
    ]
    labels = mv.tensor(rng.integers(0, 4, 6), device=device).data
    with watched(device):
        loss, quantities = uda_loss(inputs[0], labels, *inputs[1:], progress=0.3, confidence=0.5, **options)
        loss.backward()
    return {"loss itself": loss.data, **quantities, **{f"gradient {i}": x.grad for i, x in enumerate(inputs)}}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_loss_is_the_same_as_on_numpy_and_never_waits(options, dtype, device):
    with kernels_disabled():
        expected = run("cpu", dtype, options)
    found = run(device, dtype, options)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert device_of(found[name]) == f"{device}:0", name
            assert_same(found[name], value, device)
