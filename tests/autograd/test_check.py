"""The gradient checker: it accepts what is right and rejects planted mistakes, with a message that finds them."""

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError, GradientCheckError

RNG = np.random.default_rng(11)
X = RNG.standard_normal((3, 4))


class WrongSquare(mv.Op):
    """y = x^2 with a mistake of the test's choice in the backward."""

    keeps = ("x",)

    @staticmethod
    def forward(F, x, *, mistake):
        return x * x

    @staticmethod
    def backward(F, dy, saved, x, *, mistake):
        dx = 2.0 * dy * x
        if mistake == "sign":
            return (-dx,)
        if mistake == "factor":
            return (3.0 * dx,)
        if mistake == "zero":
            return (0.0 * dx,)
        if mistake == "constant":
            return (F.ones_like(x),)
        if mistake == "entry":
            return (dx + F.where(x == F.max(x, (0, 1)), 1.0, 0.0),)
        if mistake == "nan":
            return (dx + F.where(x == F.max(x, (0, 1)), float("nan"), 0.0),)
        if mistake == "second order":
            return (2.0 * dy * F.stop(x),)
        return (dx,)


def square(mistake):
    def squared(x):
        return mv.autograd.apply(WrongSquare, x, mistake=mistake)

    return squared


def test_a_right_gradient_passes_and_is_reported():
    report = mv.check_gradients(square(None), X)
    (row,) = report.arguments
    assert report.largest_error == row.difference_error < 1e-9
    assert row.complex_step_error < 1e-14
    assert row.largest_gradient > 0.1
    assert "argument 0 'x'" in str(report)
    assert "complex step" in str(report)


@pytest.mark.parametrize(
    ("mistake", "hint"),
    [
        ("sign", "off by the factor -1"),
        ("factor", "off by the factor 3"),
        ("zero", "zero everywhere"),
        ("constant", "12 of 12 entries differ"),
        ("entry", "1 of 12 entries differ"),
        ("nan", "1 of 12 entries differ"),
    ],
)
def test_a_planted_mistake_is_rejected_and_described(mistake, hint):
    with pytest.raises(GradientCheckError, match=hint):
        mv.check_gradients(square(mistake), X)


def test_the_message_names_function_argument_index_values_step_and_seed():
    index = tuple(int(i) for i in np.unravel_index(np.argmax(X), X.shape))
    with pytest.raises(GradientCheckError) as caught:
        mv.check_gradients(square("entry"), X, seed=7)
    message = str(caught.value)
    assert "squared: the gradient of argument 0 'x' is wrong" in message
    assert f"At index {index}" in message
    cotangent = np.random.default_rng(7).standard_normal(X.shape)[index]
    assert f"gives {2 * cotangent * X[index] + 1:.9g}" in message
    assert f"central differences {2 * cotangent * X[index]:.5g}" in message
    assert "eps=0.0001" in message
    assert "seed=7" in message


def test_the_wrong_argument_of_several_is_named():
    class Product(mv.Op):
        keeps = ("a", "b")

        @staticmethod
        def forward(F, a, b):
            return a * b

        @staticmethod
        def backward(F, dy, saved, a, b):
            return dy * b, dy * b

    with pytest.raises(GradientCheckError, match="argument 1"):
        mv.check_gradients(lambda a, b: mv.autograd.apply(Product, a, b), X, X + 1.0)


def test_one_wrong_entry_of_many_is_found_along_a_random_direction():
    x = RNG.standard_normal((40, 50))
    index = np.unravel_index(np.argmax(x), x.shape)
    with pytest.raises(GradientCheckError, match=rf"At index \({index[0]}, {index[1]}\)"):
        mv.check_gradients(square("entry"), x, max_entries=3)


@pytest.mark.parametrize("x", [X, RNG.standard_normal((40, 50))], ids=["every entry", "a sample of them"])
def test_second_order_only_mistakes_pass_at_first_order_and_fail_at_second(x):
    mv.check_gradients(square("second order"), x, max_entries=20)
    with pytest.raises(GradientCheckError, match=r"the gradient of .*squared"):
        mv.check_gradients(square("second order"), x, order=2, max_entries=20)


def test_second_order_passes_where_it_is_right():
    report = mv.check_gradients(ops.layer_norm, X, RNG.standard_normal(4), RNG.standard_normal(4), order=2)
    assert report.largest_error < 1e-8
    assert all(row.complex_step_error < 1e-12 for row in report.arguments)


def test_second_order_of_a_linear_function_is_refused():
    with pytest.raises(GradientCheckError, match="linear"):
        mv.check_gradients(lambda x: 3.0 * x, X, order=2)


