"""The ladder of proofs: one call proves an op, and each planted mistake falls off the rung made for it."""

import numpy as np
import pytest

import minivit as mv
from minivit.autograd import Rung
from minivit.autograd.errors import GradientCheckError
from minivit.backend import Kernel
from minivit.backend.kernels import _cpu_kernels

RNG = np.random.default_rng(12)
X = RNG.standard_normal((3, 4))
ROW, BIAS = RNG.standard_normal((2, 4))


class Square(mv.Op):
    """y = x^2;  dy/dx = 2 x."""

    keeps = ("x",)

    def forward(F, x):
        return x * x

    def backward(F, dy, saved, x):
        return (2.0 * dy * x,)


def test_an_op_of_ones_own_is_proven_with_one_call():
    proof = mv.prove(Square, X)
    assert proof.passed
    table = str(proof)
    assert "square((3, 4))" in table
    for rung in ("composed", "complex step", "central differences", "second order", "nothing left alive"):
        assert rung in table


def test_a_proof_has_every_rung_and_says_why_one_does_not_apply():
    proof = mv.prove(
        Square, X, reference=np.square, frameworks={"by hand": lambda xs, dy: (xs[0] ** 2, [2 * dy * xs[0]])}
    )
    assert [rung.number for rung in proof.rungs] == list(range(1, 12))
    by_number = {rung.number: rung for rung in proof.rungs}
    assert by_number[11].name == "by hand"
    assert by_number[9] == Rung(9, "kernel", None, None, None, "no kernel")
    assert all(rung.error <= rung.tolerance for rung in proof.rungs if rung.passed)
    assert all(rung.passed is True or rung.passed is None for rung in proof.rungs)


def test_functions_with_attributes_are_proven_too():
    proof = mv.prove(mv.ops.layer_norm, X, ROW, BIAS, attributes={"eps": 0.1})
    assert "layer_norm((3, 4), (4,), (4,), eps=0.1)" in str(proof)


def test_a_failed_proof_raises_with_the_table_as_its_message():
    with pytest.raises(GradientCheckError, match=r"not proven: wrong_sign\(\(3, 4\)\)[\s\S]*3 complex step .*FAILED"):
        mv.prove(WrongSign, X)


# Planted mistakes. Each class is a right op but for one thing.


class WrongSign(Square):
    def backward(F, dy, saved, x):
        return (-2.0 * dy * x,)


class WrongFactor(Square):
    def backward(F, dy, saved, x):
        return (dy * x,)


class AllZero(Square):
    def backward(F, dy, saved, x):
        return (dy * 0.0,)


class NoGradientAtAll(Square):
    def backward(F, dy, saved, x):
        return (None,)


class NotANumber(Square):
    def backward(F, dy, saved, x):
        return (2.0 * dy * x * float("nan"),)


class TooFewGradients(mv.Op):
    keeps = ("a", "b")

    def forward(F, a, b):
        return a * b

    def backward(F, dy, saved, a, b):
        return (dy * b,)


class NoBackward(mv.Op):
    def forward(F, x):
        return x * x


class MissingSumTo(mv.Op):
    def forward(F, x, row):
        return x + row * row

    keeps = ("row",)

    def backward(F, dy, saved, x, row):
        return dy, 2.0 * dy * row


class SumOfOneRowOnly(MissingSumTo):
    def backward(F, dy, saved, x, row):
        return dy, 2.0 * row * F.take(dy, 0)


class Transposed(mv.Op):
    """y = a b of square matrices, with b in place of its transpose in the backward."""

    keeps = ("a", "b")

    def forward(F, a, b):
        return a @ b

    def backward(F, dy, saved, a, b):
        return dy @ b, F.swapaxes(a, 0, 1) @ dy


class NoVarianceTerm(mv.Op):
    """LayerNorm whose backward forgets that x also moves the variance."""

    keeps = ("weight",)

    def forward(F, x, weight, bias):
        centered = x - F.mean(x, -1)
        r = (F.mean(centered * centered, -1) + 1e-6) ** -0.5
        return centered * r * weight + bias, (centered * r, r)

    def backward(F, dy, saved, x, weight, bias):
        n, r = saved
        dn = dy * weight
        return r * (dn - F.mean(dn, -1)), F.sum_to(dy * n, weight.shape), F.sum_to(dy, bias.shape)


class TripledSoftmax(mv.Op):
    def forward(F, x):
        e = F.exp(x - F.stop(F.max(x, -1)))
        p = e / F.sum(e, -1)
        return p, p

    def backward(F, dy, saved, x):
        return (3.0 * saved * (dy - F.sum(dy * saved, -1)),)


class LeakingStop(mv.Op):
    """y = sg(a) b, but the backward passes gradient to a."""

    keeps = ("a", "b")

    def forward(F, a, b):
        return F.stop(a) * b

    def backward(F, dy, saved, a, b):
        return dy * b, dy * a


