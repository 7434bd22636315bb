"""What rounding alone may do to a result: as much as its terms are worth, and never enough to excuse a mistake."""

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.rounding import rounding_of
from minivit.backend import Kernel
from minivit.backend.kernels import _cpu_kernels

SINGLE, DOUBLE = np.finfo(np.float32).eps, np.finfo(np.float64).eps
SURE = np.array([9.0, 1.0, -2.0])  # softmax is 0.9997 sure: of 1 - p four digits are lost


def of(run, *given, dtype=np.float64):
    return rounding_of(run, given, dtype, np.random.default_rng(0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_small_difference_may_be_off_by_a_few_roundings_of_its_large_terms(dtype):
    eps = np.finfo(dtype).eps
    (allowed,) = of(lambda given: [given[0] - given[1]], np.array([1000.25]), np.array([1000.0]), dtype=dtype)
    assert 5 * 1000 * eps < allowed < 30 * 1000 * eps


def test_each_result_has_an_allowance_of_its_own():
    large, small = of(lambda given: [given[0] * 1e6, given[0].copy()], np.ones(50))
    assert large == pytest.approx(1e6 * small, rel=0.1)


def test_what_cancels_inside_an_op_counts_though_the_op_hides_it():
    """1 - p is 3e-4: its error relative to itself is some 3,000 times as large as that of p."""

    def run(given):
        x = mv.tensor(given[0], requires_grad=True)
        p = ops.softmax(x)
        return [p.numpy().copy(), mv.grad(p, x, given[1]).numpy()]

    given = SURE, np.array([1.0, -0.5, 0.3])
    value, gradient = run(given)
    of_value, of_gradient = of(run, *given)
    assert of_value < 50 * DOUBLE * value.max()
    assert 100 < (of_gradient / np.abs(gradient).max()) / DOUBLE / 10 < 30_000


def test_the_inputs_are_left_alone_and_the_same_is_allowed_each_time():
    given = np.array([1.0, 2.0]), np.array([3, 4]), None
    for array in given[:2]:
        array.flags.writeable = False
    found = [of(lambda arrays: [arrays[0] * arrays[1]], *given) for _ in range(2)]
    assert found[0] == found[1]


@pytest.mark.parametrize("function", [ops.relu, lambda x: ops.max(x, axis=0)], ids=["relu", "max"])
def test_a_step_over_a_kink_makes_room_for_a_hundredth_of_the_jump(function):
    def run(given):
        x = mv.tensor(given[0], requires_grad=True)
        y = function(x * 1.0 - given[1])
        return [mv.grad(y, x, np.ones(y.shape)).numpy()]

    (allowed,) = of(run, np.ones(4), np.ones(4))
    assert 0 < allowed < 0.02


# On the ladder, where softmax is nearly sure


def test_a_right_op_climbs_where_little_is_left_of_its_gradient():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mv.prove(ops.softmax, SURE + rng.standard_normal(3), seed=seed)
        mv.prove(ops.cross_entropy, np.array([[14.0, 0.0]]) + rng.standard_normal((1, 2)), np.array([0]), seed=seed)


class WrongSoftmax(mv.Op):
    """`error` times too large a gradient."""

    def forward(F, x, *, error):
        e = F.exp(x - F.stop(F.max(x, -1)))
        p = e / F.sum(e, -1)
        return p, p

    def backward(F, dy, saved, x, *, error):
        return (error * saved * (dy - F.sum(dy * saved, -1)),)


@pytest.mark.parametrize("error", [-1.0, 0.5, 1.0 + 1e-7])
def test_a_wrong_backward_falls_off_the_same_rungs_as_elsewhere(error):
    for seed in range(5):
        x = SURE + np.random.default_rng(seed).standard_normal(3)
        proof = mv.prove(WrongSoftmax, x, attributes={"error": error}, raise_on_failure=False)
        assert set(proof.failed) >= {2, 3, 5}


class ForgetsTheSum(WrongSoftmax):
    def backward(F, dy, saved, x, *, error):
        return (saved * dy,)


def test_a_forgotten_term_is_found():
    proof = mv.prove(ForgetsTheSum, SURE, attributes={"error": 1.0}, raise_on_failure=False)
    assert set(proof.failed) >= {2, 3, 4, 5}


@pytest.mark.parametrize(("error", "failed"), [(1.0, ()), (1.2, (9,))])
def test_a_wrong_kernel_is_found(monkeypatch, error, failed):
    right = _cpu_kernels()["softmax"]

    def backward(*arguments, **options):
        return tuple(error * gradient for gradient in right.backward(*arguments, **options))

    monkeypatch.setitem(_cpu_kernels(), "softmax", Kernel(right.forward, backward, right.accepts))
    assert mv.prove(ops.softmax, SURE, raise_on_failure=False).failed == failed