@pytest.mark.parametrize("function", [ops.softmax, lambda x: ops.layer_norm(x, np.ones(4), np.zeros(4))])
def test_a_constant_cotangent_would_check_nothing_and_is_refused(function):
    with pytest.raises(ValueError, match="all entries of grad_output are equal"):
        mv.check_gradients(function, X, grad_output=np.ones((3, 4)))
    # ... also where it hides in the function: the sum of a softmax is constant, whatever its backward says
    with pytest.raises(GradientCheckError, match="any backward would pass"):
        mv.check_gradients(lambda x: function(x).sum(), X)


def test_a_zero_gradient_has_to_be_declared_and_a_declared_one_has_to_be_zero():
    q, k, v = RNG.standard_normal((3, 3, 4))

    def with_key_bias(q, k, v, bias):
        return ops.attention(q, k + bias, v)

    bias = RNG.standard_normal(4)  # adds the same number to all scores of a row, so softmax does not see it
    with pytest.raises(GradientCheckError, match=r"argument 3 'bias' is at most .* pass\s+zero=\(3,\)"):
        mv.check_gradients(with_key_bias, q, k, v, bias)
    mv.check_gradients(with_key_bias, q, k, v, bias, zero=(3,))
    with pytest.raises(GradientCheckError, match="'v' was declared zero by structure, but"):
        mv.check_gradients(with_key_bias, q, k, v, bias, zero=(2, 3))


def test_float32_is_refused_with_the_reason():
    with pytest.raises(DTypeError, match=r"argument 0 'x' is float32.*right to 2e-6.*astype\(numpy.float64\)"):
        mv.check_gradients(ops.exp, X.astype(np.float32))


def test_nothing_to_differentiate_is_refused():
    with pytest.raises(ValueError, match="no input is differentiated"):
        mv.check_gradients(ops.exp, mv.tensor(X))
    with pytest.raises(TypeError, match="must return one Tensor, got tuple"):
        mv.check_gradients(lambda x: (x, x), X)


def test_integers_and_tensors_without_gradient_are_constants():
    labels, target = np.array([1, 0, 3]), mv.tensor(X)
    report = mv.check_gradients(lambda x, y, t: ops.cross_entropy(x, y) + (x * t).sum(), X, labels, target)
    assert [row.argument for row in report.arguments] == ["argument 0 'x'"]


def test_numerical_derivatives_see_through_a_stop():
    def consistency(target, pred):
        return ops.kl_divergence(target_logits=mv.stop_gradient(target), pred_logits=pred)

    with pytest.raises(GradientCheckError, match=r"'target'.*zero everywhere"):
        mv.check_gradients(consistency, X, X + RNG.standard_normal((3, 4)))
    mv.check_gradients(consistency, mv.tensor(X), X + RNG.standard_normal((3, 4)))


def test_a_stop_gradient_that_leaks_is_rejected():
    class LeakingStop(mv.Op):
        @staticmethod
        def forward(F, x):
            return F.stop(x)

        @staticmethod
        def backward(F, dy, saved, x):
            return (dy,)

    x = mv.tensor(X, requires_grad=True)
    assert mv.grad(mv.autograd.apply(LeakingStop, x).sum(), x) is not None  # it does leak
    with mv.unrolled():
        assert not mv.autograd.apply(LeakingStop, x).requires_grad
    assert mv.prove(LeakingStop, X, linear=True, raise_on_failure=False).failed == (2, 5)


def test_a_kink_is_pointed_out():
    x = np.array([1.0, 1e-9, -1.0])
    with pytest.raises(GradientCheckError, match="if there is a kink"):
        mv.check_gradients(ops.relu, x)


def test_functions_that_leave_the_complex_numbers_are_checked_by_differences_alone():
    constant = mv.tensor(X)  # float64, so it does not mix with complex numbers
    (row,) = mv.check_gradients(lambda x: x * constant + x, X).arguments
    assert row.complex_step_error is None
    assert row.difference_error < 1e-9
    assert "not on complex numbers" in str(mv.check_gradients(lambda x: x * constant + x, X))


@pytest.mark.parametrize("order", [1, 2])
def test_the_check_leaves_inputs_and_state_alone(order):
    x = mv.tensor(X, requires_grad=True)
    before = x.data.copy()
    with pytest.raises(GradientCheckError):
        mv.check_gradients(square("second order" if order == 2 else "sign"), x, order=order)
    assert np.array_equal(x.data, before)
    assert x.grad is None
    assert mv.autograd.is_grad_enabled()
    assert (x * 2.0).requires_grad


def test_without_gradient_being_recorded_the_check_works_all_the_same():
    with mv.no_grad():
        mv.check_gradients(ops.exp, X)
        mv.check_gradients(ops.exp, X, order=2)
