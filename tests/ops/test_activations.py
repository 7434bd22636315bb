import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.compare import cases
from minivit.compare.cases import spread


@pytest.mark.parametrize("case", cases("relu", "leaky_relu", "sigmoid"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(shape=array_shapes(max_dims=3, max_side=4), scale=st.sampled_from([1e-3, 1.0, 1e3]), seed=st.integers(0, 99))
def test_the_ladder_for_any_shape_and_scale(shape, scale, seed):
    x = scale * (spread(np.random.default_rng(seed), *shape) + 0.01)
    x = np.where(np.abs(x) < 0.005 * scale, scale, x)
    x.flat[0] = scale  # so that the gradient is not zero everywhere
    mv.prove(ops.relu, x, linear=True)
    mv.prove(ops.leaky_relu, x, attributes={"slope": 0.2}, linear=True)


def test_at_zero_the_derivative_of_relu_is_zero_as_in_pytorch():
    x = mv.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    assert ops.relu(x).tolist() == [0.0, 0.0, 2.0]
    assert mv.grad(ops.relu(x), x, np.ones(3, np.float32)).tolist() == [0.0, 0.0, 1.0]
    assert mv.grad(ops.leaky_relu(x, 0.5), x, np.ones(3, np.float32)).tolist() == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_does_not_overflow(dtype):
    x = mv.tensor(np.array([-1e4, -100.0, 0.0, 100.0, 1e4], dtype), requires_grad=True)
    y = ops.sigmoid(x)
    assert np.allclose(y.numpy(), [0.0, 0.0, 0.5, 1.0, 1.0])
    assert mv.grad(y, x, np.ones(5, dtype)).tolist() == [0.0, 0.0, 0.25, 0.0, 0.0]


def test_sigmoid_is_half_a_turn_symmetric(rng):
    x = rng.standard_normal(20)
    assert np.allclose(ops.sigmoid(x).numpy() + ops.sigmoid(-x).numpy(), 1.0, rtol=1e-15)