class SecondOrderOnly(Square):
    def backward(F, dy, saved, x):
        return (2.0 * dy * F.stop(x),)


class NotLinear(Square):
    def backward(F, dy, saved, x):
        return (2.0 * dy * x + 1e-9 * dy * dy,)


class WrongDtypeOfGradient(Square):
    def backward(F, dy, saved, x):
        return (dy * x * np.asarray(2.0),)


class WrongDtypeOfValue(Square):
    def forward(F, x):
        return x * x * np.asarray(1.0)


class WrongShapeOfGradient(Square):
    def backward(F, dy, saved, x):
        return (F.reshape(2.0 * dy * x, (1, *x.shape)),)


class WritesIntoItsInput(Square):
    def forward(F, x):
        if type(x) is np.ndarray:
            x += 0.0
        return x * x


class WritesIntoItsCotangent(Square):
    def backward(F, dy, saved, x):
        if type(dy) is np.ndarray:
            dy += 0.0
        return (2.0 * dy * x,)


class Hoarder(Square):
    hoard = []

    def forward(F, x):
        y = x * x
        if type(y) is np.ndarray:
            Hoarder.hoard.append(y)
        return y, y


class Circular(Square):
    """What it saves refers to itself, so that only a garbage collector could free it."""

    def forward(F, x):
        y = x * x
        return y, Circle([y])


class Circle(list):
    """A list that refers to itself."""

    def __init__(self, saved):
        super().__init__(saved)
        self.itself = self


class RightInTheTextWrongByFormula(Square):
    """Consistent in itself, but not what the formula says."""

    def forward(F, x):
        return 1.5 * x * x

    def backward(F, dy, saved, x):
        return (3.0 * dy * x,)


NUMERICAL = {3, 4}

PLANTED = [
    # op, inputs, rungs that must fail, rungs that may fail too
    (WrongSign, (X,), {2, 3, 4, 5}, set()),
    (WrongFactor, (X,), {2, 3, 4, 5}, set()),
    (AllZero, (X,), {2, 3, 4, 5}, set()),
    (NoGradientAtAll, (X,), {2, 3, 4, 5}, set()),
    (NotANumber, (X,), {2, 3, 4, 5, 6}, {7}),
    (TooFewGradients, (X, X + 1.0), {2, 3, 4, 5}, {6, 7, 8, 9}),
    (NoBackward, (X,), {2, 3, 4}, {5, 6, 7, 8, 9}),
    (MissingSumTo, (X, ROW), {2, 3, 4, 5}, {6, 7, 8, 9}),
    (SumOfOneRowOnly, (X, ROW), {2, 3, 4, 5}, set()),
    (Transposed, (X[:, :3], X[:, 1:]), {2, 3, 4, 5}, set()),
    (NoVarianceTerm, (X, ROW, BIAS), {2, 3, 4, 5}, set()),
    (TripledSoftmax, (X,), {2, 3, 4, 5}, set()),
    (LeakingStop, (X, X + 1.0), {2, 5}, set()),
    (SecondOrderOnly, (X,), {5}, set()),
    (NotLinear, (X,), {2, 6}, {3, 5}),
    (WrongDtypeOfGradient, (X,), {7}, set()),
    (WrongDtypeOfValue, (X,), {7}, {9}),
    (WrongShapeOfGradient, (X,), {2, 3, 4, 5}, {6, 7, 8, 9}),
    (WritesIntoItsInput, (X,), {7}, {9}),
    (WritesIntoItsCotangent, (X,), {7}, set()),
    (Hoarder, (X,), {8}, set()),
    (Circular, (X,), {8}, {5}),
]


@pytest.mark.parametrize(("op", "inputs", "must", "may"), PLANTED, ids=[row[0].__name__ for row in PLANTED])
def test_a_planted_mistake_falls_off_its_rung(op, inputs, must, may):
    failed = set(mv.prove(op, *inputs, reference=None, raise_on_failure=False).failed)
    assert must <= failed <= must | may


def test_what_disagrees_with_the_formula_fails_the_first_rung_alone():
    right_gradient = {"theirs": lambda xs, dy: (1.5 * xs[0] ** 2, [3.0 * dy * xs[0]])}
    options = {"reference": np.square, "frameworks": right_gradient, "raise_on_failure": False}
    assert mv.prove(RightInTheTextWrongByFormula, X, **options).failed == (1,)


@pytest.mark.parametrize(
    "theirs",
    [
        lambda xs, dy: (xs[0] ** 2 + 1e-6, [2.0 * dy * xs[0]]),
        lambda xs, dy: (xs[0] ** 2, [2.0 * dy * xs[0] + 1e-6]),
        lambda xs, dy: (xs[0] ** 2, [(2.0 * dy * xs[0])[:1]]),
        lambda xs, dy: 1 / 0,
    ],
    ids=["value", "gradient", "shape", "crash"],
)
def test_another_library_that_disagrees_fails_the_last_rung_alone(theirs):
    proof = mv.prove(Square, X, frameworks={"theirs": theirs}, raise_on_failure=False)
    assert proof.failed == (11,)


