"""Tests of minivit/models/transfer.py."""

import numpy as np
import pytest

from minivit import nn, ops
from minivit.autograd import Tensor, no_grad
from minivit.models import ResNet, VisionTransformer, WideResNet, resize_positions, transfer

SMALL = {"image_size": 16, "patch_size": 4, "dim": 12, "depth": 2, "heads": 3, "mlp_dim": 20, "num_classes": 5}


def made(**settings) -> VisionTransformer:
    """Every parameter is random, so that no two could be exchanged unnoticed."""
    model = VisionTransformer(**{**SMALL, **settings})
    numbers = np.random.default_rng(0)
    for parameter in model.parameters():
        parameter.assign(numbers.standard_normal(parameter.shape))
    return model


def images(side: int, channels: int = 3) -> Tensor:
    return Tensor(np.random.default_rng(1).standard_normal((2, channels, side, side)).astype(np.float32))


@pytest.mark.parametrize("pool", ["cls", "mean", "sequence"])
def test_another_head_on_the_same_features(pool: str) -> None:
    old = made(pool=pool)
    before = old.state_dict()
    new, report = transfer(old, num_classes=7)
    state = new.state_dict()
    assert new.training
    for name, array in before.items():
        np.testing.assert_array_equal(old.state_dict()[name], array)
        if not name.startswith("head."):
            np.testing.assert_array_equal(state[name], array)
    with no_grad():
        assert not new(images(16)).numpy().any(), "a head of zeros"
        np.testing.assert_array_equal(
            transfer(old, num_classes=0)[0](images(16)).numpy(), old.pool(old.forward_features(images(16))).numpy()
        )
    assert state["head.weight"].shape == (7, 12)
    assert report.dropped == {"head.weight": (5, 12), "head.bias": (5,)}
    assert report.new == {"head.weight": (7, 12), "head.bias": (7,)}
    assert not report.resized
    assert set(report.kept) == set(before) - {"head.weight", "head.bias"}


def test_pre_logits_belong_to_the_old_head() -> None:
    old = made(representation_size=9)
    assert old.num_features == 9
    for classes in (0, 7):
        new, report = transfer(old, num_classes=classes)
        assert new.config["representation_size"] is None
        assert {"pre_logits.fc.weight": (9, 12), "pre_logits.fc.bias": (9,)}.items() <= report.dropped.items()
        assert not any("pre_logits" in name for name in new.state_dict())
    kept, report = transfer(old, num_classes=7, representation_size=9)
    np.testing.assert_array_equal(kept.pre_logits.fc.weight.numpy(), old.pre_logits.fc.weight.numpy())
    assert report.new == {"head.weight": (7, 9), "head.bias": (7,)}


def test_a_task_with_as_many_classes_is_another_task_all_the_same() -> None:
    new, report = transfer(made(), num_classes=5)
    assert not new.state_dict()["head.weight"].any()
    assert "head.weight" in report.dropped


@pytest.mark.parametrize("method", ["google", "timm_npz", "timm", "huggingface"])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_positions_are_resized_by_the_named_method(method: str, pool: str) -> None:
    old = made(pool=pool)
    new, report = transfer(old, num_classes=3, image_size=28, positions=method)
    token = pool == "cls"
    expected = resize_positions(old.state_dict()["pos_embed"], 7, method, token)
    np.testing.assert_array_equal(new.state_dict()["pos_embed"], expected)
    assert report.resized == {"pos_embed": ((1, 16 + token, 12), (1, 49 + token, 12))}
    assert f"resized pos_embed (1, {16 + token}, 12) -> (1, {49 + token}, 12) ({method})" in str(report)
    with no_grad():
        assert new(images(28)).shape == (2, 3)


@pytest.mark.parametrize("settings", [{"positions": "sincos2d"}, {"positions": "none"}, {"stem": (6, 8)}])
def test_models_with_other_positions_or_a_stem(settings: dict) -> None:
    new, report = transfer(made(**settings), num_classes=3, image_size=32)
    assert bool(report.resized) == ("stem" in settings)
    with no_grad():
        assert new(images(32)).shape == (2, 3)


