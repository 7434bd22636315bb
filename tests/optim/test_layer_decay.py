"""Tests of minivit/optim/layer_decay.py."""

import numpy as np
import pytest

from minivit import nn, optim
from minivit.models import VisionTransformer
from minivit.optim import layer_numbers, layer_wise_decay


def vit(**settings) -> VisionTransformer:
    return VisionTransformer(8, 4, 8, depth=3, heads=2, mlp_dim=8, num_classes=2, **settings)


class Residual(nn.Module):
    """The names of a residual network: two stages of two and one blocks."""

    def __init__(self) -> None:
        self.conv1, self.bn1 = nn.Linear(2, 2), nn.LayerNorm(2)
        self.layer1 = [nn.Linear(2, 2), nn.Linear(2, 2)]
        self.layer2 = [nn.Linear(2, 2)]
        self.fc = nn.Linear(2, 2)


class Group(nn.Module):
    def __init__(self, count: int) -> None:
        self.layer = [nn.Linear(2, 2) for _ in range(count)]


class Wide(nn.Module):
    """The names of a wide residual network, whose last norm comes after the blocks."""

    def __init__(self) -> None:
        self.conv1 = nn.Linear(2, 2)
        self.block1, self.block2 = Group(1), Group(2)
        self.bn1, self.fc = nn.LayerNorm(2), nn.Linear(2, 2)


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
    assert {name.removesuffix(".weight"): n for name, n in layer_numbers(Residual()).items() if "weight" in name} == {
        "conv1": 0, "bn1": 0, "layer1.0": 1, "layer1.1": 2, "layer2.0": 3, "fc": 4,
    }  # fmt: skip
    assert {name.removesuffix(".weight"): n for name, n in layer_numbers(Wide()).items() if "weight" in name} == {
        "conv1": 0, "block1.layer.0": 1, "block2.layer.0": 2, "block2.layer.1": 3, "bn1": 4, "fc": 4,
    }  # fmt: skip


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