# Kernels


class Cube(mv.Op):
    """y = x^3, with kernels planted below."""

    keeps = ("x",)

    def forward(F, x):
        return x * x * x

    def backward(F, dy, saved, x):
        return (3.0 * dy * x * x,)


def _forward(x):
    return x * x * x, None


def _backward(dy, saved, x, *, wanted):
    return (3.0 * dy * x * x,)


def _accepts(x):
    return x.dtype.kind == "f"


def test_a_right_kernel_climbs_its_rung(monkeypatch):
    monkeypatch.setitem(_cpu_kernels(), "cube", Kernel(_forward, _backward, _accepts, ("x",)))
    proof = mv.prove(Cube, X)
    rung = next(rung for rung in proof.rungs if rung.number == 9)
    assert rung.passed
    assert rung.note == "cube"


def _in_place_on_dy(dy, saved, x, *, wanted):
    dy = np.asarray(dy) if dy.flags.c_contiguous else dy.copy()
    dy *= 3.0
    return (dy * x * x,)


def _in_place_on_saved(dy, saved, x, *, wanted):
    saved *= 3.0
    return (dy * saved,)


def _only_contiguous(x):
    as_if = np.lib.stride_tricks.as_strided(x, strides=np.empty(x.shape, x.dtype).strides)
    return as_if * as_if * as_if, None


@pytest.mark.parametrize(
    ("forward", "backward", "accepts"),
    [
        (lambda x: (x * x * x * (1.0 + 1e-4), None), _backward, _accepts),
        (lambda x: ((x * x * x).astype(np.float64), None), _backward, _accepts),
        (lambda x: (x * x * x, None), lambda dy, saved, x, *, wanted: (3.001 * dy * x * x,), _accepts),
        (_forward, lambda dy, saved, x, *, wanted: (3.001 * dy * x * x,), lambda x: x.dtype == np.float32),
        (_forward, lambda dy, saved, x, *, wanted: (None,), _accepts),
        (_forward, lambda dy, saved, x, *, wanted: (3.0 * dy[:1] * x * x,), _accepts),
        (_forward, _in_place_on_dy, _accepts),
        (lambda x: (x * x * x, x * x), _in_place_on_saved, _accepts),
        (_only_contiguous, _backward, _accepts),
        (lambda x: (np.multiply(x, x * x, out=x), None), _backward, _accepts),
    ],
    ids=[
        "value",
        "dtype of value",
        "gradient",
        "gradient in float32 only",
        "no gradient",
        "first row of dy only",
        "writes into dy",
        "writes into what it saved",
        "takes every input for contiguous",
        "writes into its input",
    ],
)
def test_a_kernel_that_deviates_fails_its_rung_alone(monkeypatch, forward, backward, accepts):
    monkeypatch.setitem(_cpu_kernels(), "cube", Kernel(forward, backward, accepts, ("x",)))
    assert mv.prove(Cube, X, raise_on_failure=False).failed == (9,)


def test_a_kernel_whose_gradient_alone_differs_is_found(monkeypatch):
    class Product(mv.Op):
        keeps = ("a", "b")

        def forward(F, a, b):
            return a * b

        def backward(F, dy, saved, a, b):
            return dy * b, dy * a

    def backward(dy, saved, a, b, *, wanted):
        return (dy * b, dy * a) if all(wanted) else (dy, dy)

    kernel = Kernel(lambda a, b: (a * b, None), backward, lambda a, b: a.dtype.kind == "f", ("a", "b"))
    monkeypatch.setitem(_cpu_kernels(), "product", kernel)
    proof = mv.prove(Product, X, X + 1.0, raise_on_failure=False)
    assert proof.failed == (9,)
    assert "alone" in next(rung.note for rung in proof.rungs if rung.number == 9)


# Declarations


def test_a_zero_gradient_has_to_be_declared():
    def ignores(x, y):
        return x * x + 0.0 * y

    assert set(mv.prove(ignores, X, X, raise_on_failure=False).failed) == NUMERICAL
    mv.prove(ignores, X, X, zero=(1,))
    assert set(mv.prove(ignores, X, X, zero=(0, 1), raise_on_failure=False).failed) >= NUMERICAL


def test_linearity_has_to_be_declared_and_is_then_asserted():
    assert mv.prove(lambda x: 2.0 * x, X, raise_on_failure=False).failed == (5,)
    assert mv.prove(lambda x: 2.0 * x, X, linear=True).passed
    assert mv.prove(Square, X, linear=True, raise_on_failure=False).failed == (5,)


def test_a_constant_carries_no_gradient():
    proof = mv.prove(LeakingStop, X, X + 1.0, constant=(0,), linear=True)
    assert proof.passed


def test_classes_that_are_no_ops_are_refused():
    with pytest.raises(TypeError, match=r"a subclass of mv\.Op or a function"):
        mv.prove(dict, X)