def test_settings_that_change_no_weights_may_be_given_and_the_rest_is_as_it_was() -> None:
    old = made(initialization="fan_in", gelu="tanh").astype(np.float64)
    new, _ = transfer(old, num_classes=3, drop_path=0.25)
    assert new.config == {**old.config, "num_classes": 3, "drop_path": 0.25}
    assert {parameter.dtype for parameter in new.parameters()} == {np.dtype(np.float64)}
    assert [name for name, _ in new.named_parameters()] == [parameter.name for parameter in new.parameters()]


def test_the_report_counts() -> None:
    _, report = transfer(made(), num_classes=7)
    total = sum(parameter.size for name, parameter in made().named_parameters() if not name.startswith("head"))
    assert f"kept {len(report.kept)} arrays, {total:,} numbers" in str(report)
    assert "dropped head.weight (5, 12)" in str(report)
    assert "new head.bias (7,), zeros" in str(report)


@pytest.mark.parametrize(
    "old",
    [
        ResNet((1, 1), "basic", 4, 5, stem="cifar", zero_init_last=False),
        ResNet((1, 1), "bottleneck", 4, 0),
        WideResNet(10, 1, 5),
    ],
    ids=["basic", "bottleneck without a head", "wide"],
)
def test_residual_networks_keep_their_statistics_and_take_any_size(old: nn.Module) -> None:
    numbers = np.random.default_rng(0)
    for _, buffer in old.named_buffers():
        buffer.assign(np.abs(numbers.standard_normal(buffer.shape)).astype(buffer.dtype) + 1)
    new, report = transfer(old, num_classes=7, image_size=40)
    before, after = old.state_dict(), new.state_dict()
    assert report.new == {"fc.weight": (7, old.num_features), "fc.bias": (7,)}
    assert set(report.kept) == {name for name in before if not name.startswith("fc.")}
    for name in report.kept:
        np.testing.assert_array_equal(after[name], before[name])
    encoder = transfer(old, num_classes=0)[0].eval()
    with no_grad():
        expected = old.eval().pool(old.forward_features(images(40))).numpy()
        np.testing.assert_array_equal(encoder(images(40)).numpy(), expected)
        assert new.eval()(images(40)).shape == (2, 7)


class Convolution(nn.Module):
    """A model of another family: its head is `fc`, and it takes any image size."""

    def __init__(self, width: int = 4, num_classes: int = 3, channels: int = 3, initialization: str = "draw") -> None:
        self.config = {key: value for key, value in locals().items() if key != "self"}
        self.conv = nn.Conv2d(channels, width, 3)
        if num_classes:
            self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        features = ops.relu(self.conv(x)).mean((2, 3))
        return self.fc(features) if self.config["num_classes"] else features


def test_any_model_that_can_be_made_again_from_its_config() -> None:
    old = Convolution()
    new, report = transfer(old, num_classes=6, image_size=64)
    np.testing.assert_array_equal(new.conv.weight.numpy(), old.conv.weight.numpy())
    assert report.new == {"fc.weight": (6, 4), "fc.bias": (6,)}
    with no_grad():
        assert new(images(9)).shape == (2, 6)
        assert transfer(old, num_classes=0)[0](images(9)).shape == (2, 4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"images of 3 channel\(s\), those of the new task have 1"):
        transfer(made(), num_classes=3, channels=1)
    with pytest.raises(ValueError, match="patch_size 4 does not divide image_size 18"):
        transfer(made(), num_classes=3, image_size=18)
    with pytest.raises(ValueError, match="google, timm_npz, timm, huggingface; got 'nearest'"):
        transfer(made(), num_classes=3, positions="nearest")
    with pytest.raises(ValueError, match="VisionTransformer has no setting drop_paht"):
        transfer(made(), num_classes=3, drop_paht=0.1)
    with pytest.raises(ValueError, match="Linear has no `config`"):
        transfer(nn.Linear(3, 4), num_classes=3)
