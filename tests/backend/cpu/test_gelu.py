"""GELU: one pass gives the value and the derivative."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS, gelu
from minivit.backend.erf import erf

pytestmark = pytest.mark.usefixtures("library")

GELU = KERNELS["gelu"]


def exact(x):
    cdf = 0.5 * (1 + erf(x / math.sqrt(2)))
    slope = cdf + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return x * cdf, lambda dy: (dy * slope,)


def tanh(x):
    k, c = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(k * (x + c * x**3))
    slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * c * x**2)
    return 0.5 * x * (1 + t), lambda dy: (dy * slope,)


FORMS = {"none": exact, "tanh": tanh}


@pytest.mark.parametrize("approximate", FORMS)
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (5, 7, 3)])
def test_formula(rng, agree, shape, approximate):
    agree("gelu", [2 * rng.standard_normal(shape)], FORMS[approximate], approximate=approximate)


@pytest.mark.parametrize("approximate", FORMS)
def test_more_than_one_piece(rng, approximate):
    x = rng.standard_normal(200_001)
    y, slope = GELU.forward(x, approximate=approximate)
    expected, gradients = FORMS[approximate](x)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slope, gradients(1.0)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("approximate", FORMS)
def test_float32_error_is_within_four_units(approximate):
    x = np.concatenate([np.linspace(-9, 9, 300_001), np.linspace(-30, 30, 50_001)]).astype(np.float32)
    y, slope = GELU.forward(x, approximate=approximate)
    expected, gradients = FORMS[approximate](x.astype(np.float64))
    unit = 2.0**-23 * np.maximum(1, np.abs(x.astype(np.float64)))
    assert np.max(np.abs(y - expected) / unit) <= 4
    assert np.max(np.abs(slope - gradients(1.0)[0]) / unit) <= 4


@pytest.mark.parametrize("approximate", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extremes(dtype, approximate):
    largest = np.finfo(dtype).max
    x = np.array([largest, -largest, 1e10, -1e10, 0.0, np.nan], dtype)
    y, slope = GELU.forward(x, approximate=approximate)
    np.testing.assert_array_equal(y[:5], np.array([largest, 0, 1e10, 0, 0], dtype))
    np.testing.assert_allclose(slope[:5], np.array([1, 0, 1, 0, 0.5], dtype), atol=1e-6)
    assert np.isnan(y[5])
    assert np.isnan(slope[5])


def test_value_may_overwrite_its_input(rng):
    x = rng.standard_normal(1000).astype(np.float32)
    y, slope = GELU.forward(x, approximate="none")
    slope_in_place = np.empty_like(x)
    gelu.value_and_slope(x, x, slope_in_place, "none")
    np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(slope_in_place, slope)


def test_without_vectorised_exp2_the_bound_holds_too(monkeypatch):
    monkeypatch.setattr("minivit.backend.cpu.blocks._exp2_is_vectorised", lambda: False)
    for approximate in FORMS:
        test_float32_error_is_within_four_units(approximate)
