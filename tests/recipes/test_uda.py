"""The UDA loss: its thresholds, its masks, and a batch by hand that tells every planted mistake from the right loss."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minivit as mv
from minivit import ops
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.recipes.uda import (
    TSA_SCHEDULES,
    UdaSettings,
    confident,
    consistency_losses,
    entropies,
    supervised_losses,
    tsa_kept,
    tsa_threshold,
    uda_loss,
)
from minivit.recipes.uda import loss as uda

# Training signal annealing

PROGRESS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@pytest.mark.parametrize(
    ("schedule", "thresholds"),
    [
        ("none", (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
        ("linear", (0.1, 0.19, 0.325, 0.55, 0.775, 0.91, 1.0)),
        ("log", (0.1, 0.454122, 0.742146, 0.926124, 0.978834, 0.990002, 0.993936)),
        ("exp", (0.106064, 0.109998, 0.121166, 0.173876, 0.357854, 0.645878, 1.0)),
    ],
)
def test_the_threshold_of_ten_classes_to_six_digits(schedule, thresholds):
    assert [round(tsa_threshold(schedule, t, 10), 6) for t in PROGRESS] == list(thresholds)


@pytest.mark.parametrize("schedule", ["linear", "log", "exp"])
@given(classes=st.integers(2, 1000))
def test_the_threshold_rises_from_chance_towards_certainty(schedule, classes):
    thresholds = [tsa_threshold(schedule, t / 20, classes) for t in range(21)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] >= 1 / classes
    assert thresholds[-1] <= 1.0
    if schedule != "log":
        assert thresholds[-1] == 1.0


def test_the_three_schedules_release_the_labels_in_their_order():
    for t in (0.2, 0.5, 0.8):
        assert tsa_threshold("exp", t, 10) < tsa_threshold("linear", t, 10) < tsa_threshold("log", t, 10)


def test_an_example_at_the_threshold_itself_is_kept():
    """Strictly greater drops. Four equal logits give a probability of exactly 1/4, which is the threshold at t = 0."""
    for dtype in (np.float32, np.float64):
        logits = np.array([[2, 2, 2, 2], [2.001, 2, 2, 2], [1.999, 2, 2, 2]], dtype)
        assert tsa_kept(logits, np.zeros(3, np.int64), tsa_threshold("linear", 0.0, 4)).tolist() == [True, False, True]


def test_an_original_at_the_threshold_itself_is_not_confident():
    for dtype in (np.float32, np.float64):
        logits = np.array([[3, 3], [3.001, 3], [2, 3]], dtype)
        assert confident(logits, 0.5).tolist() == [False, True, True]


def test_tsa_looks_at_the_label_and_not_at_the_largest_probability():
    """A confident mistake is what the label is needed for; USB drops it."""
    logits, labels = np.array([[4.0, 0.0], [4.0, 0.0]]), np.array([0, 1])
    assert tsa_kept(logits, labels, 0.6).tolist() == [False, True]
    assert tsa_kept(logits, labels, 0.6, gate="max").tolist() == [False, False]


def test_without_tsa_even_certainty_is_kept():
    for dtype in (np.float32, np.float64):
        logits = np.array([[1e4, 0.0, 0.0], [30.0, 0.1, 0.2]], dtype)
        assert tsa_kept(logits, np.array([0, 0]), tsa_threshold("none", 0.7, 3)).all()


@pytest.mark.parametrize("confidence", [0.0, -1.0])
def test_no_threshold_masks_nothing(confidence):
    assert confident(np.random.default_rng(0).standard_normal((50, 10)), confidence).all()


def test_the_confidence_is_that_of_the_prediction_before_it_is_sharpened():
    logits = np.log([[0.6, 0.3, 0.1]])  # sharpened by 0.4: 0.6^2.5 : 0.3^2.5 : 0.1^2.5 = 0.2789 : 0.0493 : 0.0032
    assert not confident(logits, 0.8, 0.4).any()
    assert confident(logits, 0.8, 0.4, of="sharpened").all()  # 0.2789 / 0.3313 = 0.8417
    assert not confident(logits, 0.85, 0.4, of="sharpened").any()


# A batch by hand. Every logit is a logarithm, so that the probabilities are plain fractions.
#
# Labelled, K = 2, linear TSA at t/T = 1/2: eta = 1/2 (1 - 1/2) + 1/2 = 3/4.
#     row   p(label)         > 3/4?   cross-entropy
#     0     9/10             dropped  (log 10/9)
#     1     3/5              kept     log 5/3
#     2     1/5              kept     log 5              a mistake
# supervised = (log 5/3 + log 5) / 2
#
# Unlabelled, beta = 7/10, tau = 1/2: sharpening squares the probabilities and divides by their sum.
#     row   original         largest  > 7/10?  sharpened            augmented    KL(sharpened || augmented)
#     0     (4/5, 1/5)       4/5      counts   (16/17, 1/17)        (1/2, 1/2)   16/17 log 32/17 + 1/17 log 2/17
#     1     (2/3, 1/3)       2/3      masked   (4/5, 1/5)           (1/2, 1/2)   (4/5 log 8/5 + 1/5 log 2/5)
#     2     (1/4, 3/4)       3/4      counts   (1/10, 9/10)         (2/5, 3/5)   1/10 log 1/4 + 9/10 log 3/2
#     3     (1/2, 1/2)       1/2      masked   (1/2, 1/2)           (1/5, 4/5)   (1/2 log 5/2 + 1/2 log 5/8)
# consistency = (KL_0 + KL_2) / 4: the masked rows add nothing, but they are counted.
# Row 1 is what sharpening the mask would let through: 4/5 > 7/10.


def log(*rows):
    return np.log(np.array(rows))


LABELLED, LABELS = log((9 / 10, 1 / 10), (2 / 5, 3 / 5), (4 / 5, 1 / 5)), np.array([0, 1, 1])
ORIGINAL = log((4 / 5, 1 / 5), (2 / 3, 1 / 3), (1 / 4, 3 / 4), (1 / 2, 1 / 2))
AUGMENTED = log((1 / 2, 1 / 2), (1 / 2, 1 / 2), (2 / 5, 3 / 5), (1 / 5, 4 / 5))
SETTINGS = {"tsa": "linear", "progress": 0.5, "temperature": 0.5, "confidence": 0.7}

KL = [
    16 / 17 * math.log(32 / 17) + 1 / 17 * math.log(2 / 17),
    4 / 5 * math.log(8 / 5) + 1 / 5 * math.log(2 / 5),
    1 / 10 * math.log(1 / 4) + 9 / 10 * math.log(3 / 2),
    1 / 2 * math.log(5 / 2) + 1 / 2 * math.log(5 / 8),
]
SUPERVISED = (math.log(5 / 3) + math.log(5)) / 2
CONSISTENCY = (KL[0] + KL[2]) / 4
ENTROPY = (  # H(4/5, 1/5) = log 5 - 4/5 log 4, and so on
    (math.log(5) - 4 / 5 * math.log(4))
    + (math.log(3) - 2 / 3 * math.log(2))
    + (math.log(4) - 3 / 4 * math.log(3))
    + math.log(2)
) / 4


def by_hand(**options):
    return uda_loss(LABELLED, LABELS, ORIGINAL, AUGMENTED, **{**SETTINGS, **options})


def test_the_loss_by_hand():
    loss, parts = by_hand(weight=3.0, entropy_weight=0.1)
    expected = {
        "supervised_loss": SUPERVISED,
        "consistency_loss": CONSISTENCY,
        "entropy_loss": ENTROPY,
        "loss": SUPERVISED + 3.0 * CONSISTENCY + 0.1 * ENTROPY,
        "tsa_threshold": 3 / 4,
        "kept_share": 2 / 3,
        "labelled_accuracy": 2 / 3,
        "confident_share": 2 / 4,
        "agreement": 3 / 4,  # the last original's tie goes to class 0
        "original_confidence": (4 / 5 + 2 / 3 + 3 / 4 + 1 / 2) / 4,
        "original_entropy": ENTROPY,
    }
    assert set(parts) == set(expected)
    for name, value in expected.items():
        assert np.isclose(parts[name], value, rtol=1e-13), name
    assert loss.item() == parts["loss"]
    assert loss.shape == ()


def test_each_example_by_hand():
    assert np.allclose(supervised_losses(LABELLED, LABELS).numpy(), np.log([10 / 9, 5 / 3, 5]))
    assert np.allclose(consistency_losses(ORIGINAL, AUGMENTED, UdaSettings(temperature=0.5)).numpy(), KL)
    assert np.isclose(entropies(ORIGINAL).numpy().mean(), ENTROPY)


def test_the_defaults_are_those_that_are_documented():
    spelled_out = by_hand(tsa="none", temperature=0.4, confidence=0.8)[0].item()
    assert spelled_out == uda_loss(LABELLED, LABELS, ORIGINAL, AUGMENTED)[0].item()
    assert dataclasses.asdict(UdaSettings()) == {
        "tsa": "none",
        "temperature": 0.4,
        "confidence": 0.8,
        "weight": 1.0,
        "entropy_weight": 0.0,
        "label_smoothing": 0.0,
        "stop_gradient": True,
        "tsa_gate": "label",
        "supervised_average": "kept",
        "consistency_average": "batch",
        "confidence_of": "plain",
        "temperature_of": "original",
    }


def test_entropy_is_only_named_where_it_is_on():
    assert "entropy_loss" not in by_hand()[1]


def test_the_consistency_loss_is_divided_by_the_whole_unlabelled_batch():
    """Masked rows that are added weaken the rest: the average over the batch is deliberate."""
    more = np.zeros((4, 2))
    loss, parts = uda_loss(LABELLED, LABELS, np.vstack([ORIGINAL, more]), np.vstack([AUGMENTED, more]), **SETTINGS)
    assert np.isclose(parts["consistency_loss"], CONSISTENCY / 2)
    assert np.isclose(loss.item(), SUPERVISED + CONSISTENCY / 2)


def test_the_supervised_loss_is_divided_by_the_survivors():
    """Dropped rows that are added change nothing."""
    sure = log((0.99, 0.01))
    _, parts = uda_loss(np.vstack([LABELLED, sure, sure]), np.append(LABELS, [0, 0]), ORIGINAL, AUGMENTED, **SETTINGS)
    assert np.isclose(parts["supervised_loss"], SUPERVISED)


def test_where_nobody_survives_the_loss_is_zero_and_not_nan():
    labelled = mv.tensor(log((0.99, 0.01), (0.02, 0.98)), requires_grad=True)
    loss, parts = uda_loss(labelled, np.array([0, 1]), ORIGINAL, AUGMENTED, **{**SETTINGS, "confidence": 0.9})
    assert parts["kept_share"] == parts["confident_share"] == 0.0
    assert loss.item() == 0.0
    loss.backward()
    assert np.array_equal(labelled.grad, np.zeros((2, 2)))


def test_label_smoothing_moves_the_target_and_not_the_gate():
    _, parts = by_hand(label_smoothing=0.2)
    # 0.9 of the label and 0.1 of the other class: row 1 and row 2 as above.
    expected = (0.9 * math.log(5 / 3) + 0.1 * math.log(5 / 2) + 0.9 * math.log(5) + 0.1 * math.log(5 / 4)) / 2
    assert np.isclose(parts["supervised_loss"], expected)
    assert np.isclose(parts["kept_share"], 2 / 3)


def test_a_nan_shows_even_in_a_row_that_is_masked():
    original = ORIGINAL.copy()
    original[3] = np.nan
    assert np.isnan(uda_loss(LABELLED, LABELS, original, AUGMENTED, **SETTINGS)[0].item())


# Mistakes that people make: the batch by hand tells each of them from the right loss


def furthest_from_by_hand() -> float:
    _, parts = by_hand(entropy_weight=0.1)
    expected = {
        "supervised_loss": SUPERVISED,
        "consistency_loss": CONSISTENCY,
        "entropy_loss": ENTROPY,
        "loss": SUPERVISED + CONSISTENCY + 0.1 * ENTROPY,
        "kept_share": 2 / 3,
        "confident_share": 2 / 4,
    }
    return max(abs(parts[name] - value) for name, value in expected.items())


def test_the_right_loss_is_right():
    assert furthest_from_by_hand() < 1e-13


KL_OF, CE_OF = ops.kl_divergence, ops.cross_entropy


def largest(logits):
    return ops.softmax(logits).numpy().max(1)


MISTAKES = {
    "multiply by the temperature": (
        ops,
        "kl_divergence",
        lambda temperature, **o: KL_OF(temperature=1 / temperature, **o),
    ),
    "forget the temperature": (ops, "kl_divergence", lambda temperature, **o: KL_OF(**o)),
    "sharpen the prediction": (
        ops,
        "kl_divergence",
        lambda target_logits, pred_logits, temperature, **o: KL_OF(
            target_logits=target_logits, pred_logits=pred_logits / temperature, **o
        ),
    ),
    "turn the divergence round": (
        ops,
        "kl_divergence",
        lambda target_logits, pred_logits, **o: KL_OF(target_logits=pred_logits, pred_logits=target_logits, **o),
    ),
    "take the cross-entropy": (
        ops,
        "kl_divergence",
        lambda target_logits, pred_logits, temperature, **o: CE_OF(
            pred_logits, ops.softmax(target_logits / temperature), reduction="none"
        ),
    ),
    "sharpen the mask": (uda, "confident", lambda z, beta, tau, of: largest(z / tau) > beta),
    "mask the confident": (uda, "confident", lambda z, beta, tau, of: largest(z) <= beta),
    "forget the mask": (uda, "confident", lambda z, beta, tau, of: np.ones(len(z), bool)),
    "mask by the augmented": (uda, "confident", lambda z, beta, tau, of: largest(AUGMENTED) > beta),
    "divide by the confident": (uda, "consistency_divisor", lambda sure, settings: int(sure.sum())),
    "divide by all rows": (uda, "consistency_divisor", lambda sure, settings: 7),
    "divide by the labelled": (uda, "supervised_divisor", lambda kept, settings: kept.size),
    "keep the confident": (uda, "tsa_kept", lambda z, y, eta, gate: ops.softmax(z).numpy()[[0, 1, 2], y] > eta),
    "forget the annealing": (uda, "tsa_kept", lambda z, y, eta, gate: np.ones(len(z), bool)),
    "anneal by the largest": (uda, "tsa_kept", lambda z, y, eta, gate: largest(z) <= eta),
    "anneal by progress alone": (uda, "tsa_threshold", lambda schedule, progress, num_classes: progress),
    "maximise the entropy": (uda, "entropies", lambda z: (ops.softmax(z) * ops.log_softmax(z)).sum(-1)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake, monkeypatch):
    module, name, wrong = MISTAKES[mistake]
    monkeypatch.setattr(module, name, wrong)
    assert furthest_from_by_hand() > 0.01


# Bad input


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("tsa", "cosine", "tsa must be one of none, linear, log, exp; got 'cosine'"),
        ("tsa", "linear_schedule", "tsa must be one of"),
        ("temperature", 0.0, "temperature must be positive, got 0.0; 1 is no sharpening"),
        ("temperature", -1.0, "temperature must be positive"),
        ("temperature", math.inf, "temperature must be positive"),
        ("temperature", math.nan, "temperature must be positive"),
        ("confidence", 1.5, "confidence is a probability, at most 1"),
        ("confidence", math.nan, "confidence is a probability"),
        ("weight", -0.5, "weight must be 0 or more, got -0.5"),
        ("weight", math.nan, "weight must be 0 or more"),
        ("entropy_weight", -1.0, "entropy_weight must be 0 or more"),
        ("label_smoothing", 1.5, r"label_smoothing must lie in \[0, 1\], got 1.5"),
        ("tsa_gate", "correct", "tsa_gate must be one of label, max"),
        ("supervised_average", "mean", "supervised_average must be one of kept, batch"),
        ("consistency_average", "mask", "consistency_average must be one of batch, confident"),
        ("confidence_of", "sharp", "confidence_of must be one of plain, sharpened"),
        ("temperature_of", "both", "temperature_of must be one of original, augmented"),
    ],
)
def test_a_bad_setting_is_refused(setting, value, complaint):
    with pytest.raises(ValueError, match=complaint):
        UdaSettings(**{setting: value})
    with pytest.raises(ValueError, match=complaint):
        by_hand(**{setting: value})


@pytest.mark.parametrize("progress", [-0.01, 1.01, 7, math.nan])
@pytest.mark.parametrize("tsa", TSA_SCHEDULES)
def test_progress_runs_from_0_to_1(tsa, progress):
    with pytest.raises(ValueError, match="progress is the step divided by the number of steps"):
        by_hand(tsa=tsa, progress=progress)


def test_a_schedule_needs_a_name_and_two_classes():
    with pytest.raises(ValueError, match="tsa must be one of none, linear, log, exp; got 'cos'"):
        tsa_threshold("cos", 0.5, 10)
    with pytest.raises(ValueError, match="two classes or more, got 1"):
        tsa_threshold("linear", 0.5, 1)


@pytest.mark.parametrize(
    ("changed", "error", "complaint"),
    [
        ({0: LABELLED[0]}, ShapeError, r"labelled_logits must be \(B, K\)"),
        ({0: LABELLED[:0], 1: LABELS[:0]}, ShapeError, "an example at least"),
        ({1: LABELS[:2]}, ShapeError, r"labelled_logits \(3, 2\) need labels \(3,\), got \(2,\)"),
        ({1: np.eye(2)[LABELS]}, DTypeError, "labels must be integers, the classes of the examples; got float64"),
        ({1: np.array([0, 1, 2])}, ValueError, r"labels must lie in 0\.\.1"),
        ({1: np.array([0, 1, -1])}, ValueError, r"labels must lie in 0\.\.1"),
        ({2: ORIGINAL[:3]}, ShapeError, r"row by row of the same images.*got \(3, 2\) and \(4, 2\)"),
        ({2: ORIGINAL[:0], 3: AUGMENTED[:0]}, ShapeError, "an image at least"),
        ({2: ORIGINAL[0], 3: AUGMENTED[0]}, ShapeError, r"must both be \(U, K\)"),
        ({2: np.zeros((4, 3)), 3: np.zeros((4, 3))}, ShapeError, r"the same classes; got \(3, 2\) and \(4, 3\)"),
    ],
)
def test_batches_that_do_not_fit_are_refused(changed, error, complaint):
    arguments = [changed.get(i, x) for i, x in enumerate((LABELLED, LABELS, ORIGINAL, AUGMENTED))]
    with pytest.raises(error, match=complaint):
        uda_loss(*arguments, **SETTINGS)


def test_a_misspelt_deviation_is_refused():
    with pytest.raises(TypeError, match="tsa_gates"):
        by_hand(tsa_gates="max")
