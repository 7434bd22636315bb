"""Tests of minivit/nn/mlp.py."""

import math

import numpy as np
import pytest

import minivit as mv
from minivit import nn


def make(gelu="none", dropout=0.0):
    rng = np.random.default_rng(0)
    layer = nn.Mlp(4, 6, dropout, gelu).astype(np.float64)
    for parameter in layer.parameters():
        parameter.assign(rng.standard_normal(parameter.shape))
    return layer


def gelu(x, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


X = np.random.default_rng(1).standard_normal((3, 5, 4))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_it_is_linear_gelu_linear(approximate):
    layer = make(approximate)
    hidden = gelu(X @ layer.fc1.weight.data.T + layer.fc1.bias.data, approximate)
    expected = hidden @ layer.fc2.weight.data.T + layer.fc2.bias.data
    np.testing.assert_allclose(layer(mv.Tensor(X)).numpy(), expected, rtol=1e-12)


def test_the_two_gelus_differ():
    assert np.abs(make("none")(mv.Tensor(X)).numpy() - make("tanh")(mv.Tensor(X)).numpy()).max() > 1e-5


def test_with_dropout_both_layers_are_masked_and_eval_is_the_fused_op():
    layer = make(dropout=0.5)
    with nn.mask_keys(0, 0):
        keep = [nn.randomness.keep_mask(mv.Tensor(np.zeros((3, 5 * width))), 0.5, 5 * width) for width in (6, 4)]
    with nn.mask_keys(0, 0):
        y = layer(mv.Tensor(X)).numpy()
    first, second = (2 * mask.numpy().reshape(3, 5, -1) for mask in keep)
    hidden = gelu(X @ layer.fc1.weight.data.T + layer.fc1.bias.data, "none") * first
    expected = (hidden @ layer.fc2.weight.data.T + layer.fc2.bias.data) * second
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert (y == 0).any()
    np.testing.assert_array_equal(layer.eval()(mv.Tensor(X)).numpy(), make()(mv.Tensor(X)).numpy())


def test_the_gradient_does_not_depend_on_fusing():
    fused, masked = make(), make(dropout=1e-12)  # a rate that drops nothing
    gradients = []
    for layer in (fused, masked):
        x = mv.Tensor(X, requires_grad=True)
        with nn.mask_keys(0, 0):
            layer(x).backward(np.random.default_rng(2).standard_normal(X.shape))
        gradients.append([x.grad, *(p.grad for p in layer.parameters())])
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_the_kind_of_gelu_is_shown():
    assert repr(nn.Mlp(4, 6, gelu="tanh")).startswith("Mlp(gelu='tanh')")
