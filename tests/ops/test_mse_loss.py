"""The squared error: its reductions, weights that broadcast, and the gradients of all three inputs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.compare import cases
from minivit.ops.mse_loss import MseLoss

PRED, TARGET = np.array([[2.0, 0.0, -1.0], [0.5, 1.0, 0.0]]), np.array([[1.0, 0.0, 1.0], [0.0, -1.0, 3.0]])
SQUARES = np.array([[1.0, 0.0, 4.0], [0.25, 4.0, 9.0]])
WEIGHT = np.array([[1.0, 5.0, 0.5], [4.0, 0.0, 1.0]])


@pytest.mark.parametrize("case", cases("mse_loss"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


SHAPES = {(3,): [(3,)], (2, 3): [(2, 3), (2, 1), (3,), (1, 3)], (2, 1, 4): [(2, 1, 1), (4,)]}


@settings(max_examples=30)
@given(
    shapes=st.sampled_from([(shape, weight) for shape, weights in SHAPES.items() for weight in (None, *weights)]),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape_and_option(shapes, scale, reduction, seed):
    rng, (shape, weight_shape) = np.random.default_rng(seed), shapes
    inputs = [scale * rng.standard_normal(shape), scale * rng.standard_normal(shape)]
    if weight_shape is not None:
        inputs.append(0.5 + rng.random(weight_shape))
    mv.prove(lambda *given: ops.mse_loss(*given, reduction=reduction), *inputs)


def test_the_numbers_by_hand():
    np.testing.assert_array_equal(ops.mse_loss(PRED, TARGET, reduction="none").numpy(), SQUARES)
    assert ops.mse_loss(PRED, TARGET).item() == 18.25 / 6
    assert ops.mse_loss(PRED, TARGET, reduction="sum").item() == 18.25
    np.testing.assert_array_equal(ops.mse_loss(PRED, TARGET, WEIGHT, "none").numpy(), WEIGHT * SQUARES)
    assert ops.mse_loss(PRED, TARGET, WEIGHT, "sum").item() == 13.0
    assert ops.mse_loss(PRED, TARGET, WEIGHT).item() == 13.0 / 11.5


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_prediction_and_target_are_pulled_towards_each_other(weight):
    pred, target = (mv.tensor(x, requires_grad=True) for x in (PRED, TARGET))
    ops.mse_loss(pred, target, weight, "sum").backward()
    np.testing.assert_array_equal(pred.grad, 2.0 * (1.0 if weight is None else weight) * (PRED - TARGET))
    np.testing.assert_array_equal(target.grad, -pred.grad)


def test_a_weight_broadcasts_and_a_weighted_mean_goes_by_the_numbers_it_counts():
    rows = np.array([[3.0], [1.0]])
    wide = np.broadcast_to(rows, PRED.shape)
    for reduction in ("mean", "sum", "none"):
        narrow, full = (ops.mse_loss(PRED, TARGET, w, reduction).numpy() for w in (rows, wide))
        np.testing.assert_array_equal(narrow, full)
    seen = np.array([True, False, True])
    mean = ops.mse_loss(PRED, TARGET, seen.astype(np.float64)).item()
    assert mean == pytest.approx(SQUARES[:, seen].mean(), rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_has_the_bits_of_the_difference_squared(dtype):
    rng = np.random.default_rng(0)
    x, y, w = (rng.standard_normal((4, 3, 8, 8)).astype(dtype) for _ in range(3))
    fused, written_out = (mv.tensor(x, requires_grad=True) for _ in range(2))
    loss = ops.mse_loss(fused, y, w, "none").sum((1, 2, 3))
    error = written_out - mv.tensor(y)
    other = (error * error * mv.tensor(w)).sum((1, 2, 3))
    np.testing.assert_array_equal(loss.numpy(), other.numpy())
    for output in (loss, other):
        output.backward(np.arange(1, 5, dtype=dtype))
    assert fused.grad.dtype == dtype
    np.testing.assert_array_equal(fused.grad, written_out.grad)


def test_it_keeps_the_difference_and_nothing_else():
    pred = mv.tensor(PRED, requires_grad=True)
    (node,) = [ops.mse_loss(pred, TARGET, reduction="none").node]
    assert node.op is MseLoss
    kept = [array for array in node.saved if array is not None]
    assert [array.shape for array in kept] == [PRED.shape]


@pytest.mark.reference
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_mean_what_they_mean_in_pytorch(reduction, weighted):
    import torch

    given = {"weight": torch.tensor(WEIGHT)} if weighted else {}
    theirs = torch.nn.functional.mse_loss(torch.tensor(PRED), torch.tensor(TARGET), reduction=reduction, **given)
    ours = ops.mse_loss(PRED, TARGET, WEIGHT if weighted else None, reduction)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-15)


def test_bad_input_is_refused():
    with pytest.raises(ShapeError, match=r"pred and target must have one shape, got \(2, 3\) and \(3,\)"):
        ops.mse_loss(PRED, TARGET[0])
    for weight in (np.ones(2), np.ones((1, 2, 3)), np.ones((2, 2))):
        with pytest.raises(ShapeError, match=r"the weight of \(2, 3\) must broadcast to that shape, got"):
            ops.mse_loss(PRED, TARGET, weight)
    with pytest.raises(ValueError, match='"mean", "sum" or "none", got \'average\''):
        ops.mse_loss(PRED, TARGET, reduction="average")
    with pytest.raises(DTypeError):
        ops.mse_loss(mv.tensor(PRED, dtype=np.float32), mv.tensor(TARGET))
