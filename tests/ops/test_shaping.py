import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError
from minivit.compare import cases

NAMES = (
    "reshape", "flatten", "transpose", "swapaxes", "broadcast_to", "expand_dims", "squeeze",
    "concatenate", "stack", "split", "pad",
)  # fmt: skip


@pytest.mark.parametrize("case", cases(*NAMES), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


def numbered(*shape):
    return mv.tensor(np.arange(float(np.prod(shape))).reshape(shape), requires_grad=True)


@settings(max_examples=40)
@given(shape=array_shapes(min_dims=1, max_dims=4, max_side=3), data=st.data())
def test_transpose_moves_every_element_there_and_its_gradient_back(shape, data):
    axes = data.draw(st.permutations(range(len(shape))))
    x = numbered(*shape)
    y = x.transpose(*axes)
    assert np.array_equal(y.numpy(), x.numpy().transpose(axes))
    dy = np.arange(y.size, dtype=float).reshape(y.shape)
    assert np.array_equal(mv.grad(y, x, dy).numpy(), dy.transpose(np.argsort(axes)))


@settings(max_examples=40)
@given(shape=array_shapes(min_dims=1, max_dims=3, max_side=3), data=st.data(), seed=st.integers(0, 99))
def test_concatenate_and_stack_give_each_its_own_piece(shape, data, seed):
    rng = np.random.default_rng(seed)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    lengths = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    shapes = [(*shape[: axis % len(shape)], n, *shape[axis % len(shape) + 1 :]) for n in lengths]
    xs = [mv.tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]
    y = ops.concatenate(xs, axis)
    assert np.array_equal(y.numpy(), np.concatenate([x.numpy() for x in xs], axis))
    dy = rng.standard_normal(y.shape)
    pieces = np.split(dy, np.cumsum(lengths)[:-1], axis)
    for gradient, piece in zip(mv.grad(y, xs, dy), pieces, strict=True):
        assert np.array_equal(gradient.numpy(), piece)
    same = [numbered(*shape), numbered(*shape)]
    stacked = ops.stack(same, axis)
    assert np.array_equal(stacked.numpy(), np.stack([x.numpy() for x in same], axis))


def test_reshape_infers_one_length():
    x = numbered(2, 3, 4)
    assert x.reshape(-1).shape == (24,)
    assert x.reshape(4, -1).shape == x.reshape((4, -1)).shape == (4, 6)
    assert numbered(0, 3).reshape(-1).shape == (0,)
    assert numbered(1).reshape(()).shape == ()
    assert x.reshape(2, 3, 4) is x
    assert x.flatten().shape == (24,)
    assert x.flatten(1).shape == (2, 12)
    assert x.flatten(-2).shape == (2, 12)
    assert mv.tensor(1.0).flatten().shape == (1,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: x.reshape(5), r"\(2, 3\) has 6 elements, \(5,\) would have 5"),
        (lambda x: x.reshape(4, -1), r"which \(4, -1\) does not divide"),
        (lambda x: x.reshape(-1, -1), "6 elements"),
        (lambda x: x.transpose(0, 0), r"axes \(0, 0\) are no permutation of the 2 axes of \(2, 3\)"),
        (lambda x: x.transpose(0), "no permutation"),
        (lambda x: x.transpose(0, 2), r"axis 2 .*\[-2, 1\]"),
        (lambda x: x.swapaxes(0, 2), r"axis 2 .*\[-2, 1\]"),
        (lambda x: x.squeeze(0), r"axis 0 of \(2, 3\) has size 2, not 1"),
        (lambda x: x.squeeze(5), r"axis 5"),
        (lambda x: x.flatten(3), r"axis 3"),
        (lambda x: ops.expand_dims(x, 4), r"expand_dims: axis 4 for \(2, 3\); it must lie in \[-3, 2\]"),
        (lambda x: ops.split(x, 2, 1), r"axis 1 of \(2, 3\) cannot be cut into 2 equal parts"),
        (lambda x: ops.pad(x, [(1, 1)]), r"1 pairs of widths for the 2 axes"),
        (lambda x: ops.concatenate([]), "at least one tensor"),
        (lambda x: ops.concatenate([x, x.T]), r"\(2, 3\) and \(3, 2\) differ in more than axis 0"),
        (lambda x: ops.concatenate([x, x], 2), "axis 2"),
    ],
)
def test_what_does_not_fit_raises_with_the_shapes(call, message):
    with pytest.raises(ShapeError, match=message):
        call(numbered(2, 3))


def test_what_cannot_be_broadcast_raises():
    with pytest.raises(ValueError, match="broadcast"):
        numbered(2, 3).broadcast_to(2, 4)


def test_broadcast_and_sum_to_are_each_others_adjoint(rng):
    x, y = rng.standard_normal((3, 1)), rng.standard_normal((2, 3, 4))
    left = (ops.broadcast_to(x, (2, 3, 4)).numpy() * y).sum()
    right = (x * mv.ops.sum(mv.ops.sum(y, 0), 1, keepdims=True).numpy()).sum()
    assert np.isclose(left, right)


def test_axes_of_size_one_come_and_go():
    x = numbered(2, 3)
    assert ops.expand_dims(x, 0).shape == (1, 2, 3)
    assert ops.expand_dims(x, -1).shape == (2, 3, 1)
    assert ops.expand_dims(x, 1).squeeze(1).shape == (2, 3)
    assert numbered(1, 2, 1).squeeze().shape == (2,)
    assert mv.tensor(1.0).squeeze().shape == ()


def test_split_is_the_inverse_of_concatenate():
    x = numbered(2, 6)
    parts = ops.split(x, 3, axis=-1)
    assert [part.shape for part in parts] == [(2, 2)] * 3
    assert np.array_equal(ops.concatenate(parts, 1).numpy(), x.numpy())


def test_a_movement_copies_nothing_forward():
    x = numbered(4, 6)
    for view in (x.reshape(6, 4), x.T, x[1:], x.broadcast_to(2, 4, 6), x.swapaxes(0, 1)):
        assert np.shares_memory(view.data, x.data)


def test_pad_surrounds_with_the_value():
    y = ops.pad(mv.tensor([[1.0]]), [(1, 0), (0, 2)], value=7.0)
    assert y.tolist() == [[7.0, 7.0, 7.0], [1.0, 7.0, 7.0]]
