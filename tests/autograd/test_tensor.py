"""A Tensor as an object: what it prints, answers, refuses, and how its values come in and out."""

import copy
import operator
import re

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError, ImmutableTensorError

X = np.arange(6.0).reshape(2, 3)


# In


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, np.float32),
        ([1, 2], np.int64),
        ([True], np.bool_),
        ([[0.5, 1]], np.float32),
        (np.float64(1), np.float64),
        (np.arange(3, dtype=np.float32), np.float32),
        (X, np.float64),
        (mv.tensor([1.0]), np.float32),
    ],
)
def test_the_dtype_of_what_is_given(data, dtype):
    assert mv.tensor(data).dtype == dtype
    assert mv.tensor(data, dtype=np.float64).dtype == np.float64


def test_the_values_are_copied():
    source = X.copy()
    x = mv.tensor(source)
    source[:] = 0.0
    assert np.array_equal(x.numpy(), X)


def test_what_is_no_number_is_refused():
    with pytest.raises(DTypeError, match="expected numbers, got dtype"):
        mv.tensor(["a"])
    with pytest.raises(DTypeError, match="expected numbers"):
        mv.tensor(None)


def test_only_floating_point_tensors_have_gradients():
    with pytest.raises(DTypeError, match=r"needs a floating-point dtype, got int64; pass dtype=numpy\.float32"):
        mv.tensor([1, 2], requires_grad=True)
    assert mv.tensor([1, 2], requires_grad=True, dtype=np.float32).requires_grad


def test_unknown_devices_are_named():
    with pytest.raises(ValueError, match=r"unknown device 'gpu'; expected"):
        mv.tensor(X, device="gpu")
    with pytest.raises(ValueError, match="unknown device"):
        mv.tensor(X).to("tpu")


# Out


def test_numpy_gives_a_read_only_view():
    x = mv.tensor(X, requires_grad=True)
    assert np.shares_memory(x.numpy(), x.data)
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0, 0] = 1.0
    assert x.data.flags.writeable


def test_one_element_becomes_a_number():
    assert mv.tensor([[2.5]]).item() == 2.5
    assert float(mv.tensor(2.5)) == 2.5
    assert int(mv.tensor(2)) == 2
    assert [10, 20, 30][mv.tensor(1)] == 20
    assert mv.tensor(X).tolist() == X.tolist()
    with pytest.raises(ValueError, match=r"item\(\) needs one element, this tensor has shape \(2, 3\)"):
        mv.tensor(X).item()
    with pytest.raises(TypeError, match="only a one-element integer tensor can be an index"):
        [1, 2][mv.tensor(1.0)]


def test_numpy_converts_a_constant_and_refuses_to_lose_a_gradient():
    x = mv.tensor(X)
    assert np.array_equal(np.asarray(x), X)
    assert np.asarray(x, dtype=np.float32).dtype == np.float32
    copy = np.array(x)
    copy[:] = 0.0
    assert np.array_equal(x.numpy(), X)
    with pytest.raises(
        TypeError, match=r"carries gradient, which would silently leave the graph; use tensor\.numpy\(\)"
    ):
        np.asarray(mv.tensor(X, requires_grad=True))


def test_numpy_functions_see_constants_and_refuse_what_carries_gradient():
    x, w = mv.tensor(X), mv.tensor(X, requires_grad=True)
    assert np.mean(x) == X.mean()
    assert np.concatenate([x, X], axis=0).shape == (4, 3)
    assert np.allclose(x, b=X)
    with pytest.raises(TypeError, match=r"numpy\.mean was given a Tensor that carries gradient.*minivit\.ops"):
        np.mean(w)
    with pytest.raises(TypeError, match=r"numpy\.concatenate was given"):
        np.concatenate([x, w])
    with pytest.raises(TypeError):
        np.exp(x)


def test_arrays_come_out_through_dlpack():
    x = mv.tensor(X)
    array = np.from_dlpack(x)
    assert np.array_equal(array, X)
    assert np.shares_memory(array, x.data)
    with pytest.raises(BufferError, match=r"pass tensor\.data"):
        np.from_dlpack(mv.tensor(X, requires_grad=True))


@pytest.mark.reference
def test_pytorch_takes_a_tensor_through_dlpack():
    import torch

    assert torch.from_dlpack(mv.tensor(X)).tolist() == X.tolist()


# What it looks like


