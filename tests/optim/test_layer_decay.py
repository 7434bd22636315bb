"""Tests of minivit/optim/layer_decay.py."""

import numpy as np
import pytest

from minivit import nn, optim
from minivit.models import ResNet, VisionTransformer, WideResNet
from minivit.optim import layer_numbers, layer_wise_decay


def vit(**settings) -> VisionTransformer:
    return VisionTransformer(8, 4, 8, depth=3, heads=2, mlp_dim=8, num_classes=2, **settings)


def test_the_layers_of_a_transformer_as_beit_counts_them() -> None:
    numbers = layer_numbers(vit(pool="cls"))
    assert {
        numbers[name] for name in ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias")
    } == {0}
    for block in range(3):
        assert {n for name, n in numbers.items() if name.startswith(f"blocks.{block}.")} == {block + 1}
    assert {numbers[name] for name in ("norm.weight", "norm.bias", "head.weight", "head.bias")} == {4}
    assert layer_numbers(vit(pool="sequence", stem=(4, 4)))["patch_embed.convs.1.weight"] == 0
    assert layer_numbers(vit(pool="sequence"))["pool_score.weight"] == 4


def test_the_layers_of_residual_networks() -> None:
    numbers = layer_numbers(ResNet((2, 1), "bottleneck", 4, 2))
    expected = {
        "conv1.weight": 0, "bn1.bias": 0, "layer1.0.conv1.weight": 1, "layer1.0.downsample.0.weight": 1,
        "layer1.1.bn3.weight": 2, "layer2.0.conv2.weight": 3, "fc.weight": 4, "fc.bias": 4,
    }  # fmt: skip
    assert {name: numbers[name] for name in expected} == expected
    numbers = layer_numbers(WideResNet(10, 1, 2))
    expected = {
        "conv1.weight": 0, "block1.layer.0.bn1.weight": 1, "block2.layer.0.conv1.weight": 2,
        "block3.layer.0.convShortcut.weight": 3, "bn1.weight": 4, "fc.bias": 4,
    }  # fmt: skip
    assert {name: numbers[name] for name in expected} == expected


def test_the_factors_are_powers_of_the_decay() -> None:
    model = vit()
    scale = layer_wise_decay(model, 0.5)
    parameters = dict(model.named_parameters())
    expected = {
        "pos_embed": 1 / 16, "cls_token": 1 / 16, "patch_embed.proj.weight": 1 / 16, "blocks.0.attn.qkv.weight": 1 / 8,
        "blocks.1.norm1.bias": 1 / 4, "blocks.2.mlp.fc2.bias": 1 / 2, "norm.weight": 1, "head.weight": 1,
    }  # fmt: skip
    assert {name: scale(name, parameters[name]) for name in expected} == expected
    assert {layer_wise_decay(model, 1.0)(name, p) for name, p in parameters.items()} == {1.0}
    headless = vit().__class__(**{**vit().config, "num_classes": 0})
    assert layer_wise_decay(headless, 0.5)("pos_embed", parameters["pos_embed"]) == 1 / 16


def test_an_optimiser_moves_each_layer_by_its_factor() -> None:
    model = vit(initialization="fan_in")
    optimizer = optim.SGD(model, 1.0, momentum=0.0, learning_rate_scale=layer_wise_decay(model, 0.5))
    before = model.state_dict()
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape, np.float32)
    optimizer.step()
    numbers = layer_numbers(model)
    for name, after in model.state_dict().items():
        np.testing.assert_allclose(before[name] - after, 0.5 ** (4 - numbers[name]), atol=1e-6)


def test_what_has_no_layers_or_no_decay_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear has no blocks named"):
        layer_wise_decay(nn.Linear(2, 2), 0.5)
    for decay in (0.0, 1.1):
        with pytest.raises(ValueError, match=r"expected a decay in \(0, 1\]"):
            layer_wise_decay(vit(), decay)
