"""Tests of minivit/nn/parameter.py."""

import numpy as np
import pytest

import minivit as mv
from minivit import nn
from minivit.autograd.errors import DTypeError, ModifiedInPlaceError, ShapeError


def test_a_parameter_is_a_leaf_that_wants_a_gradient():
    parameter = nn.Parameter(np.ones(3, np.float32), name="weight")
    assert parameter.requires_grad
    assert parameter.is_leaf
    (parameter * 2).sum().backward()
    np.testing.assert_array_equal(parameter.grad, [2, 2, 2])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_a_parameter_must_be_floating_point(dtype):
    with pytest.raises(DTypeError, match=r"floating-point numbers, got (int64|uint8|bool) \(3,\)"):
        nn.Parameter(np.ones(3, dtype))


def test_assign_writes_in_place_and_counts_a_version():
    parameter = nn.Parameter(np.zeros(3, np.float32))
    memory, version = parameter.data, parameter.version
    parameter.assign(np.array([1.0, 2.0, 3.0]))
    assert parameter.data is memory
    assert parameter.version == version + 1
    np.testing.assert_array_equal(memory, [1, 2, 3])


def test_assign_does_not_broadcast():
    parameter = nn.Parameter(np.zeros((2, 3), np.float32), name="head.weight")
    with pytest.raises(ShapeError, match=r"parameter head\.weight has shape \(2, 3\), the new values have \(3,\)"):
        parameter.assign(np.ones(3, np.float32))


def test_a_write_between_forward_and_backward_is_noticed():
    weight = nn.Parameter(np.ones((2, 2), np.float32), name="weight")
    loss = mv.ops.linear(mv.tensor([[1.0, 2.0]], requires_grad=True), weight, None).sum()
    weight.assign(np.zeros((2, 2), np.float32))
    with pytest.raises(ModifiedInPlaceError, match="weight was changed"):
        loss.backward()


def test_replace_brings_the_gradient_along_and_leaves_the_flat_buffer():
    layer = nn.Linear(2, 3)
    flat = nn.FlatParameters(layer)
    layer.weight.gradient_buffer[...] = 2.0
    layer.weight.grad = layer.weight.gradient_buffer
    layer.weight.replace(layer.weight.data.astype(np.float64))
    assert layer.weight.grad.dtype == np.float64
    assert layer.weight.gradient_buffer is None
    assert not np.shares_memory(layer.weight.grad, flat.grad)
    np.testing.assert_array_equal(layer.weight.grad, np.full((3, 2), 2.0))
