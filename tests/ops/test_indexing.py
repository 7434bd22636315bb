import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, basic_indices, integer_array_indices

import minivit as mv
from minivit import ops
from minivit.compare import cases


@pytest.mark.parametrize("case", cases("take", "place"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


def check(shape, key, seed):
    """Value as NumPy's; gradient as the definition says: add dy where the element came from."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape)
    x = mv.tensor(values, requires_grad=True)
    y = x[key]
    expected = values[key]
    assert y.shape == np.shape(expected)
    assert np.array_equal(y.numpy(), expected)
    dy = rng.standard_normal(y.shape)
    source = np.arange(x.size).reshape(shape)[key]
    dx = np.bincount(np.ravel(source), weights=np.ravel(dy), minlength=x.size).reshape(shape)
    gradient = mv.grad(y, x, dy).numpy()
    assert gradient.dtype == np.float64
    assert np.allclose(gradient, dx, rtol=1e-14, atol=1e-14)


@settings(max_examples=100)
@given(shape=array_shapes(min_dims=1, max_dims=4, max_side=4), data=st.data(), seed=st.integers(0, 99))
def test_slices_integers_ellipsis_and_new_axes(shape, data, seed):
    check(shape, data.draw(basic_indices(shape, allow_newaxis=True, max_dims=6)), seed)


@settings(max_examples=50)
@given(shape=array_shapes(min_dims=1, max_dims=3, max_side=4), data=st.data(), seed=st.integers(0, 99))
def test_integer_arrays_repeated_or_not(shape, data, seed):
    check(shape, data.draw(integer_array_indices(shape)), seed)


@settings(max_examples=50)
@given(shape=array_shapes(min_dims=1, max_dims=3, max_side=4), data=st.data(), seed=st.integers(0, 99))
def test_masks(shape, data, seed):
    check(shape, data.draw(arrays(np.bool_, shape)), seed)


@pytest.mark.parametrize(
    "key",
    [[0, 0, 1], (slice(None), [2, 0]), (np.array([[0], [1]]), np.array([0, 2])), (..., 0), None, np.int64(1), True],
)
def test_keys_people_write(key):
    check((2, 3), key, 0)


def test_tensors_as_keys():
    x = mv.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert x[mv.tensor([1, 0])].tolist() == [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
    assert x[x > 3.0].tolist() == [4.0, 5.0]
    assert x[mv.tensor([0, 1]), mv.tensor([2, 2])].tolist() == [2.0, 5.0]


def test_a_row_taken_twice_gets_both_gradients():
    x = mv.tensor(np.ones((3, 2)), requires_grad=True)
    x[np.array([1, 1, 2])].sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]]


def test_take_and_place_are_each_others_adjoint(rng):
    key, x, y = np.array([2, 0, 2]), rng.standard_normal(4), rng.standard_normal(3)
    assert np.isclose((ops.take(x, key).numpy() * y).sum(), (x * ops.place(y, key, (4,)).numpy()).sum())


def test_a_key_that_does_not_fit_raises_with_the_users_line():
    with pytest.raises(IndexError, match="out of bounds") as caught:
        mv.tensor([1.0, 2.0])[5]
    assert "test_indexing.py:" in caught.value.__notes__[0]
