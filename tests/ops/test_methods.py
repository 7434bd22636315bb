"""Every method and operator of a Tensor is the function of the same name."""

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError
from minivit.ops.methods import TensorMethods

X = np.array([[0.5, -1.5, 2.0], [1.0, 3.0, -0.25]])
POSITIVE = np.abs(X)

METHODS = {
    "reshape": (lambda x: x.reshape(3, 2), lambda x: ops.reshape(x, (3, 2)), X.reshape(3, 2)),
    "flatten": (lambda x: x.flatten(), ops.flatten, X.ravel()),
    "transpose": (lambda x: x.transpose(1, 0), lambda x: ops.transpose(x, 1, 0), X.T),
    "T": (lambda x: x.T, ops.transpose, X.T),
    "swapaxes": (lambda x: x.swapaxes(0, 1), lambda x: ops.swapaxes(x, 0, 1), X.T),
    "squeeze": (lambda x: x[:1].squeeze(0), lambda x: ops.squeeze(x[:1], 0), X[0]),
    "broadcast_to": (lambda x: x.broadcast_to(2, 2, 3), lambda x: ops.broadcast_to(x, 2, 2, 3), np.stack([X, X])),
    "sum": (lambda x: x.sum(0, keepdims=True), lambda x: ops.sum(x, 0, True), X.sum(0, keepdims=True)),
    "mean": (lambda x: x.mean(axis=1), lambda x: ops.mean(x, 1), X.mean(1)),
    "var": (lambda x: x.var(correction=1), lambda x: ops.var(x, correction=1), X.var(ddof=1)),
    "max": (lambda x: x.max(-1), lambda x: ops.max(x, -1), X.max(-1)),
    "min": (lambda x: x.min(), ops.min, X.min()),
    "abs": (lambda x: x.abs(), ops.absolute, np.abs(X)),
    "clip": (lambda x: x.clip(-1.0, 1.0), lambda x: ops.clip(x, -1.0, 1.0), X.clip(-1, 1)),
    "exp": (lambda x: x.exp(), ops.exp, np.exp(X)),
    "tanh": (lambda x: x.tanh(), ops.tanh, np.tanh(X)),
    "erf": (lambda x: x.erf(), ops.erf, None),
    "log": (lambda x: x.abs().log(), lambda x: ops.log(abs(x)), np.log(POSITIVE)),
    "sqrt": (lambda x: x.abs().sqrt(), lambda x: ops.sqrt(abs(x)), np.sqrt(POSITIVE)),
}
CONSTANTS = {
    "argmax": (lambda x: x.argmax(0), X.argmax(0)),
    "argmin": (lambda x: x.argmin(), X.argmin()),
    "astype": (lambda x: x.astype(np.float32), X.astype(np.float32)),
    "any": (lambda x: (x > 2.5).any(), True),
    "all": (lambda x: (x > 2.5).all(), False),
}


def test_every_method_is_in_the_tables():
    public = {name for name in vars(TensorMethods) if not name.startswith("_")}
    assert public == {*METHODS, *CONSTANTS}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_function_of_its_name(name):
    method, function, expected = METHODS[name]
    x = mv.tensor(X, requires_grad=True)
    ours, same = method(x), function(x)
    assert np.array_equal(ours.numpy(), same.numpy())
    if expected is not None:
        assert np.allclose(ours.numpy(), expected, rtol=1e-15)
    dy = np.arange(1.0, ours.size + 1.0).reshape(ours.shape)
    assert np.array_equal(mv.grad(ours, x, dy).numpy(), mv.grad(same, x, dy).numpy())


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_method_without_gradient(name):
    method, expected = CONSTANTS[name]
    y = method(mv.tensor(X))
    assert isinstance(y, mv.Tensor)
    assert np.array_equal(y.numpy(), expected)


# Comparisons and bools


def test_comparisons_give_constant_bools():
    x, y = mv.tensor([1.0, 2.0, 3.0], requires_grad=True), np.array([2.0, 2.0, 2.0], np.float32)
    for ours, expected in (
        (x < y, [True, False, False]),
        (x <= y, [True, True, False]),
        (x > y, [False, False, True]),
        (x >= 2, [False, True, True]),
        (x == mv.tensor(y), [False, True, False]),
        (x != 2.0, [True, False, True]),
        (y < x, [False, False, True]),
        (y == x, [False, True, False]),
    ):
        assert isinstance(ours, mv.Tensor)
        assert ours.dtype == np.bool_
        assert not ours.requires_grad
        assert ours.tolist() == expected


def test_comparison_with_none_and_strings_is_about_identity():
    x = mv.tensor([1.0])
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    assert (x == "x") is False
    with pytest.raises(TypeError):
        x < None  # noqa: B015


def test_bools_combine():
    a, b = mv.tensor([True, True, False]), mv.tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (a | b).tolist() == [True, True, False]
    assert (a ^ b).tolist() == [False, True, False]
    assert (~a).tolist() == [False, False, True]
    assert (True & b).tolist() == [True, False, False]
    assert (np.array([True, True, True]) & b).tolist() == [True, False, False]
    assert (~mv.tensor([1, 2])).tolist() == [-2, -3]
    assert ((mv.tensor([1.0, 3.0]) > 2) & (mv.tensor([1.0, 3.0]) < 4)).tolist() == [False, True]


def test_bool_operators_on_floats_say_what_to_write():
    x = mv.tensor([1.0])
    for combine in (lambda: x & x, lambda: x | True, lambda: ~x):
        with pytest.raises(DTypeError, match="combines bools or integers, got float32; compare first"):
            combine()


def test_any_and_all_answer_an_if():
    x = mv.tensor([1.0, 2.0])
    assert (x > 1.5).any()
    assert not (x > 1.5).all()


def test_a_tensor_asked_for_membership():
    assert 2.0 in mv.tensor([1.0, 2.0])
    assert 5.0 not in mv.tensor([1.0, 2.0])
