import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("dropout", "drop_path"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    shape=array_shapes(min_dims=1, max_dims=3, max_side=4),
    rate=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape_and_rate(shape, rate, seed):
    rng = np.random.default_rng(seed)
    keep = rng.random(shape) >= rate
    keep.flat[0] = True
    mv.prove(ops.dropout, rng.standard_normal(shape), keep, attributes={"rate": rate}, linear=True)
    mv.prove(
        ops.drop_path,
        rng.standard_normal(shape),
        keep.reshape(shape[0], -1)[:, 0],
        attributes={"rate": rate},
        linear=True,
    )


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5])
def test_the_mean_over_all_masks_is_the_input(rate, rng):
    x = rng.standard_normal(4)
    mean = np.zeros(4)
    for mask in itertools.product([False, True], repeat=4):
        probability = np.prod(np.where(mask, 1.0 - rate, rate))
        mean += probability * ops.dropout(x, np.array(mask), rate).numpy()
    assert np.allclose(mean, x, rtol=1e-14)


def test_gradients_pass_where_values_pass():
    x = mv.tensor(np.ones((2, 3)), requires_grad=True)
    keep = np.array([[1, 0, 1], [0, 0, 1]])
    y = ops.dropout(x, keep, 0.5)
    assert np.array_equal(y.numpy(), 2.0 * keep)
    assert np.array_equal(mv.grad(y, x, np.ones((2, 3))).numpy(), 2.0 * keep)


def test_drop_path_drops_whole_examples():
    x = mv.tensor(np.ones((2, 3, 4), np.float32), requires_grad=True)
    y = ops.drop_path(x, np.array([False, True]), 0.2)
    assert np.array_equal(y.numpy()[0], np.zeros((3, 4)))
    assert np.allclose(y.numpy()[1], 1.25)
    assert y.dtype == np.float32


def test_the_same_mask_gives_the_same_bits(rng):
    x, keep = rng.standard_normal((3, 4)), rng.random((3, 4)) < 0.5
    assert np.array_equal(ops.dropout(x, keep, 0.5).numpy(), ops.dropout(x, keep, 0.5).numpy())


def test_a_mask_broadcasts():
    y = ops.dropout(np.ones((2, 3)), np.array([1.0, 0.0, 1.0]), 0.5)
    assert y.tolist() == [[2.0, 0.0, 2.0]] * 2


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_a_rate_is_a_probability_below_one(rate):
    with pytest.raises(ValueError, match=r"rate must lie in \[0, 1\)"):
        ops.dropout(np.ones(2), np.ones(2), rate)


def test_drop_path_takes_one_number_an_example():
    with pytest.raises(ShapeError, match=r"x \(2, 3\) needs a mask \(2,\), got \(3,\)"):
        ops.drop_path(np.ones((2, 3)), np.ones(3), 0.1)
