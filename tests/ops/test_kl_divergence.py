"""The consistency loss of UDA, by the numbers of a three-class example that can be done by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import ShapeError, StopGradientError
from minivit.compare import cases

TARGET, PRED = np.array([[2.0, 0.0, -1.0]]), np.array([[0.0, 1.0, 0.0]])


def leaf(value):
    return mv.tensor(value, requires_grad=True)


def through(target, pred, **options):
    return ops.kl_divergence(target_logits=target, pred_logits=pred, allow_target_gradient=True, **options)


@pytest.mark.parametrize("case", cases("kl_divergence"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    batch=st.integers(1, 3),
    classes=st.integers(3, 5),
    temperature=st.sampled_from([0.4, 1.0, 2.0]),
    scale=st.sampled_from([0.1, 1.0, 3.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape_and_temperature(batch, classes, temperature, scale, seed):
    target, pred = scale * np.random.default_rng(seed).standard_normal((2, batch, classes))
    mv.prove(through, target, pred, attributes={"temperature": temperature})


# The numbers


def test_the_two_distributions():
    assert np.allclose(ops.softmax(TARGET).numpy(), [[0.8438, 0.1142, 0.0420]], atol=5e-5)
    assert np.allclose(ops.softmax(PRED).numpy(), [[0.2119, 0.5761, 0.2119]], atol=5e-5)


def test_the_divergence_is_not_symmetric():
    assert np.isclose(ops.kl_divergence(target_logits=TARGET, pred_logits=PRED).item(), 0.9130, atol=5e-5)
    assert np.isclose(ops.kl_divergence(target_logits=PRED, pred_logits=TARGET).item(), 0.9826, atol=5e-5)


def test_with_the_stop_kl_and_cross_entropy_give_the_prediction_the_same_gradient():
    pred = leaf(PRED)
    target = mv.stop_gradient(leaf(TARGET))
    kl = mv.grad(ops.kl_divergence(target_logits=target, pred_logits=pred), pred, np.ones(1)).numpy()
    ce = mv.grad(ops.cross_entropy(pred, ops.softmax(target), reduction="none"), pred, np.ones(1)).numpy()
    assert np.allclose(kl, [[-0.6319, 0.4619, 0.1699]], atol=5e-5)  # q - p
    assert np.allclose(kl, ce, rtol=1e-14)


def test_without_the_stop_they_pull_the_target_in_different_directions():
    target, pred = leaf(TARGET), leaf(PRED)
    kl = mv.grad(through(target, pred), target, np.ones(1)).numpy()
    ce = mv.grad(ops.cross_entropy(pred, ops.softmax(target), reduction="none"), target, np.ones(1)).numpy()
    assert np.allclose(kl, [[0.3954, -0.2891, -0.1063]], atol=5e-5)
    assert np.allclose(ce, [[0.0964, -0.1012, 0.0048]], atol=5e-5)


# The stop


def test_a_target_that_carries_gradient_is_refused():
    with pytest.raises(StopGradientError, match=r"pass mv\.stop_gradient\(target_logits\), or allow_target_gradient"):
        ops.kl_divergence(target_logits=leaf(TARGET), pred_logits=leaf(PRED))


@pytest.mark.parametrize("stop", [mv.stop_gradient, lambda x: x.numpy(), lambda x: mv.tensor(x)])
def test_a_constant_target_is_welcome(stop):
    target, pred = leaf(TARGET), leaf(PRED)
    ops.kl_divergence(target_logits=stop(target), pred_logits=pred).sum().backward()
    assert target.grad is None
    assert np.abs(pred.grad).max() > 0.1


def test_under_no_grad_a_target_carries_none():
    w = leaf(TARGET)
    with mv.no_grad():
        target = w * 2.0
    assert ops.kl_divergence(target_logits=target, pred_logits=leaf(PRED)).requires_grad


def test_the_teacher_gets_gradient_only_if_asked_for_and_the_loss_depends_on_it_either_way():
    images = np.array([[1.0, -0.5]])
    student = ops.linear(images + 0.3, mv.tensor(np.eye(3, 2)))

    def run(teacher_weight, stop):
        w = leaf(teacher_weight)
        target = ops.linear(images, w)
        loss = through(mv.stop_gradient(target) if stop else target, student) + 0.0 * w.sum()
        return mv.grad(loss.sum(), w).numpy(), loss.item()

    weight = np.arange(6.0).reshape(3, 2)
    stopped, value = run(weight, stop=True)
    leaking, same_value = run(weight, stop=False)
    assert np.array_equal(stopped, np.zeros((3, 2)))
    assert np.abs(leaking).max() > 1e-2
    assert value == same_value
    assert run(2.0 * weight, stop=True)[1] != value


# Properties


def test_it_is_zero_between_equals_and_positive_otherwise(rng):
    z = rng.standard_normal((5, 4))
    assert np.allclose(ops.kl_divergence(target_logits=z, pred_logits=z + 2.0).numpy(), 0.0, atol=1e-15)
    assert (ops.kl_divergence(target_logits=z, pred_logits=rng.standard_normal((5, 4))).numpy() > 0).all()


def test_the_temperature_sharpens_the_target_alone():
    ours = ops.kl_divergence(target_logits=TARGET, pred_logits=PRED, temperature=0.4)
    assert np.isclose(ours.item(), ops.kl_divergence(target_logits=TARGET / 0.4, pred_logits=PRED).item())
    entropies = []
    for temperature in (1.0, 0.4, 0.1):
        p = ops.softmax(TARGET / temperature).numpy()
        entropies.append(-(p * np.log(p)).sum())
    assert entropies == sorted(entropies, reverse=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_hot_targets_and_masked_logits_stay_finite(dtype):
    """0 log 0 is 0: a class that the target rules out adds nothing, however sure the prediction is."""
    target = leaf(np.array([[0.0, -1e9, -1e9], [0.0, -1e9, 1.0], [5.0, 5.0, 5.0]], dtype))
    pred = leaf(np.array([[1.0, 0.0, 2.0], [0.5, -1e9, 0.0], [0.0, 1.0, 2.0]], dtype))
    losses = through(target, pred)
    first = -np.log(np.exp(1.0) / (np.exp(1.0) + 1.0 + np.exp(2.0)))
    assert np.isclose(losses.numpy()[0], first, rtol=1e-5)
    for gradient in mv.grad(losses, [target, pred], np.ones(3, dtype)):
        assert np.isfinite(gradient.numpy()).all()


def test_equal_logits_in_both_branches_have_no_gradient_at_all():
    """The degenerate fixture: teacher and student from one seed make any backward pass."""
    z = leaf(TARGET)
    assert np.allclose(mv.grad(through(mv.stop_gradient(z), z), z, np.ones(1)).numpy(), 0.0, atol=1e-16)
    proof = mv.prove(through, TARGET, TARGET, raise_on_failure=False)
    assert {3, 4} <= set(proof.failed)


def test_the_arguments_are_named():
    with pytest.raises(TypeError, match="positional"):
        ops.kl_divergence(TARGET, PRED)


@pytest.mark.parametrize(
    ("target", "pred"), [(TARGET, np.ones((2, 3))), (TARGET[0], PRED[0]), (TARGET, np.ones((1, 4)))]
)
def test_shapes_that_do_not_fit(target, pred):
    with pytest.raises(ShapeError, match=r"both logits must be \(B, K\), got target \("):
        ops.kl_divergence(target_logits=target, pred_logits=pred)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_is_positive(temperature):
    with pytest.raises(ValueError, match="temperature must be positive"):
        ops.kl_divergence(target_logits=TARGET, pred_logits=PRED, temperature=temperature)
