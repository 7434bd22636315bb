"""Rectified linear unit."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS

RELU = KERNELS["relu"]


def relu(x):
    return np.maximum(x, 0), lambda dy: (dy * (x > 0),)


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 4, 5), (2, 300, 20, 20)])
def test_formula(rng, agree, shape):
    agree("relu", [rng.standard_normal(shape)], relu)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).smallest_subnormal], dtype)
    y, saved = RELU.forward(x)
    np.testing.assert_array_equal(y, np.array([0, 0, np.inf, 0, np.nan, np.finfo(dtype).smallest_subnormal], dtype))
    dx = RELU.backward(np.full_like(x, 2), saved, x, wanted=(True,))[0]
    np.testing.assert_array_equal(dx[[0, 1, 2, 3, 5]], np.array([0, 0, 2, 0, 2], dtype))


def test_memory_layout_is_kept(rng):
    x = rng.standard_normal((2, 5, 4, 3)).transpose(0, 3, 1, 2)
    y, saved = RELU.forward(x)
    assert y.strides == x.strides
    dx = RELU.backward(rng.standard_normal(x.shape), saved, x, wanted=(True,))[0]
    assert dx.strides == x.strides
