"""Gradients of gradients, through grad(..., create_graph=True)."""

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.errors import GradientError


def leaf(value):
    return mv.tensor(np.asarray(value, np.float64), requires_grad=True)


@pytest.mark.parametrize(
    ("function", "derivatives"),
    [
        (lambda x: x**4, [lambda x: 4 * x**3, lambda x: 12 * x**2, lambda x: 24 * x, lambda x: 24 + 0 * x]),
        (lambda x: x * x * x, [lambda x: 3 * x**2, lambda x: 6 * x, lambda x: 6 + 0 * x]),
        (ops.exp, [np.exp] * 4),
        (ops.sin, [np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin]),
        (lambda x: 1.0 / x, [lambda x: -(x**-2), lambda x: 2 * x**-3, lambda x: -6 * x**-4]),
        (
            ops.tanh,
            [
                lambda x: 1 - np.tanh(x) ** 2,
                lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2),
                lambda x: (1 - np.tanh(x) ** 2) * (6 * np.tanh(x) ** 2 - 2),
            ],
        ),
        (lambda x: ops.log(x) * x, [lambda x: np.log(x) + 1, lambda x: 1 / x, lambda x: -1 / x**2]),
    ],
)
def test_derivatives_of_every_order(function, derivatives):
    x = leaf([0.3, 0.9, 2.0])
    y = function(x)
    for derivative in derivatives:
        y = mv.grad(y, x, np.ones(3), create_graph=True)
        assert np.allclose(y.numpy(), derivative(x.data), rtol=1e-12)


def test_gelu_three_times():
    x = leaf([-1.2, 0.3, 1.7])
    density = np.exp(-(x.data**2) / 2) / np.sqrt(2 * np.pi)
    first = mv.grad(ops.gelu(x), x, np.ones(3), create_graph=True)
    second = mv.grad(first, x, np.ones(3), create_graph=True)
    third = mv.grad(second, x, np.ones(3))
    assert np.allclose(second.numpy(), density * (2 - x.data**2), rtol=1e-12)
    assert np.allclose(third.numpy(), density * (x.data**3 - 4 * x.data), rtol=1e-12)


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "layer_norm", "attention", "gelu"])
def test_third_order_of_a_fused_op_equals_that_of_its_composed_form(op, rng):
    x, v, w, dy = rng.standard_normal((4, 3, 4))
    functions = {
        "softmax": ops.softmax,
        "log_softmax": ops.log_softmax,
        "layer_norm": lambda x: ops.layer_norm(x, np.arange(4.0), np.ones(4)),
        "attention": lambda x: ops.attention(x, x * x, x + 1.0),
        "gelu": ops.gelu,
    }

    def third():
        a = leaf(x)
        first = mv.grad(functions[op](a), a, dy, create_graph=True)
        second = mv.grad(first, a, v, create_graph=True)
        return mv.grad(second, a, w).numpy()

    fused = third()
    with mv.unrolled():
        composed = third()
    assert np.abs(composed).max() > 1e-3
    assert np.allclose(fused, composed, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: (x @ w).tanh(),
        lambda x, w: (x / (w.sum() * w.sum() + 1.0)).exp(),
        lambda x, w: ops.softmax(x @ w) * x,
        lambda x, w: ops.concatenate([x, w], 0)[1:4].T @ x,
        lambda x, w: ops.where(x > 0, x * x, x * w),
        lambda x, w: (x[:, [0, 0, 2]] * w).max(axis=0),
        lambda x, w: ops.logsumexp(x * w, axis=(0, 1)) * ops.var(x, axis=1),
    ],
)
def test_second_order_of_an_expression_is_what_differences_say(function, rng):
    mv.check_gradients(function, rng.standard_normal((3, 3)), rng.standard_normal((3, 3)), order=2)


def test_a_gradient_penalty_trains_the_weights_it_should(rng):
    """|d loss / d x|^2 as part of a loss: the double backward that users ask for."""
    x, w = leaf(rng.standard_normal((4, 3))), leaf(rng.standard_normal((2, 3)))

    def penalty(w):
        loss = (ops.linear(x, w).tanh() ** 2).sum()
        dx = mv.grad(loss, x, create_graph=True)
        return (dx * dx).sum()

    mv.check_gradients(penalty, w)
    penalty(w).backward()  # through .backward() as well
    assert np.allclose(w.grad, mv.grad(penalty(w), w).numpy())


def test_a_hessian_is_symmetric_and_right():
    x = leaf([0.5, -1.0, 2.0])
    (first,) = mv.grad((x[0] * x[1] ** 2 * x[2]).reshape(1), [x], create_graph=True)
    hessian = np.stack([mv.grad(first, x, row, retain_graph=True).numpy() for row in np.eye(3)])
    a, b, c = x.data
    assert np.allclose(hessian, [[0, 2 * b * c, b * b], [2 * b * c, 2 * a * c, 2 * a * b], [b * b, 2 * a * b, 0]])


def test_the_forward_mode_product_comes_from_differentiating_by_the_cotangent(rng):
    x, v = rng.standard_normal((2, 3, 4))
    a, dy = leaf(x), leaf(np.zeros((3, 4)))
    dx = mv.grad(ops.softmax(a), a, dy, create_graph=True)
    jacobian_v = mv.grad(dx, dy, v).numpy()
    h = 1e-5
    forward = [ops.softmax(mv.tensor(x + step * v)).numpy() for step in (h, -h)]
    assert np.allclose(jacobian_v, (forward[0] - forward[1]) / (2 * h), atol=1e-9)


def test_create_graph_works_under_no_grad():
    x = leaf(2.0)
    y = x**3 + x**2
    with mv.no_grad():
        first = mv.grad(y, x, create_graph=True)
    assert first.requires_grad
    assert mv.grad(first, x).item() == 6.0 * 2.0 + 2.0


def test_without_create_graph_a_gradient_is_a_constant():
    x = leaf(2.0)
    assert not mv.grad(x**3, x).requires_grad


def test_the_gradient_of_a_linear_function_has_no_gradient():
    x = leaf([1.0, 2.0])
    dx = mv.grad((3.0 * x).sum(), x, create_graph=True)
    with pytest.raises(GradientError):
        mv.grad(dx.sum(), x)


def test_create_graph_keeps_the_graph_by_default_and_may_free_it():
    x = leaf(2.0)
    y = x**3
    mv.grad(y, x, create_graph=True)
    mv.grad(y, x, create_graph=True, retain_graph=False)
    with pytest.raises(GradientError, match="a second time"):
        mv.grad(y, x)


def test_values_are_recomputed_from_leaves_and_constants_alone(rng):
    """The first-order graph keeps only what its own backward uses; create_graph has to find the rest again."""
    x, constant = leaf(rng.standard_normal((2, 3))), rng.standard_normal((2, 3))
    h = x + constant  # an addition keeps nothing
    assert h.node.saved_arrays() == []
    y = (h.exp() * h).sum()
    dx = mv.grad(y, x, create_graph=True)
    expected = np.exp(x.data + constant) * (x.data + constant + 2.0)
    assert np.allclose(mv.grad(dx, x, np.ones((2, 3))).numpy(), expected)
