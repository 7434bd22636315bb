"""Batch normalisation."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS, batch_norm
from minivit.backend.cpu.rendezvous import Rendezvous
from minivit.backend.cpu.threads import Workers

BATCH_NORM = KERNELS["batch_norm"]


def formula(eps, mean=None, variance=None):
    def reference(x, weight, bias, mean=mean, variance=variance):
        axes, trains = (0, *range(2, x.ndim)), mean is None
        spread = (slice(None), *(None,) * (x.ndim - 2))
        if trains:
            mean, variance = x.mean(axes), x.var(axes)
        r = 1 / np.sqrt(variance + eps)
        n = (x - mean[spread]) * r[spread]
        scale = np.ones(x.shape[1]) if weight is None else weight

        def gradients(dy):
            dn = dy * scale[spread]
            dx = r[spread] * dn
            if trains:
                dx -= r[spread] * (dn.mean(axes, keepdims=True) + n * (dn * n).mean(axes, keepdims=True))
            return dx, (dy * n).sum(axes), dy.sum(axes), None, None

        return n * scale[spread] + (0 if bias is None else bias[spread]), gradients

    return reference


SHAPES = [(6, 5), (2, 3, 4), (3, 4, 5, 2), (2, 64, 6, 6), (2, 3, 100, 90), (7, 1, 3, 3), (3, 33, 7, 5)]


@pytest.mark.parametrize("affine", ["weight and bias", "weight", "bias", "neither"])
@pytest.mark.parametrize("shape", SHAPES)
def test_formula(rng, agree, shape, affine):
    x = 3 * rng.standard_normal(shape) + rng.standard_normal((shape[1], *(1,) * (len(shape) - 2)))
    weight, bias = (rng.standard_normal(shape[1]) if name in affine else None for name in ("weight", "bias"))
    agree("batch_norm", [x, weight, bias], formula(1e-5), factor=2, eps=1e-5, part=None)


@pytest.mark.parametrize("affine", ["weight and bias", "neither"])
@pytest.mark.parametrize("shape", [*SHAPES, (0, 3, 2, 2)])
def test_formula_in_evaluation(rng, shape, affine, dtype, layout):
    x, dy = layout(rng.standard_normal((2, *shape)).astype(dtype))
    weight, bias = (
        layout(rng.standard_normal(shape[1]).astype(dtype)) if name in affine else None for name in ("weight", "bias")
    )
    mean, variance = (
        layout(values.astype(dtype)) for values in (rng.standard_normal(shape[1]), rng.uniform(0.5, 2, shape[1]))
    )
    kernel = KERNELS["batch_norm_evaluation"]
    inputs = [x, weight, bias, mean, variance]
    assert kernel.accepts(*inputs, eps=1e-5)
    y, saved = kernel.forward(*inputs, eps=1e-5)
    expected, gradients = formula(1e-5)(*(None if v is None else v.astype(np.float64) for v in inputs))
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    np.testing.assert_allclose(y, expected, rtol=tolerance, atol=10 * tolerance)
    assert y.dtype == dtype
    present = weight is not None
    for wanted in {(True, present, present), (True, False, False), (False, present, False), (False, False, present)}:
        found = kernel.backward(dy, saved, *inputs, wanted=(*wanted, False, False), eps=1e-5)
        for want, mine, right in zip(wanted, found, gradients(dy.astype(np.float64)), strict=False):
            assert (mine is not None) == want
            if want:
                size = max(1.0, np.abs(right).max(initial=0))
                np.testing.assert_allclose(mine, right, rtol=tolerance, atol=10 * tolerance * size)
                assert mine.dtype == dtype
        assert found[3:] == (None, None)


@pytest.mark.parametrize("chunk_bytes", [1, 1000, 30_000])
def test_any_pieces_give_the_same(rng, agree, monkeypatch, chunk_bytes):
    monkeypatch.setattr(batch_norm, "CHUNK_BYTES", chunk_bytes)
    inputs = [rng.standard_normal((3, 5, 8, 8)), rng.standard_normal(5), rng.standard_normal(5)]
    agree("batch_norm", inputs, formula(1e-5), eps=1e-5, part=None)


@pytest.mark.parametrize("offset", [0.0, 100.0, 10_000.0])
def test_float32_with_a_large_mean_loses_no_more_than_its_digits(rng, offset):
    x = (rng.standard_normal((40, 3, 32, 32)) + offset).astype(np.float32)
    y, (_, _, (mean, variance, count)) = BATCH_NORM.forward(x, None, None, eps=1e-5, part=None)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(variance, exact.var((0, 2, 3)), rtol=1e-6)
    assert count == 40 * 32 * 32
    expected, _ = formula(1e-5)(exact, None, None)
    assert np.max(np.abs(y - expected)) <= 2e-6 + 4 * offset * 2.0**-23


def test_images_that_differ_widely_are_no_harder(rng):
    """The first image says nothing about the others: sums of squares around its mean would cancel."""
    x = rng.standard_normal((64, 2, 16, 16)).astype(np.float32)
    x[0] += 1000
    _, (_, _, (mean, variance, _)) = BATCH_NORM.forward(x, None, None, eps=1e-5, part=None)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(variance, exact.var((0, 2, 3)), rtol=1e-6)


def test_constant_channels_give_the_bias_and_a_finite_gradient():
    x = np.full((3, 2, 4, 4), 7.0, np.float32)
    bias = np.array([1.0, -2.0], np.float32)
    weight = np.ones(2, np.float32)
    y, saved = BATCH_NORM.forward(x, weight, bias, eps=1e-5, part=None)
    # x scale + shift, both 7 / sqrt(eps) large, loses its digits in their difference
    np.testing.assert_allclose(y, np.broadcast_to(bias[:, None, None], x.shape), atol=2.0**-23 * 7 / 1e-5**0.5)
    dx = BATCH_NORM.backward(y, saved, x, weight, bias, wanted=(True, False, False), eps=1e-5, part=None)[0]
    assert np.isfinite(dx).all()


def test_channels_lie_last_in_memory(rng):
    x = rng.standard_normal((2, 6, 6, 3)).transpose(0, 3, 1, 2)
    y, saved = BATCH_NORM.forward(x, None, None, eps=1e-5, part=None)
    dx = BATCH_NORM.backward(y, saved, x, None, None, wanted=(True, False, False), eps=1e-5, part=None)[0]
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dx.transpose(0, 2, 3, 1).flags.c_contiguous
    assert np.shares_memory(batch_norm.channel_rows(x), x)


@pytest.mark.parametrize("cuts", [(0, 1, 7), (0, 3, 4, 7)])
def test_parts_have_the_statistics_of_the_whole(rng, dtype, cuts):
    x = (rng.standard_normal((7, 3, 5, 4)) + 4 * np.arange(7)[:, None, None, None]).astype(dtype)
    dy = rng.standard_normal(x.shape).astype(dtype)
    weight, bias = rng.standard_normal((2, 3)).astype(dtype)
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    rendezvous = Rendezvous(len(parts))

    def work(worker):
        with rendezvous.part(worker) as part:
            mine, its_dy = x[parts[worker]], dy[parts[worker]]
            y, saved = BATCH_NORM.forward(mine, weight, bias, eps=1e-5, part=part)
            wanted = (True, True, True)
            return y, saved, BATCH_NORM.backward(its_dy, saved, mine, weight, bias, wanted=wanted, eps=1e-5, part=part)

    with Workers(len(parts)) as workers:
        results = workers.run(work)
    for _, saved, _ in results[1:]:
        for one, other in zip((*saved[:2], *saved[2]), (*results[0][1][:2], *results[0][1][2]), strict=True):
            np.testing.assert_array_equal(one, other)  # the same bits for all
    expected, gradients = formula(1e-5)(x.astype(np.float64), weight.astype(np.float64), bias.astype(np.float64))
    dx, dweight, dbias, *_ = gradients(dy.astype(np.float64))
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(np.concatenate([y for y, _, _ in results]), expected, atol=tolerance)
    np.testing.assert_allclose(np.concatenate([g[0] for _, _, g in results]), dx, atol=tolerance)
    np.testing.assert_allclose(sum(g[1] for _, _, g in results), dweight, atol=10 * tolerance)
    np.testing.assert_allclose(sum(g[2] for _, _, g in results), dbias, atol=10 * tolerance)
