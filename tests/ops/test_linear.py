import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("linear"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    shape=array_shapes(min_dims=1, max_dims=4, max_side=4),
    outputs=st.integers(1, 5),
    with_bias=st.booleans(),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape_and_scale(shape, outputs, with_bias, scale, seed):
    rng = np.random.default_rng(seed)
    x, weight = scale * rng.standard_normal(shape), rng.standard_normal((outputs, shape[-1]))
    mv.prove(ops.linear, x, weight, scale * rng.standard_normal(outputs) if with_bias else None)


def test_the_weight_is_stored_as_pytorch_stores_it():
    weight = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]])  # (outputs, inputs)
    assert ops.linear(np.array([1.0, 10.0, 100.0]), weight, np.array([0.5, 0.0])).tolist() == [321.5, 100.0]


def test_every_leading_axis_is_a_batch(rng):
    x, weight, bias = rng.standard_normal((2, 3, 4)), rng.standard_normal((5, 4)), rng.standard_normal(5)
    y = ops.linear(x, weight, bias).numpy()
    assert y.shape == (2, 3, 5)
    assert np.allclose(y[1, 2], weight @ x[1, 2] + bias)


@pytest.mark.parametrize(
    ("x", "weight", "bias", "message"),
    [
        ((2, 3), (5, 4), None, r"the weight \(O, I\), got \(2, 3\) and \(5, 4\)"),
        ((2, 3), (3,), None, r"got \(2, 3\) and \(3,\)"),
        ((), (5, 3), None, r"got \(\) and \(5, 3\)"),
        ((2, 3), (5, 3), (3,), r"weight \(5, 3\) needs a bias \(5,\), got \(3,\)"),
    ],
)
def test_shapes_that_do_not_fit(x, weight, bias, message):
    with pytest.raises(ShapeError, match=message):
        ops.linear(np.ones(x), np.ones(weight), None if bias is None else np.ones(bias))
