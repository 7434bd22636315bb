"""Nothing outlives its last reference: no cycles, with the garbage collector switched off."""

import gc
import weakref

import numpy as np
import pytest

import minivit as mv
from minivit import nn, ops
from minivit.autograd import Node, Tensor

pytestmark = pytest.mark.usefixtures("without_collector")


def alive(kind):
    return sum(issubclass(type(x), kind) for x in gc.get_objects())  # asking x itself could run its code


def network(x, w, b):
    h = ops.layer_norm(x, w[0], b)
    h = h + ops.gelu(ops.linear(h, w, b))
    return ops.cross_entropy(h, np.array([0, 1, 2]))


def leaves(rng):
    return [mv.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 4), (4, 4), (4,))]


def test_a_dropped_graph_is_gone(rng):
    x, w, b = leaves(rng)
    before = alive(Node), alive(Tensor)
    for _ in range(10):
        network(x, w, b)
    assert (alive(Node), alive(Tensor)) == before


def test_a_hundred_steps_leave_nothing(rng):
    x, w, b = leaves(rng)
    before = alive(Node), alive(Tensor)
    for _ in range(100):
        network(x, w, b).backward()
    assert (alive(Node), alive(Tensor)) == before


def test_second_order_leaves_nothing(rng):
    x, w, b = leaves(rng)
    before = alive(Node), alive(Tensor)
    for _ in range(10):
        dx = mv.grad(network(x, w, b), x, create_graph=True)
        dw = mv.grad((dx * dx).sum(), w, create_graph=True)
        (dw * dw).sum().backward()
        del dx, dw
    assert (alive(Node), alive(Tensor)) == before


def test_an_exception_in_a_backward_leaves_nothing(rng):
    class Breaks(mv.Op):
        def forward(F, x):
            return x * 1.0

        def backward(F, dy, saved, x):
            raise ValueError("planted")

    x = mv.tensor(rng.standard_normal(3), requires_grad=True)
    before = alive(Node), alive(Tensor)
    for _ in range(5):
        with pytest.raises(ValueError, match="planted"):
            mv.autograd.apply(Breaks, x * 2.0).sum().backward()
    assert (alive(Node), alive(Tensor)) == before


def test_unrolled_ops_and_hooks_leave_nothing(rng):
    x, w, b = leaves(rng)
    before = alive(Node), alive(Tensor)
    with mv.unrolled(), mv.autograd.hooked(mv.autograd.Hook()):
        network(x, w, b).backward()
    assert (alive(Node), alive(Tensor)) == before


def test_backward_frees_activations_while_the_loss_is_still_held(rng):
    x = mv.tensor(rng.standard_normal(100), requires_grad=True)
    h = x.tanh()
    activation = weakref.ref(h.data)
    loss = (h * h).sum()
    del h
    assert activation() is not None
    loss.backward()
    assert activation() is None


def test_a_node_keeps_only_what_its_backward_needs(rng):
    a = mv.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    b = mv.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    for result in (a + b, a - b, -a, a * 2.0, a.sum(), a.reshape(4, 3), a.T, ops.concatenate([a, b])):
        assert result.node.saved_arrays() == []
    assert [array is b.data or array is a.data for array in (a * b).node.saved_arrays()] == [True, True]
    y = ops.softmax(a)
    assert len(y.node.saved_arrays()) == 1  # its own output


def test_without_gradient_nothing_is_kept(rng):
    a, b = rng.standard_normal((2, 3, 4))
    assert (mv.tensor(a) * mv.tensor(b)).node is None
    with mv.no_grad():
        assert ops.softmax(mv.tensor(a, requires_grad=True)).node is None


def test_a_training_step_of_a_model_leaves_nothing(rng):
    layer = nn.Linear(4, 3)
    x = rng.standard_normal((5, 4)).astype(np.float32)

    def step():
        loss = ops.cross_entropy(layer(mv.tensor(x)), np.array([0, 1, 2, 0, 1]))
        loss.backward()
        layer.zero_grad()
        return loss.item()

    step()
    before = alive(Node), alive(Tensor)
    for _ in range(5):
        step()
    assert (alive(Node), alive(Tensor)) == before
