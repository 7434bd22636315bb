"""Layer normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS

LAYER_NORM = KERNELS["layer_norm"]


def layer_norm(eps):
    def reference(x, weight, bias):
        centered = x - x.mean(-1, keepdims=True)
        r = 1 / np.sqrt((centered**2).mean(-1, keepdims=True) + eps)
        n = centered * r
        lead = tuple(range(x.ndim - 1))

        def gradients(dy):
            dn = dy * weight
            dx = r * (dn - dn.mean(-1, keepdims=True) - n * (dn * n).mean(-1, keepdims=True))
            return dx, (dy * n).sum(lead), dy.sum(lead)

        return n * weight + bias, gradients

    return reference


@pytest.mark.parametrize("shape", [(9,), (3, 9), (2, 5, 33), (0, 9), (700, 131), (4, 1)])
def test_formula(rng, agree, shape):
    x = 3 * rng.standard_normal(shape) + 1
    weight, bias = rng.standard_normal((2, shape[-1]))
    agree("layer_norm", [x, weight, bias], layer_norm(1e-6), eps=1e-6)


def test_constant_rows_give_the_bias_and_a_finite_gradient():
    x = np.full((3, 8), 7.0)
    weight, bias = np.arange(8.0), np.ones(8)
    y, saved = LAYER_NORM.forward(x, weight, bias, eps=1e-6)
    np.testing.assert_allclose(y, 1.0)
    dx = LAYER_NORM.backward(np.eye(3, 8), saved, x, weight, bias, wanted=(True, False, False), eps=1e-6)[0]
    assert np.isfinite(dx).all()


@pytest.mark.parametrize("offset", [100.0, 10_000.0])
def test_float32_with_a_large_mean_loses_no_more_than_its_digits(rng, offset):
    x = (rng.standard_normal((50, 192)) + offset).astype(np.float32)
    weight, bias = np.ones(192, np.float32), np.zeros(192, np.float32)
    y, _ = LAYER_NORM.forward(x, weight, bias, eps=1e-6)
    expected, _ = layer_norm(1e-6)(x.astype(np.float64), 1.0, 0.0)
    assert np.max(np.abs(y - expected)) <= 4 * offset * 2.0**-23


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_float32_of_extreme_size(rng, scale):
    x = (scale * rng.standard_normal((5, 32))).astype(np.float32)
    y, _ = LAYER_NORM.forward(x, np.ones(32, np.float32), np.zeros(32, np.float32), eps=1e-6)
    expected, _ = layer_norm(1e-6)(x.astype(np.float64), 1.0, 0.0)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
