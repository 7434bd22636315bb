import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.compare import cases
from minivit.ops.cross_entropy import CrossEntropy

LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
LABELS = np.array([0, 2])


@pytest.mark.parametrize("case", cases("cross_entropy"), ids=str)
def test_every_rung_of_the_ladder(case):
    case.prove()


@settings(max_examples=25)
@given(
    batch=st.integers(1, 4),
    classes=st.integers(2, 5),
    scale=st.sampled_from([1e-3, 1.0, 5.0]),
    smoothing=st.sampled_from([0.0, 0.1]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_ladder_for_any_shape_and_option(batch, classes, scale, smoothing, reduction, weighted, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, batch)
    weights = 0.5 + rng.random(batch) if weighted else None

    def loss(logits):
        return ops.cross_entropy(logits, labels.copy(), smoothing, weights_of(logits), reduction)

    def weights_of(logits):
        return None if weights is None else mv.tensor(weights, dtype=logits.dtype)

    # Within 15 of each other: beyond 25 the gradient is nothing, which the ladder takes for no proof.
    mv.prove(loss, scale * rng.uniform(-1.5, 1.5, (batch, classes)))


@pytest.mark.parametrize(
    ("reduction", "smoothing", "expected"),
    [  # PyTorch 2.13, float64
        ("none", 0.0, [0.16984601955628567, 1.551444713932051]),
        ("none", 0.1, [0.3365126862229524, 1.5181113805987176]),
        ("mean", 0.0, 0.8606453667441684),
        ("mean", 0.1, 0.9273120334108351),
        ("sum", 0.0, 1.7212907334883367),
        ("sum", 0.1, 1.8546240668216702),
    ],
)
def test_golden_values(reduction, smoothing, expected):
    loss = ops.cross_entropy(LOGITS, LABELS, smoothing, reduction=reduction)
    assert np.allclose(loss.numpy(), expected, rtol=1e-14)


@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_a_model_that_knows_nothing_starts_at_the_logarithm_of_the_number_of_classes(classes):
    loss = ops.cross_entropy(np.zeros((4, classes)), np.zeros(4, int))
    assert np.isclose(loss.item(), np.log(classes), rtol=1e-14)


def test_the_gradient_is_p_minus_t():
    z = mv.tensor(LOGITS, requires_grad=True)
    dz = mv.grad(ops.cross_entropy(z, LABELS, reduction="sum"), z).numpy()
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    assert np.allclose(dz, p - np.eye(3)[LABELS], rtol=1e-14)
    smoothed = mv.grad(ops.cross_entropy(z, LABELS, 0.3, reduction="sum"), z).numpy()
    assert np.allclose(smoothed, p - (0.7 * np.eye(3)[LABELS] + 0.1), rtol=1e-13)
    assert np.allclose(dz.sum(-1), 0.0, atol=1e-15)


def test_the_divisors_are_the_stated_ones():
    losses = ops.cross_entropy(LOGITS, LABELS, reduction="none").numpy()
    weights = np.array([3.0, 0.5])

    def reduced(reduction, w=weights):
        return ops.cross_entropy(LOGITS, LABELS, example_weights=w, reduction=reduction).numpy()

    assert np.allclose(reduced("none"), losses * weights)
    assert np.allclose(reduced("sum"), (losses * weights).sum())
    assert np.allclose(reduced("mean"), (losses * weights).sum() / 3.5)  # of the weights, not of the examples
    assert np.allclose(ops.cross_entropy(LOGITS, LABELS).numpy(), losses.sum() / 2)
    assert np.allclose(reduced("mean", np.array([1.0, 0.0])), losses[0])  # a weight of zero leaves the example out


def test_an_example_of_weight_zero_gets_no_gradient():
    z = mv.tensor(LOGITS, requires_grad=True)
    dz = mv.grad(ops.cross_entropy(z, LABELS, example_weights=np.array([1.0, 0.0])), z).numpy()
    assert np.abs(dz[0]).max() > 0.1
    assert np.array_equal(dz[1], np.zeros(3))


def test_probabilities_are_labels_too():
    labels = ops.cross_entropy(LOGITS, LABELS, 0.1)
    rows = ops.cross_entropy(LOGITS, np.eye(3)[LABELS], 0.1)
    assert labels.item() == rows.item()


def test_soft_targets_get_a_gradient_of_their_own(rng):
    z, t = mv.tensor(LOGITS, requires_grad=True), mv.tensor(rng.random((2, 3)), requires_grad=True)
    dz, dt = mv.grad(ops.cross_entropy(z, t, reduction="sum"), [z, t])
    log_p = ops.log_softmax(LOGITS).numpy()
    assert np.allclose(dt.numpy(), -log_p)
    # which need not sum to one: dz = p sum(t) - t
    assert np.allclose(dz.numpy(), np.exp(log_p) * t.data.sum(-1, keepdims=True) - t.data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_stay_finite(dtype):
    z = mv.tensor(np.array([[0.0, -1e9, 3.0], [1e4, -1e4, 0.0], [7.0, 7.0, 7.0]], dtype), requires_grad=True)
    losses = ops.cross_entropy(z, np.array([2, 1, 0]), reduction="none")
    assert np.allclose(losses.numpy(), [np.log1p(np.exp(-3.0)), 2e4, np.log(3.0)], rtol=1e-6)
    dz = mv.grad(losses, z, np.ones(3, dtype)).numpy()
    assert np.isfinite(dz).all()
    assert dz[0, 1] == 0.0


def test_special_rows_climb_the_ladder():
    mv.prove(lambda z: ops.cross_entropy(z, np.array([1, 0]), reduction="none"), np.full((2, 4), 3.0))


def test_labels_of_any_integer_dtype():
    for dtype in (np.uint8, np.int32, np.int64):
        assert ops.cross_entropy(LOGITS, LABELS.astype(dtype)).item() == ops.cross_entropy(LOGITS, LABELS).item()


def test_it_is_one_node():
    y = ops.cross_entropy(mv.tensor(LOGITS, requires_grad=True), LABELS, reduction="none")
    assert y.node.op is CrossEntropy


@pytest.mark.parametrize(
    ("logits", "labels", "options", "error", "message"),
    [
        (np.ones(3), [0], {}, ShapeError, r"expected logits \(B, K\), got \(3,\)"),
        (LOGITS, [0], {}, ShapeError, r"logits \(2, 3\) need labels \(2,\), got \(1,\)"),
        (LOGITS, np.ones((2, 2)), {}, ShapeError, r"need labels \(2,\) or probabilities \(2, 3\), got \(2, 2\)"),
        (LOGITS, np.ones((2, 3), np.float32), {}, DTypeError, "dtype of the logits, float64; got float32"),
        (LOGITS, [0, 3], {}, ValueError, r"labels must lie in 0\.\.2 for 3 logits, got 0\.\.3"),
        (LOGITS, [-1, 0], {}, ValueError, r"got -1\.\.0"),
        (LOGITS, LABELS, {"reduction": "avg"}, ValueError, '"mean", "sum" or "none", got \'avg\''),
        (LOGITS, LABELS, {"label_smoothing": 1.5}, ValueError, r"label_smoothing must lie in \[0, 1\], got 1\.5"),
        (LOGITS, LABELS, {"example_weights": np.ones(3)}, ShapeError, r"2 examples need weights \(2,\), got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, options, error, message):
    with pytest.raises(error, match=message):
        ops.cross_entropy(logits, labels, **options)
