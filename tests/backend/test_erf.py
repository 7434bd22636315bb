"""erf against mpmath, over its whole range."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.erf import CHUNK, erf

mpmath = pytest.importorskip("mpmath")


def reference(x: np.ndarray) -> np.ndarray:
    """Erf as mpmath has it at 40 digits, rounded to float64 once."""
    with mpmath.workdps(40):
        return np.array([float(mpmath.erf(mpmath.mpf(float(v)))) for v in x])


def points(rng: np.random.Generator) -> np.ndarray:
    edges = np.array([0.84375, 1.25, 1 / 0.35, 4.0, 6.0])
    around = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 9)])
    tiny = 10.0 ** rng.uniform(-300, -3, 100)
    magnitude = np.concatenate([around, tiny, rng.uniform(0, 7, 3000), [27.0, 1e10, 1e300]])
    return magnitude * rng.choice([-1.0, 1.0], magnitude.size)


def test_float64_is_right_to_the_last_bits(rng):
    x = points(rng)
    expected = reference(x)
    assert np.max(np.abs(erf(x) - expected) / np.spacing(np.abs(expected))) <= 1.5


def test_float32_is_right_to_a_few_units_near_zero_and_one_near_one(rng):
    x = points(rng)
    x = x[(np.abs(x) > 1e-37) & (np.abs(x) < 1e30)].astype(np.float32)
    expected = reference(x)
    error = np.abs(erf(x).astype(np.float64) - expected)
    assert error.max() <= 1.5 * 2.0**-23
    assert np.max(error / np.abs(expected)) <= 3 * 2.0**-23


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal], dtype)
    y = erf(x)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y[:4], np.array([0, 0, 1, -1], dtype))
    assert np.signbit(y[1])
    assert not np.signbit(y[0])
    assert np.isnan(y[4])
    assert y[5] == 1
    assert 0 <= y[6] < 1e-30


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5, 7), (CHUNK + 3,)])
def test_shapes_and_strides(rng, dtype, shape):
    x = np.asarray(rng.standard_normal(shape), dtype=dtype)
    before = x.copy()
    y = erf(x)
    assert isinstance(y, np.ndarray)
    assert y.shape == shape
    assert y.dtype == dtype
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(erf(x.T), y.T)
    np.testing.assert_array_equal(-erf(-x), y)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.complex64, 1e-6), (np.complex128, 1e-15)])
def test_complex_step_gives_the_derivative(rng, dtype, tolerance):
    x = rng.standard_normal(50).astype(dtype().real.dtype)
    step = 1e-20
    z = (x + 1j * step).astype(dtype)
    y = erf(z)
    assert y.dtype == dtype
    np.testing.assert_array_equal(y.real, erf(x))
    slope = 2 / np.sqrt(np.pi) * np.exp(-(x.astype(np.float64) ** 2))
    np.testing.assert_allclose(y.imag / step, slope, rtol=tolerance)


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.longdouble])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match="float32, float64"):
        erf(np.zeros(3, dtype))
