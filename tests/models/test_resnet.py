"""Tests of minivit/models/resnet.py: names, counts, initial weights, structure. Numbers: test_resnet_torch.py."""

import math

import numpy as np
import pytest

import minivit as mv
from minivit import models
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.models import ResNet

SMALL = {"layers": (1, 2), "block": "bottleneck", "width": 4, "num_classes": 5, "stem": "cifar"}


def norm(name, channels):
    tensors = dict.fromkeys(
        (f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")), (channels,)
    )
    return tensors | {f"{name}.num_batches_tracked": ()}


def torchvision_resnet50():
    """Names and shapes in torchvision's order (torchvision/models/resnet.py), which is timm's."""
    shapes = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    inner = 64
    for stage, count in enumerate((3, 4, 6, 3)):
        width = 64 * 2**stage
        for number in range(count):
            block = f"layer{stage + 1}.{number}"
            shapes |= {f"{block}.conv1.weight": (width, inner, 1, 1)} | norm(f"{block}.bn1", width)
            shapes |= {f"{block}.conv2.weight": (width, width, 3, 3)} | norm(f"{block}.bn2", width)
            shapes |= {f"{block}.conv3.weight": (4 * width, width, 1, 1)} | norm(f"{block}.bn3", 4 * width)
            if number == 0:
                shapes |= {f"{block}.downsample.0.weight": (4 * width, inner, 1, 1)}
                shapes |= norm(f"{block}.downsample.1", 4 * width)
            inner = 4 * width
    return shapes | {"fc.weight": (1000, 2048), "fc.bias": (1000,)}


def test_names_and_shapes_are_torchvisions():
    model = models.create("resnet50", initialization="none")
    shapes = {name: array.shape for name, array in model.state_dict().items()}
    assert len(shapes) == 320
    assert list(shapes.items()) == list(torchvision_resnet50().items())
    assert sum(1 for _ in model.parameters()) == 161


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [({}, 25_557_032), ({"num_classes": 0}, 23_508_032), ({"num_classes": 10}, 23_528_522)],
)
def test_resnet50_has_the_published_number_of_parameters(overrides, expected):
    assert models.create("resnet50", initialization="none", **overrides).count_parameters() == expected


def test_initial_weights_are_timms():
    model = ResNet(layers=(2, 1), block="bottleneck", width=16, num_classes=50)
    for name, parameter in model.named_parameters():
        values = parameter.numpy().astype(np.float64)
        if name.startswith("fc."):
            limit = model.num_features**-0.5
            assert np.abs(values).max() <= limit, name
            assert abs(values.std() / (limit / math.sqrt(3)) - 1) < 0.25, name
        elif values.ndim == 4:
            std = math.sqrt(2 / (values.shape[0] * values.shape[2] * values.shape[3]))
            assert abs(values.std() / std - 1) < 5 / math.sqrt(2 * values.size), name
            assert abs(values.mean()) < 5 * std / math.sqrt(values.size), name
        else:
            is_last = name.endswith("bn3.weight")
            assert (values == (name.endswith("weight") and not is_last)).all(), name


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_block_begins_as_the_identity_of_its_shortcut(block):
    """With the last weight zero, what a block without projection adds is nothing: relu(x) of an x that is relu's."""
    model = ResNet(**{**SMALL, "block": block, "layers": (1, 2)}).eval()
    identity = model.layer2[1]
    x = mv.tensor(np.abs(np.random.default_rng(0).standard_normal((2, model.num_features, 4, 4))), dtype=np.float32)
    np.testing.assert_array_equal(identity(x).numpy(), x.numpy())
    other = ResNet(**{**SMALL, "block": block, "zero_init_last": False}).eval().layer2[1]
    assert np.abs(other(x).numpy() - x.numpy()).max() > 0.1


def test_a_seed_fixes_every_weight_and_another_changes_them():
    first, again, other = (ResNet(**SMALL, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize(("stem", "side", "grid"), [("imagenet", 64, 8), ("cifar", 32, 16)])
def test_features_pooled_features_and_logits_have_the_documented_shapes(stem, side, grid):
    model = ResNet(**{**SMALL, "stem": stem}).eval()
    x = mv.tensor(np.random.default_rng(0).standard_normal((2, 3, side, side)), dtype=np.float32)
    features = model.forward_features(x)
    assert features.shape == (2, model.num_features, grid, grid)
    pooled = model.pool(features)
    np.testing.assert_allclose(pooled.numpy(), features.numpy().mean((2, 3)), rtol=1e-5)
    assert model(x).shape == (2, 5)
    headless = ResNet(**{**SMALL, "stem": stem, "num_classes": 0}).eval()
    headless.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("fc.")})
    np.testing.assert_array_equal(headless(x).numpy(), pooled.numpy())
    assert headless.num_features == pooled.shape[1]


def test_the_configuration_makes_the_model_again():
    model = models.create("resnet18_cifar", width=8, num_classes=7, seed=3)
    twin = ResNet(**model.config)
    assert twin.config == model.config
    assert all(np.array_equal(twin.state_dict()[name], array) for name, array in model.state_dict().items())
    assert "stem='cifar'" in model.describe()


def test_the_stem_says_which_images_it_is_made_for():
    assert models.create("resnet18", width=2, initialization="none").input_size == (3, 224, 224)
    assert models.create("resnet18_cifar", width=2, channels=1, initialization="none").input_size == (1, 32, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block": "wide"}, "block must be one of basic, bottleneck; got 'wide'"),
        ({"stem": "none"}, "stem must be one of imagenet, cifar"),
        ({"initialization": "paper"}, "initialization must be one of timm, none"),
        ({"layers": ()}, "layers are the blocks of each stage"),
        ({"layers": (1, 0)}, "at least 1 in each"),
        ({"width": 0}, "width must be at least 1, got 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ResNet(**{**SMALL, **change})


def test_other_images_are_refused():
    model = ResNet(**SMALL)
    with pytest.raises(ShapeError, match=r"images \(B, 3, H, W\), got \(2, 1, 8, 8\)"):
        model(mv.tensor(np.zeros((2, 1, 8, 8), np.float32)))
    with pytest.raises(DTypeError, match="normalised images of float32, got float64"):
        model(mv.tensor(np.zeros((2, 3, 8, 8))))
