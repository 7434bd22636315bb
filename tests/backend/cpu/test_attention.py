"""Scaled dot-product attention, from separate and from packed projections."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS


def sum_to(x, shape):
    x = x.sum(tuple(range(x.ndim - len(shape))))
    return x.sum(tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] > 1), keepdims=True)


def attention(scale):
    def reference(q, k, v, mask=None):
        s = scale * np.einsum("bhnd,bhmd->bhnm", q, k) + (0 if mask is None else mask)
        e = np.exp(s - s.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)

        def gradients(dy):
            dp = np.einsum("bhnd,bhmd->bhnm", dy, v)
            ds = p * (dp - (dp * p).sum(-1, keepdims=True))
            return (
                scale * np.einsum("bhnm,bhmd->bhnd", ds, k),
                scale * np.einsum("bhnm,bhnd->bhmd", ds, q),
                np.einsum("bhnm,bhnd->bhmd", p, dy),
                None if mask is None else sum_to(ds, mask.shape),
            )

        return np.einsum("bhnm,bhmd->bhnd", p, v), gradients

    return reference


def qkv_attention(heads, scale):
    def reference(qkv, mask=None):
        B, N, packed = qkv.shape
        d = packed // (3 * heads)
        parts = qkv.reshape(B, N, 3, heads, d).transpose(2, 0, 3, 1, 4)
        y, gradients = attention(scale)(*parts, mask)

        def packed_gradients(dy):
            dy = dy.reshape(B, N, heads, d).transpose(0, 2, 1, 3)
            *dqkv, dmask = gradients(dy)
            return np.stack(dqkv).transpose(1, 3, 0, 2, 4).reshape(qkv.shape), dmask

        return y.transpose(0, 2, 1, 3).reshape(B, N, packed // 3), packed_gradients

    return reference


MASKS = [None, (1, 1, 5, 6), (6,), (3, 1, 1, 6), (3, 2, 5, 6)]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_separate_projections(rng, agree, mask, scale):
    q, k, v = rng.standard_normal((3, 2, 5, 7)), rng.standard_normal((3, 2, 6, 7)), rng.standard_normal((3, 2, 6, 7))
    inputs = [q, k, v, None if mask is None else rng.standard_normal(mask)]
    agree("attention", inputs, attention(scale), 1 + 3 * scale, scale=scale)


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (0, 5, 2, 3), (1, 1, 1, 1), (9, 65, 3, 16), (3, 197, 2, 8)])
def test_packed_projection(rng, agree, shape):
    B, N, heads, d = shape
    scale = d**-0.5
    agree(
        "qkv_attention",
        [rng.standard_normal((B, N, 3 * heads * d)), None],
        qkv_attention(heads, scale),
        3.0,
        heads=heads,
        scale=scale,
    )


@pytest.mark.parametrize("mask", [(1, 1, 5, 5), (3, 1, 1, 5), (5, 5)])
def test_packed_projection_with_a_mask(rng, agree, mask):
    inputs = [rng.standard_normal((3, 5, 24)), rng.standard_normal(mask)]
    agree("qkv_attention", inputs, qkv_attention(2, 0.5), 3.0, heads=2, scale=0.5)


@pytest.mark.parametrize("size", [30.0, 1e4])
def test_large_scores_neither_overflow_nor_vanish(rng, agree, size):
    q, k, v = (np.asarray(a, np.float32) for a in rng.standard_normal((3, 2, 2, 5, 4)))
    kernel = KERNELS["attention"]
    y, saved = kernel.forward(size * q, k, v, None, scale=1.0)
    expected, _ = attention(1.0)((size * q).astype(np.float64), k.astype(np.float64), v.astype(np.float64))
    np.testing.assert_allclose(y, expected, atol=5e-6 * size)
    gradients = kernel.backward(y, saved, size * q, k, v, None, wanted=(True, True, True, False), scale=1.0)
    assert all(np.isfinite(g).all() for g in gradients[:3])


@pytest.mark.parametrize("forbidding", [np.finfo(np.float32).min, np.finfo(np.float32).min / 2, -np.inf, -1e4])
def test_forbidden_keys_get_neither_weight_nor_gradient(rng, forbidding):
    q, k, v = rng.standard_normal((3, 1, 1, 4, 3)).astype(np.float32)
    mask = np.zeros((4, 4), np.float32)
    mask[:, 3] = forbidding
    kernel = KERNELS["attention"]
    y, saved = kernel.forward(q, k, v, mask, scale=1.0)
    expected, _ = attention(1.0)(*(a.astype(np.float64) for a in (q, k[:, :, :3], v[:, :, :3])))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    _, dk, dv, _ = kernel.backward(y, saved, q, k, v, mask, wanted=(True, True, True, False), scale=1.0)
    assert not dk[..., 3, :].any()
    assert not dv[..., 3, :].any()
    assert dk[..., :3, :].any()
