"""Tests of minivit/nn/attention.py."""

import numpy as np
import pytest

import minivit as mv
from minivit import nn


@pytest.fixture
def layer():
    rng = np.random.default_rng(0)
    layer = nn.MultiHeadSelfAttention(8, 2).astype(np.float64)
    for parameter in layer.parameters():
        parameter.assign(rng.standard_normal(parameter.shape))
    return layer


def tokens(seed=1, shape=(2, 5, 8)):
    return np.random.default_rng(seed).standard_normal(shape)


def by_hand(layer, x, allowed=None):
    """Token by token and head by head."""
    batch, count, dim = x.shape
    width = dim // layer.heads
    w, b = layer.qkv.weight.data, layer.qkv.bias.data
    y = np.zeros_like(x)
    for image in range(batch):
        for head in range(layer.heads):
            rows = [part * dim + head * width + np.arange(width) for part in range(3)]
            q, k, v = (x[image] @ w[r].T + b[r] for r in rows)
            for i in range(count):
                scores = np.array([q[i] @ k[j] / np.sqrt(width) for j in range(count)])
                if allowed is not None:
                    scores = np.where(allowed[i], scores, -np.inf)
                p = np.exp(scores - scores.max())
                y[image, i, head * width : (head + 1) * width] = (p / p.sum()) @ v
    return y @ layer.proj.weight.data.T + layer.proj.bias.data


def test_it_is_softmax_of_scaled_products_head_by_head(layer):
    x = tokens()
    np.testing.assert_allclose(layer(mv.Tensor(x)).numpy(), by_hand(layer, x), rtol=1e-10)


def test_a_mask_takes_tokens_out(layer):
    x = tokens()
    allowed = np.tril(np.ones((5, 5), bool))
    y = layer(mv.Tensor(x), mv.Tensor(allowed)).numpy()
    np.testing.assert_allclose(y, by_hand(layer, x, allowed), rtol=1e-10)
    x[:, 3:] = tokens(2)[:, 3:]  # the first tokens do not see the last
    np.testing.assert_array_equal(layer(mv.Tensor(x), mv.Tensor(allowed)).numpy()[:, :3], y[:, :3])


def test_tokens_that_change_places_take_their_results_along(layer):
    x, order = tokens(), np.array([3, 0, 4, 1, 2])
    y = layer(mv.Tensor(x)).numpy()
    np.testing.assert_allclose(layer(mv.Tensor(x[:, order])).numpy(), y[:, order], rtol=1e-12)


def test_the_key_bias_has_no_gradient(layer):
    """It adds the same number to all scores of a query, which softmax does not see."""
    layer(mv.Tensor(tokens())).backward(tokens(3))
    query, key, value = np.split(layer.qkv.bias.grad, 3)
    assert np.abs(key).max() < 1e-13
    assert min(np.abs(query).max(), np.abs(value).max()) > 1e-2


def test_qkv_bias_is_optional():
    names = [name for name, _ in nn.MultiHeadSelfAttention(8, 2, qkv_bias=False).named_parameters()]
    assert names == ["qkv.weight", "proj.weight", "proj.bias"]


def test_dropout_comes_after_the_projection():
    layer = nn.MultiHeadSelfAttention(8, 2, dropout=0.5)
    layer.proj.weight.assign(np.zeros((8, 8)))
    layer.proj.bias.assign(np.ones(8))
    with nn.mask_keys(0, 0):
        y = layer(mv.Tensor(tokens().astype(np.float32))).numpy()
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (layer.eval()(mv.Tensor(tokens().astype(np.float32))).numpy() == 1).all()


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="dim 10 is not a multiple of 3 heads"):
        nn.MultiHeadSelfAttention(10, 3)
