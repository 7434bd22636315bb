"""Tests of minivit/nn/layers.py."""

import numpy as np
import pytest

import minivit as mv
from minivit import nn
from minivit.nn import mask_keys


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_linear_is_a_product_with_the_transposed_weight(rng):
    layer = nn.Linear(3, 5, generator=rng)
    layer.bias.assign(rng.standard_normal(5))
    x = rng.standard_normal((2, 4, 3)).astype(np.float32)
    expected = x @ layer.weight.data.T + layer.bias.data
    np.testing.assert_allclose(layer(mv.Tensor(x)).numpy(), expected, rtol=1e-6)
    assert [name for name, _ in nn.Linear(3, 5, bias=False).named_parameters()] == ["weight"]


@pytest.mark.parametrize("given", [True, False])
def test_the_initial_weight_of_linear_and_conv2d_is_uniform(rng, given):
    generator = rng if given else None
    for layer, fan_in in (
        (nn.Linear(40, 50, generator=generator), 40),
        (nn.Conv2d(4, 30, 3, generator=generator), 36),
        (nn.ConvTranspose2d(30, 4, 3, generator=generator), 36),  # as PyTorch counts it: of the second axis
    ):
        assert 0.95 < np.abs(layer.weight.data).max() * fan_in**0.5 <= 1
        assert not layer.bias.data.any()


def test_manual_seed_seeds_the_layers_made_from_then_on():
    def weights() -> list[np.ndarray]:
        return [nn.Linear(3, 4).weight.data, nn.Mlp(3, 5).fc2.weight.data]

    mv.manual_seed(3)
    first, second = weights(), weights()
    mv.manual_seed(3)
    again = weights()
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert all((a != b).any() for a, b in zip(first, second, strict=True))


def test_a_deferred_layer_starts_at_zero_also_after_an_error():
    def fail_inside() -> None:
        with nn.init.deferred():
            assert not nn.Linear(3, 4).weight.data.any()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert nn.Linear(3, 4).weight.data.any()


@pytest.mark.reference
@pytest.mark.parametrize("options", [{"stride": 2, "padding": 1}, {"stride": 3, "output_padding": 2, "bias": False}])
def test_a_transposed_convolution_has_pytorchs_shapes_and_values(rng, options):
    import torch

    layer, theirs = nn.ConvTranspose2d(3, 5, 4, **options), torch.nn.ConvTranspose2d(3, 5, 4, **options)
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in layer.state_dict().items()})
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(layer(mv.Tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_layer_norm_normalises_scales_and_shifts(rng):
    layer = nn.LayerNorm(6, eps=1e-3).astype(np.float64)
    layer.weight.assign(rng.standard_normal(6))
    layer.bias.assign(rng.standard_normal(6))
    x = rng.standard_normal((2, 3, 6))
    centered = x - x.mean(-1, keepdims=True)
    expected = centered / np.sqrt(x.var(-1, keepdims=True) + 1e-3) * layer.weight.data + layer.bias.data
    np.testing.assert_allclose(layer(mv.Tensor(x)).numpy(), expected, rtol=1e-12)


def test_conv2d_with_stride_and_padding_is_the_sum_over_its_window(rng):
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=1, generator=rng)
    layer.bias.assign(rng.standard_normal(3))
    x = rng.standard_normal((1, 2, 5, 7)).astype(np.float32)
    y = layer(mv.Tensor(x)).numpy()
    assert y.shape == (1, 3, 3, 4)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for row in range(3):
        for column in range(4):
            window = padded[0, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            expected = (layer.weight.data * window).sum((1, 2, 3)) + layer.bias.data
            np.testing.assert_allclose(y[0, :, row, column], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Dropout(0.4), nn.DropPath(0.4)])
def test_nothing_is_dropped_in_eval_mode_or_at_rate_zero(layer, rng):
    x = mv.Tensor(rng.standard_normal((50, 3)).astype(np.float32))
    with mask_keys(0, 0):
        assert (layer.train()(x).numpy() != x.numpy()).any()
        assert layer.eval()(x) is x
        assert type(layer)(0.0)(x) is x


def test_dropout_zeroes_elements_and_keeps_the_mean():
    x = mv.Tensor(np.ones((200, 50, 10), np.float32))
    with mask_keys(1, 2):
        y = nn.Dropout(0.3)(x).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((y == 0).mean() - 0.3) < 5 * (0.21 / y.size) ** 0.5
    assert abs(y.mean() - 1) < 0.01
    shares = (y == 0).mean((0, 2))  # no position of an image is special
    assert np.abs(shares - 0.3).max() < 5 * (0.21 / 2000) ** 0.5


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    x = mv.Tensor(np.ones((4000, 2, 3), np.float32))
    with mask_keys(1, 2):
        y = nn.DropPath(0.25)(x).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert (y == y[:, :1, :1]).all()
    assert abs((y == 0).mean() - 0.25) < 5 * (0.1875 / 4000) ** 0.5


@pytest.mark.parametrize("layer", [nn.Dropout(0.4), nn.DropPath(0.4)])
def test_the_gradient_goes_where_the_values_went(layer, rng):
    x = mv.Tensor(rng.standard_normal((40, 3)), requires_grad=True)
    with mask_keys(0, 0):
        y = layer(x)
    cotangent = rng.standard_normal(y.shape)
    y.backward(cotangent)
    np.testing.assert_allclose(x.grad, cotangent * (y.numpy() / x.numpy()), rtol=1e-12)


@pytest.mark.parametrize("rate", [1.0, -0.1, float("nan"), 3])
@pytest.mark.parametrize("layer", [nn.Dropout, nn.DropPath])
def test_a_rate_outside_its_range_is_refused(layer, rate):
    with pytest.raises(ValueError, match=rf"{layer.__name__}: the rate must lie in \[0, 1\), got"):
        layer(rate)


def test_layers_describe_their_settings():
    assert repr(nn.Linear(3, 5, bias=False)) == "Linear(3, 5, bias=False)"
    assert repr(nn.LayerNorm(4)) == "LayerNorm(4, eps=1e-06)"
    assert repr(nn.Conv2d(3, 8, 3, stride=2, padding=1)) == "Conv2d(3, 8, kernel_size=3, stride=2, padding=1)"
    assert repr(nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)) == (
        "ConvTranspose2d(8, 3, kernel_size=4, stride=2, padding=1)"
    )
    assert repr(nn.Dropout(0.1)) == "Dropout(0.1)"
    assert repr(nn.DropPath(0.1)) == "DropPath(0.1)"
