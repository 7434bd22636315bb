"""`grad`: gradients of anything in a graph, delivered to nobody else."""

import numpy as np
import pytest

import minivit as mv
from minivit.autograd.errors import GradientError


def leaf(value, **options):
    return mv.tensor(np.asarray(value, np.float64), requires_grad=True, **options)


def test_grad_leaves_every_grad_alone():
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    dx, dw = mv.grad((x * w).sum(), [x, w])
    assert np.array_equal(dx.numpy(), [3.0, 4.0])
    assert np.array_equal(dw.numpy(), [1.0, 2.0])
    assert x.grad is None
    assert w.grad is None


def test_grad_with_respect_to_one_tensor_is_one_tensor():
    x = leaf([1.0, 2.0])
    assert isinstance(mv.grad((x * x).sum(), x), mv.Tensor)
    assert isinstance(mv.grad((x * x).sum(), [x]), tuple)


def test_grad_with_respect_to_the_middle_of_a_graph():
    x = leaf([0.5, 2.0])
    h = x * x
    y = (h.exp() + h).sum()
    dh, dx = mv.grad(y, [h, x])
    assert np.allclose(dh.numpy(), np.exp(x.data**2) + 1.0)
    assert np.allclose(dx.numpy(), dh.numpy() * 2.0 * x.data)


def test_grad_with_respect_to_the_output_itself_and_to_a_leaf_that_is_the_output():
    x = leaf([0.5, 2.0])
    y = x * 2.0
    dy = np.array([3.0, 4.0])
    assert np.array_equal(mv.grad(y, y, dy).numpy(), dy)
    assert np.array_equal(mv.grad(x, x, dy).numpy(), dy)
    x.backward(dy)
    assert np.array_equal(x.grad, dy)


def test_the_same_input_asked_for_twice():
    x = leaf([0.5, 2.0])
    first, second = mv.grad((x * x).sum(), [x, x])
    assert np.array_equal(first.numpy(), second.numpy())


def test_an_input_that_was_not_used():
    x, unused = leaf([1.0]), leaf([1.0], name="unused")
    with pytest.raises(GradientError, match=r"no gradient reaches input 1 unused.*allow_unused=True"):
        mv.grad((x * x).sum(), [x, unused])
    dx, nothing = mv.grad((x * x).sum(), [x, unused], allow_unused=True)
    assert nothing is None
    assert dx.item() == 2.0


def test_an_input_without_gradient():
    x, constant = leaf([1.0]), mv.tensor([1.0], dtype=np.float64)
    with pytest.raises(GradientError, match="input 1  does not require gradient"):
        mv.grad((x * constant).sum(), [x, constant])
    assert mv.grad((x * constant).sum(), [x, constant], allow_unused=True)[1] is None


def test_an_output_without_gradient():
    with pytest.raises(GradientError, match=r"backward\(\) on a tensor that carries no gradient"):
        mv.tensor([1.0]).sum().backward()
    with mv.no_grad():
        y = leaf([1.0]) * 2.0
    with pytest.raises(GradientError, match=r"no_grad\(\)"):
        y.backward()


def test_a_cotangent_has_the_outputs_shape_and_dtype():
    y = leaf([1.0, 2.0]) * 2.0
    with pytest.raises(GradientError, match=r"reduce it first \(\.sum\(\), \.mean\(\)\) or pass grad_output"):
        y.backward()
    with pytest.raises(GradientError, match=r"\(2,\) float64; got \(3,\) float64"):
        y.backward(np.ones(3))
    with pytest.raises(GradientError, match=r"\(2,\) float64; got \(2,\) float32"):
        y.backward(np.ones(2, np.float32))


def test_a_number_is_a_cotangent_for_an_output_of_one_element():
    x = leaf([1.0, 2.0])
    (x * x).sum().backward(0.5)
    assert np.array_equal(x.grad, [1.0, 2.0])
    assert mv.grad((x * x).sum(axis=0, keepdims=True), x, 2, create_graph=True).numpy().tolist() == [4.0, 8.0]
