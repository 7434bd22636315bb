"""stop_gradient: a visible cut that passes no gradient at any order and lets what is behind it die."""

import weakref

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.errors import GradientError


def leaf(value):
    return mv.tensor(np.asarray(value, np.float64), requires_grad=True)


def test_the_values_are_the_same_and_the_gradient_stops():
    x = leaf([1.0, 2.0])
    y = mv.stop_gradient(x)
    assert np.array_equal(y.numpy(), x.numpy())
    assert not y.requires_grad
    assert y.is_leaf


def test_one_factor_stopped_halves_the_gradient_of_a_square():
    x = leaf([1.0, 2.0])
    (x * mv.stop_gradient(x)).sum().backward()
    assert np.array_equal(x.grad, [1.0, 2.0])


def test_the_loss_still_depends_on_what_was_stopped():
    pred = mv.tensor([[0.0, 1.0, 0.0]])
    losses = {
        value: ops.kl_divergence(target_logits=mv.stop_gradient(mv.tensor([[value, 0.0, -1.0]])), pred_logits=pred)
        for value in (1.0, 2.0)
    }
    assert losses[1.0].item() != losses[2.0].item()


def test_no_gradient_passes_at_any_order():
    x, w = leaf([0.5, 2.0]), leaf([1.0, 3.0])
    y = (w * mv.stop_gradient(x * x).exp() * w).sum()
    dw, dx = mv.grad(y, [w, x], create_graph=True, allow_unused=True)
    assert dx is None
    second, dx = mv.grad(dw.sum(), [w, x], create_graph=True, allow_unused=True)
    assert dx is None
    assert np.allclose(second.numpy(), 2.0 * np.exp(x.data**2))
    assert not second.requires_grad  # nothing is left that depends on w


def test_a_stopped_gradient_is_a_constant_of_the_next_order():
    x = leaf(2.0)
    dx = mv.stop_gradient(mv.grad(x**3, x, create_graph=True))
    assert mv.grad(dx * x, x).item() == 12.0


def test_the_node_says_stop_and_has_no_arrow():
    y = mv.stop_gradient(leaf([1.0]).exp())
    assert y.node.op.name == "stop_gradient"
    assert y.node.edges == ()
    assert y.node.saved_arrays() == []
    assert "from=stop_gradient" in repr(y)


def test_a_stop_is_recorded_under_no_grad_too():
    with mv.no_grad():
        assert mv.stop_gradient(leaf([1.0])).node.op.name == "stop_gradient"


def test_what_is_behind_the_cut_is_freed_at_once(without_collector):
    x = leaf(np.ones(1000))
    hidden = x.tanh()
    teacher = hidden.exp()
    gone = [weakref.ref(hidden), weakref.ref(hidden.node), weakref.ref(teacher.node), weakref.ref(hidden.data)]
    target = mv.stop_gradient(teacher)
    del hidden, teacher
    assert [reference() for reference in gone] == [None] * 4
    (target * x).sum().backward()
    assert np.array_equal(x.grad, target.numpy())


def test_with_and_without_no_grad_the_student_gets_the_same_bits(rng):
    images, w = rng.standard_normal((4, 3)), leaf(rng.standard_normal((5, 3)))

    def gradient(teacher_under_no_grad, stopped):
        if teacher_under_no_grad:
            with mv.no_grad():
                target = ops.linear(images, w)
        else:
            target = ops.linear(images, w)
        if stopped:
            target = mv.stop_gradient(target)
        loss = ops.kl_divergence(target_logits=target, pred_logits=ops.linear(images + 0.1, w)).sum()
        return mv.grad(loss, w).numpy()

    reference = gradient(False, True)
    assert np.abs(reference).max() > 1e-3
    assert np.array_equal(gradient(True, False), reference)
    assert np.array_equal(gradient(True, True), reference)


def test_stop_gradient_as_a_method_is_called_detach():
    assert leaf([1.0]).detach().node.op.name == "stop_gradient"


def test_a_stopped_tensor_that_becomes_a_leaf_gets_its_gradient():
    x = leaf([1.0, 2.0])
    y = mv.stop_gradient(x * 3.0)
    y.requires_grad = True
    (y * y).sum().backward()
    assert np.array_equal(y.grad, [6.0, 12.0])
    assert x.grad is None
    assert np.array_equal(mv.grad((y * y).sum(), y).numpy(), [6.0, 12.0])


def test_stopping_a_constant_or_a_number_is_fine():
    assert mv.stop_gradient(np.ones(2)).shape == (2,)
    with pytest.raises(GradientError):
        mv.stop_gradient(leaf([1.0])).sum().backward()


def test_inside_an_op_the_stop_cuts_only_the_composed_form():
    """softmax subtracts its maximum behind a stop: the derivative is the same, the graph is shorter."""
    x = leaf([[1.0, 3.0, 2.0]])
    with mv.unrolled():
        composed = ops.softmax(x)
    fused = mv.grad(ops.softmax(x), x, np.array([[1.0, 0.0, 0.0]]))
    assert np.allclose(fused.numpy(), mv.grad(composed, x, np.array([[1.0, 0.0, 0.0]])).numpy())
