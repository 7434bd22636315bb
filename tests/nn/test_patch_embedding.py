"""Tests of minivit/nn/patch_embedding.py."""

import numpy as np
import pytest

import minivit as mv
from minivit import nn


def fill(module, seed=0):
    rng = np.random.default_rng(seed)
    for parameter in module.astype(np.float64).parameters():
        parameter.assign(rng.standard_normal(parameter.shape))
    return module


def images(size=8, batch=2):
    return np.random.default_rng(1).standard_normal((batch, 3, size, size))


def test_each_patch_is_mapped_as_by_a_convolution_with_stride():
    layer = fill(nn.PatchEmbedding(3, 5, 4))
    x = images()
    y = layer(mv.Tensor(x)).numpy()
    assert y.shape == (2, 4, 5)
    for row in range(2):
        for column in range(2):
            patch = x[:, None, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            expected = (patch * layer.proj.weight.data).sum((2, 3, 4)) + layer.proj.bias.data
            np.testing.assert_allclose(y[:, 2 * row + column], expected, rtol=1e-10)
    convolution = mv.ops.conv2d(mv.Tensor(x), layer.proj.weight, layer.proj.bias, 4).numpy()  # (B, D, H', W')
    np.testing.assert_allclose(y, convolution.reshape(2, 5, -1).swapaxes(1, 2), rtol=1e-10)


def test_names_and_shapes_are_those_of_a_convolution():
    state = nn.PatchEmbedding(3, 5, 4).state_dict()
    assert {name: array.shape for name, array in state.items()} == {"proj.weight": (5, 3, 4, 4), "proj.bias": (5,)}


def by_hand(stem, x):
    """3x3 convolution, pooling, ReLU, ..., LayerNorm, ReLU, projection, with loops over positions."""
    for number, conv in enumerate(stem.convs):
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        size = x.shape[-1]
        y = np.zeros((len(x), len(conv.weight.data), size, size))
        for i in range(size):
            for j in range(size):
                window = padded[:, None, :, i : i + 3, j : j + 3]
                y[:, :, i, j] = (window * conv.weight.data).sum((2, 3, 4)) + conv.bias.data
        x = y.reshape(len(x), -1, size // 2, 2, size // 2, 2).max((3, 5))
        if number < len(stem.convs) - 1:
            x = np.maximum(x, 0)
    x = x.reshape(*x.shape[:2], -1).swapaxes(1, 2)
    centered = x - x.mean(-1, keepdims=True)
    n = centered / np.sqrt(x.var(-1, keepdims=True) + stem.norm.eps) * stem.norm.weight.data + stem.norm.bias.data
    return np.maximum(n, 0) @ stem.proj.weight.data.T + stem.proj.bias.data


@pytest.mark.parametrize("widths", [(4,), (4, 6), (2, 3, 4)])
def test_a_stem_halves_the_sides_and_makes_tokens_row_by_row(widths):
    stem = fill(nn.ConvolutionalStem(3, widths, 5))
    x = images()
    y = stem(mv.Tensor(x)).numpy()
    assert y.shape == (2, (8 // 2 ** len(widths)) ** 2, 5)
    np.testing.assert_allclose(y, by_hand(stem, x), rtol=1e-8, atol=1e-10)


def test_every_parameter_of_a_stem_is_used():
    stem = fill(nn.ConvolutionalStem(3, (4, 6), 5))
    y = stem(mv.Tensor(images()))
    y.backward(np.random.default_rng(2).standard_normal(y.shape))
    for name, parameter in stem.named_parameters():
        assert np.abs(parameter.grad).max() > 1e-3, name
