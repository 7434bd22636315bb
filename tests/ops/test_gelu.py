import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("gelu"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    shape=array_shapes(min_dims=0, max_dims=3, max_side=4),
    scale=st.sampled_from([1e-3, 1.0, 3.0]),
    approximate=st.sampled_from(["none", "tanh"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape_and_scale(shape, scale, approximate, seed):
    x = scale * (np.random.default_rng(seed).random(shape) + 0.1)
    mv.prove(ops.gelu, x, attributes={"approximate": approximate})


def test_exact_values():
    mpmath = pytest.importorskip("mpmath")
    x = np.concatenate([np.linspace(-8.0, 8.0, 161), [-37.0, 1e-12, 40.0]])
    with mpmath.workdps(40):
        exact = [float(mpmath.mpf(float(v)) * mpmath.ncdf(mpmath.mpf(float(v)))) for v in x]
        slope = [float(mpmath.ncdf(mpmath.mpf(float(v))) + mpmath.mpf(float(v)) * mpmath.npdf(float(v))) for v in x]
    t = mv.tensor(x, requires_grad=True)
    y = ops.gelu(t)
    assert np.allclose(y.numpy(), exact, rtol=4e-16, atol=1e-15)
    assert np.allclose(mv.grad(y, t, np.ones_like(x)).numpy(), slope, rtol=1e-15, atol=2e-15)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_zero_it_is_the_identity_or_zero(approximate, dtype):
    x = mv.tensor(np.array([-1e4, -50.0, 0.0, 50.0, 1e4], dtype), requires_grad=True)
    y = ops.gelu(x, approximate)
    assert np.allclose(y.numpy(), [0.0, 0.0, 0.0, 50.0, 1e4])
    assert np.allclose(mv.grad(y, x, np.ones(5, dtype)).numpy(), [0.0, 0.0, 0.5, 1.0, 1.0])


def test_how_far_the_tanh_form_is_from_the_exact_one():
    x = np.linspace(-6.0, 6.0, 120_001)
    gap = np.abs(ops.gelu(x, "tanh").numpy() - ops.gelu(x).numpy())
    assert np.isclose(gap.max(), 4.73e-4, rtol=1e-3)
    assert np.isclose(x[np.argmax(gap[x < 0])], -2.70, atol=5e-3)
    assert np.isclose(gap[x > 0].max(), gap.max())  # the two differ by an even function


def test_it_falls_below_zero_on_the_left():
    x = np.linspace(-3.0, 0.0, 30_001)
    y = ops.gelu(x).numpy()
    assert np.isclose(y.min(), -0.16997, atol=1e-5)
    assert np.isclose(x[np.argmin(y)], -0.7518, atol=1e-4)


def test_there_are_two_forms():
    with pytest.raises(ValueError, match=r'"none" \(exact, erf\) or "tanh", got True'):
        ops.gelu(np.ones(2), approximate=True)
