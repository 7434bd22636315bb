"""Tests of minivit/models/wide_resnet.py: names, counts, initial weights. Numbers: test_resnet_torch.py."""

import math

import numpy as np
import pytest

import minivit as mv
from minivit import models
from minivit.models import WideResNet

SMALL = {"depth": 10, "widen": 1, "num_classes": 5}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def kekmodels_names():
    """Of WRN-28-2 in kekmodel/FixMatch-pytorch (models/wideresnet.py), in its order."""
    names = ["conv1.weight"]
    for group in (1, 2, 3):
        for block in range(4):
            prefix = f"block{group}.layer.{block}"
            for number in (1, 2):
                names += [f"{prefix}.bn{number}.{part}" for part in NORM] + [f"{prefix}.conv{number}.weight"]
            names += [f"{prefix}.convShortcut.weight"] if block == 0 else []
    return [*names, *(f"bn1.{part}" for part in NORM), "fc.weight", "fc.bias"]


def test_names_and_counts_are_kekmodels():
    model = models.create("wrn_28_2_cifar", initialization="none")
    assert list(model.state_dict()) == kekmodels_names()
    assert model.count_parameters() == 1_467_610
    assert model.num_features == 128


def test_initial_weights_are_fixmatchs():
    model = WideResNet(depth=10, widen=2, num_classes=50)
    for name, parameter in model.named_parameters():
        values = parameter.numpy().astype(np.float64)
        if values.ndim < 2:
            assert (values == (".bn" in f".{name}" and name.endswith("weight"))).all(), name
            continue
        fan_out = values.shape[0] * math.prod(values.shape[2:])
        std = math.sqrt(2 / (sum(values.shape) if name == "fc.weight" else fan_out))
        assert abs(values.std() / std - 1) < 5 / math.sqrt(2 * values.size), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 27}, r"depth must be 6 n \+ 4 \(10, 16, 22, 28, 40, ...\), got 27"),
        ({"depth": 4}, "depth must be"),
        ({"widen": 0}, "widen must be at least 1, got 0"),
        ({"initialization": "timm"}, "initialization must be one of kekmodel, none; got 'timm'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        WideResNet(**{**SMALL, **change})


def test_features_and_their_mean():
    x = mv.tensor(np.random.default_rng(0).standard_normal((2, 3, 16, 16)), dtype=np.float32)
    model = WideResNet(**{**SMALL, "num_classes": 0}).eval()
    features = model.forward_features(x)
    assert features.shape == (2, 64, 4, 4)
    np.testing.assert_allclose(model(x).numpy(), features.numpy().mean((2, 3)), rtol=1e-5, atol=1e-6)


def test_dropout_draws_masks_in_training_alone():
    x = mv.tensor(np.random.default_rng(0).standard_normal((2, 3, 8, 8)), dtype=np.float32)
    model = WideResNet(**SMALL, dropout=0.5)
    plain = WideResNet(**SMALL)
    plain.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(model.eval()(x).numpy(), plain.eval()(x).numpy())
    assert np.abs(model.train()(x).numpy() - plain.train()(x).numpy()).max() > 1e-3


def test_the_configuration_makes_the_model_again():
    model = WideResNet(**SMALL, slope=0.2, bn_momentum=0.1, seed=2)
    twin = WideResNet(**model.config)
    assert twin.config == model.config
    assert all(np.array_equal(twin.state_dict()[name], array) for name, array in model.state_dict().items())
