"""Whole models from random weights: logits and every gradient."""

from dataclasses import replace

import numpy as np
import pytest

from minivit import models
from minivit.compare import model_rows as rows_of_models
from minivit.compare.model_rows import ModelCase, full_cases, full_skips, model_cases, model_rows
from minivit.compare.modules import COMPUTED_BY, by_minivit, randomise

SMALL = {"image_size": 12, "patch_size": 4, "dim": 12, "depth": 3, "heads": 3, "mlp_dim": 20, "num_classes": 7}
SMALL_CASES = {
    "class token": ModelCase("vit_testing", "", SMALL, 2, 12),
    "mean, tanh GELU": ModelCase("vit_testing", "", {**SMALL, "pool": "mean", "gelu": "tanh"}, 2, 12),
    "sequence, stem": ModelCase("vit_testing", "", {**SMALL, "pool": "sequence", "stem": (5, 6)}, 2, 12),
    "pre_logits": ModelCase("vit_testing", "", {**SMALL, "representation_size": 9}, 2, 12),
    "basic blocks": ModelCase("resnet18_cifar", "", {"width": 4, "layers": (1, 2, 1, 1)}, 2, 16, training=True),
    "bottlenecks": ModelCase("resnet50", "", {"width": 4, "layers": (1, 2, 1, 1), "num_classes": 10}, 2, 64),
}


def failed(rows):
    return [(row.name, row.note, row.dtype, row.forward, row.worst, row.gradient) for row in rows if not row.passed]


@pytest.mark.reference
@pytest.mark.parametrize("case", model_cases(), ids=lambda case: f"{case.name} {case.note}")
def test_logits_and_gradients_are_pytorchs(case):
    rows = model_rows(["PyTorch"], chosen=[case])
    assert [row.dtype for row in rows] == ["float32", "float64"]
    assert not failed(rows)
    parameters = {name for name, _ in case.create().named_parameters()}
    assert all(set(row.gradients) == {"input", *parameters} for row in rows)


@pytest.mark.slow
@pytest.mark.reference("jax")
@pytest.mark.parametrize("case", SMALL_CASES.values(), ids=SMALL_CASES)
def test_logits_and_gradients_are_jaxs(case):
    assert not failed(model_rows(["JAX"], chosen=[case]))


def test_every_model_of_the_list_is_there():
    names = {
        "vit_tiny_patch16_224",
        "vit_small_patch16_224",
        "vit_base_patch16_224",
        "vit_base_patch32_224",
        "vit_large_patch16_224",
        "vit_huge_patch14_224",
        "resnet50",
    }
    assert {case.name for case in model_cases()} == names
    assert {case.name for case in full_cases()} == names - {"vit_tiny_patch16_224"}
    assert {skip.what.split()[0] for skip in full_skips()} == names - {"vit_tiny_patch16_224"}
    assert all(case.gradients for case in model_cases())
    for case in model_cases():
        if case.name.startswith("vit"):
            kept = {key: models.find(case.name).settings[key] for key in ("depth", "heads", "patch_size", "image_size")}
            assert kept.items() <= case.create().config.items()


@pytest.mark.reference
def test_the_forward_alone():
    (row,) = model_rows(["PyTorch"], ["float32"], [replace(SMALL_CASES["class token"], gradients=False)])
    assert row.passed
    assert row.gradients == {}


@pytest.mark.reference
def test_a_model_that_differs_fails(monkeypatch):
    def other_eps(model, x, cotangent=None):
        other = models.VisionTransformer(**{**model.config, "eps": 1e-5}).astype(x.dtype)
        other.load_state_dict(model.state_dict())
        return COMPUTED_BY["PyTorch"](other, x, cotangent)

    monkeypatch.setattr(rows_of_models, "COMPUTED_BY", {"PyTorch": other_eps})
    (row,) = model_rows(["PyTorch"], ["float64"], [SMALL_CASES["class token"]])
    assert not row.passed


def test_random_weights_leave_no_zeros_and_no_ones():
    model = randomise(models.create("vit_testing", **SMALL), 0)
    for name, array in model.state_dict().items():
        assert np.unique(array).size > 1, name
    resnet = randomise(models.create("resnet18_cifar", width=4), 0)
    variances = [array for name, array in resnet.state_dict().items() if name.endswith("running_var")]
    assert all(np.all(array > 0) and np.unique(array).size > 1 for array in variances)


def test_gradients_of_a_step_before_are_forgotten():
    model = randomise(models.create("vit_testing", **SMALL), 0).astype(np.float64)
    x, cotangent = np.ones((1, 3, 12, 12)), np.ones((1, 7))
    _, first = by_minivit(model, x, cotangent)
    first = {name: array.copy() for name, array in first.items()}
    _, second = by_minivit(model, x, cotangent)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
