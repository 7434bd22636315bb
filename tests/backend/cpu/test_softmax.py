"""Softmax and log-softmax over the last axis."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    return p, lambda dy: (p * (dy - (dy * p).sum(-1, keepdims=True)),)


def log_softmax(x):
    shifted = x - x.max(-1, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return y, lambda dy: (dy - np.exp(y) * dy.sum(-1, keepdims=True),)


REFERENCES = {"softmax": softmax, "log_softmax": log_softmax}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("shape", [(4,), (1, 1), (3, 4), (2, 3, 65), (0, 4), (3000, 67)])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_formula(rng, agree, name, shape, scale):
    factor = 1.0 if scale == 1 else 10.0  # exp magnifies the rounding of its argument
    agree(name, [scale * rng.standard_normal(shape)], REFERENCES[name], factor, axis=-1)


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_any_size(name, dtype):
    x = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [3e4, 3e4, 0], [0, -np.inf, 0], [19.9, -19.9, 0]], dtype)
    y, saved = KERNELS[name].forward(x, axis=-1)
    expected = REFERENCES[name](x.astype(np.float64))[0]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-8)
    dx = KERNELS[name].backward(np.ones_like(x), saved, x, wanted=(True,), axis=-1)[0]
    assert np.isfinite(dx).all()


def test_only_the_last_axis_is_taken():
    x = np.zeros((2, 3, 4))
    for kernel in (KERNELS["softmax"], KERNELS["log_softmax"]):
        assert kernel.accepts(x, axis=2)
        assert not kernel.accepts(x, axis=1)
        assert not kernel.accepts(np.zeros((2, 0)), axis=-1)