def test_repr():
    assert repr(mv.tensor([1.0, 2.0])) == "Tensor([1., 2.], shape=(2,), dtype=float32, device='cpu')"
    w = mv.tensor([[1.0]], requires_grad=True, name="head.weight")
    assert (
        repr(w) == "Tensor([[1.]], name='head.weight', shape=(1, 1), dtype=float32, device='cpu', requires_grad=True)"
    )
    assert repr(w * 2.0).endswith("device='cpu', from=multiply_number)")
    assert repr(mv.tensor(3)) == "Tensor(3, shape=(), dtype=int64, device='cpu')"
    big = repr(mv.tensor(np.zeros((100, 100))))
    assert "..." in big
    assert len(big) < 1000


def test_attributes():
    x = mv.tensor(X)
    assert (x.shape, x.ndim, x.size, x.dtype, x.device) == ((2, 3), 2, 6, np.float64, "cpu")
    assert x.is_leaf
    assert x.to("cpu") is x
    w = mv.tensor(X, requires_grad=True)
    assert w.is_leaf
    assert not (w * 2.0).is_leaf
    assert (x * 2.0).is_leaf


# Truth, length, iteration


def test_the_truth_of_several_values_is_ambiguous():
    assert mv.tensor([True])
    assert not mv.tensor(0.0)
    with pytest.raises(ValueError, match=r"truth value of a tensor of shape \(2, 3\) is ambiguous"):
        bool(mv.tensor(X) > 1.0)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(mv.tensor(np.zeros(0)))


def test_length_and_iteration():
    x = mv.tensor(X, requires_grad=True)
    assert len(x) == 2
    rows = list(x)
    assert [row.tolist() for row in rows] == X.tolist()
    sum(row.sum() * factor for factor, row in enumerate(rows, 1)).backward()
    assert x.grad.tolist() == [[1.0] * 3, [2.0] * 3]
    first, second = x
    assert first.shape == second.shape == (3,)
    with pytest.raises(TypeError, match=r"len\(\) of a tensor without axes"):
        len(mv.tensor(1.0))
    with pytest.raises(TypeError, match="cannot be iterated"):
        iter(mv.tensor(1.0))


def test_a_tensor_is_a_key_by_identity():
    x, y = mv.tensor([1.0]), mv.tensor([1.0])
    assert len({x, y, x}) == 2
    assert {x: "here"}[x] == "here"


# Immutable


def test_assignment_is_refused_and_says_what_to_write():
    x = mv.tensor(X)
    with pytest.raises(ImmutableTensorError, match=r"mv\.ops\.where\(mask, new, old\).*parameter\.data"):
        x[0] = 1.0
    with pytest.raises(ImmutableTensorError):
        del x[0]


@pytest.mark.parametrize(
    ("operation", "instead"),
    [
        (operator.iadd, "x = x + y"),
        (operator.isub, "x = x - y"),
        (operator.imul, "x = x * y"),
        (operator.itruediv, "x = x / y"),
        (operator.ipow, "x = x**y"),
        (operator.imatmul, "x = x @ y"),
    ],
)
def test_in_place_operators_are_refused(operation, instead):
    with pytest.raises(ImmutableTensorError, match=re.escape(f"is refused; write `{instead}`")):
        operation(mv.tensor(X), 2.0)


# What is not there says what is


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("view", r"x\.reshape\(shape\)"),
        ("permute", r"x\.transpose\(axes\)"),
        ("unsqueeze", r"mv\.ops\.expand_dims"),
        ("cuda", r'x\.to\("cuda"\)'),
        ("float", r"x\.astype\(numpy\.float32\)"),
        ("softmax", r"mv\.ops\.softmax\(x\)"),
        ("layer_norm", r"mv\.ops\.layer_norm\(x\)"),
        ("add_", "tensors are immutable"),
        ("std", r"x\.var\(\)\.sqrt\(\)"),
        ("frobnicate", r"without gradient, are x\.numpy\(\)"),
    ],
)
def test_a_missing_attribute_says_what_to_use(name, instead):
    with pytest.raises(AttributeError, match=f"a minivit Tensor has no '{name}'.*{instead}"):
        getattr(mv.tensor(X), name)
    assert not hasattr(mv.tensor(X), name)


def test_every_suggestion_is_about_something_missing():
    from minivit.ops.methods import INSTEAD

    assert not [name for name in INSTEAD if hasattr(mv.tensor(X), name)]
    for name in INSTEAD:
        assert name not in ops.__all__


def test_copying_a_tensor_copies_its_values():
    x = mv.tensor(X, requires_grad=True, name="x")
    y = copy.deepcopy(x)
    assert y is not x
    assert not np.shares_memory(x.data, y.data)
    assert np.array_equal(y.data, X)
    assert y.requires_grad


def test_complex_numbers_are_possible():
    z = mv.tensor(X + 1j)
    assert (z * z).exp().dtype == np.complex128
