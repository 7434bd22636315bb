"""One text, three interpreters: the same names over arrays, over Tensors and over complex arrays."""

import numpy as np
import pytest

import minivit as mv
from minivit.backend import backend_of
from minivit.backend.namespace import ArrayNamespace
from minivit.ops.namespace import TensorNamespace

ARRAYS = backend_of(np.ones(1)).F
TENSORS = TensorNamespace()
RNG = np.random.default_rng(3)
X = RNG.standard_normal((2, 3))
IMAGE = RNG.standard_normal((2, 1, 4, 5))
KEY = np.array([1, 0, 1])

CALLS = {
    "exp": lambda F, x: F.exp(x),
    "log": lambda F, x: F.log(x * x + 1.0),
    "sqrt": lambda F, x: F.sqrt(x * x + 1.0),
    "sin": lambda F, x: F.sin(x),
    "cos": lambda F, x: F.cos(x),
    "tanh": lambda F, x: F.tanh(x),
    "erf": lambda F, x: F.erf(x),
    "abs": lambda F, x: F.abs(x),
    "sign": lambda F, x: F.sign(x),
    "isfinite": lambda F, x: F.isfinite(x),
    "maximum": lambda F, x: F.maximum(x, 0.1),
    "where": lambda F, x: F.where(x > 0, x, 0.0),
    "cast": lambda F, x: F.cast(x, np.float64),
    "reshape": lambda F, x: F.reshape(x, (3, 2)),
    "transpose": lambda F, x: F.transpose(x, (1, 0)),
    "swapaxes": lambda F, x: F.swapaxes(x, 0, -1),
    "broadcast_to": lambda F, x: F.broadcast_to(x, (4, 2, 3)),
    "sum_to": lambda F, x: F.sum_to(x, (3,)),
    "sum": lambda F, x: F.sum(x, 0),
    "mean": lambda F, x: F.mean(x, (0, 1)),
    "max": lambda F, x: F.max(x, -1),
    "first_maximum": lambda F, x: F.first_maximum(x, -1),
    "concatenate": lambda F, x: F.concatenate([x, x], 1),
    "stack": lambda F, x: F.stack([x, x], 1),
    "pad": lambda F, x: F.pad(x, ((1, 0), (0, 2)), 3.0),
    "take": lambda F, x: F.take(x, (slice(None), KEY)),
    "place": lambda F, x: F.place(x, (slice(None), KEY), (2, 4)),
    "stop": lambda F, x: F.stop(x),
    "zeros_like": lambda F, x: F.zeros_like(x),
    "ones_like": lambda F, x: F.ones_like(x),
    "unfold": lambda F, x: F.unfold(F.reshape(x, (1, 1, 2, 3)), (2, 2), (1, 1)),
    "fold": lambda F, x: F.fold(F.reshape(x, (1, 1, 1, 3, 2, 1)), (1, 1, 2, 3), (1, 1)),
}
OTHERS = {"xp", "size", "one_hot"}  # no functions of one array of numbers: below


def names(namespace):
    return {name for name in dir(namespace) if not name.startswith("_")}


def test_both_namespaces_have_the_same_names():
    assert names(ARRAYS) - {"xp"} == names(TENSORS)


def test_every_name_is_in_the_table():
    assert names(ARRAYS) == {*CALLS, *OTHERS}


@pytest.mark.parametrize("name", CALLS)
def test_tensors_give_the_numbers_that_arrays_give(name):
    ours = CALLS[name](TENSORS, mv.tensor(X))
    expected = CALLS[name](ARRAYS, X)
    assert isinstance(ours, mv.Tensor)
    assert ours.dtype == expected.dtype
    assert np.array_equal(ours.numpy(), expected)


@pytest.mark.parametrize("name", sorted(set(CALLS) - {"cast", "isfinite"}))
def test_complex_numbers_carry_the_derivative_through(name):
    """Im F(x + i h v) / h is the derivative along v, for every name that has one."""
    h, v = 1e-20, RNG.standard_normal(X.shape)
    stepped = CALLS[name](ARRAYS, X + 1j * h * v)
    smooth = (CALLS[name](ARRAYS, X + 1e-6 * v) - CALLS[name](ARRAYS, X - 1e-6 * v)) / 2e-6
    assert np.allclose(stepped.imag / h, smooth, rtol=1e-7, atol=1e-8)
    assert np.allclose(stepped.real, CALLS[name](ARRAYS, X), rtol=1e-15)


def test_one_hot_is_made_by_comparison():
    labels = np.array([2, 0])
    for F, given in ((ARRAYS, labels), (TENSORS, mv.tensor(labels))):
        rows = F.one_hot(given, 3, np.float32)
        assert rows.dtype == np.float32
        assert np.asarray(rows).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def test_size_counts_elements_along_axes():
    for F in (ARRAYS, TENSORS):
        assert F.size((2, 3, 4)) == 24
        assert F.size((2, 3, 4), -1) == 4
        assert F.size((2, 3, 4), (0, 2)) == 8


def test_sum_to_is_the_adjoint_of_broadcasting():
    assert ArrayNamespace.sum_to(ARRAYS, np.ones((2, 3)), (2, 3)).shape == (2, 3)
    assert ArrayNamespace.sum_to(ARRAYS, np.ones((4, 2, 3)), (2, 1)).tolist() == [[12.0], [12.0]]
    assert ArrayNamespace.sum_to(ARRAYS, np.ones((1, 1)), ()).shape == ()
    assert ArrayNamespace.sum_to(ARRAYS, np.ones((0, 3)), (3,)).tolist() == [0.0] * 3
