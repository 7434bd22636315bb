"""Where the gradient of the UDA loss flows, and where the stop cuts it.

An oracle sees through a stop, so only inputs are perturbed that no stop hides; and a mask is constant only around
points where no probability is near its threshold, which the fixture asserts.
"""

import numpy as np
import pytest

import minivit as mv
from minivit import ops
from minivit.autograd.errors import StopGradientError
from minivit.recipes.uda import UdaSettings, consistency_losses, entropies, terms, uda_loss

ETA = 0.25 + 0.75 * 0.5
HALFWAY = {"tsa": "linear", "progress": 0.5, "confidence": 0.6}


@pytest.fixture
def batch():
    """Logits (5, 4), labels (5,), logits (7, 4) and (7, 4), some of whose rows are masked."""
    rng = np.random.default_rng(113)
    labelled, original, augmented = (1.5 * rng.standard_normal(shape) for shape in ((5, 4), (7, 4), (7, 4)))
    labels = np.array([0, 1, 2, 3, 1])
    for logits, threshold in ((labelled, ETA), (original, 0.6), (original / 0.4, 0.6)):
        p = ops.softmax(logits).numpy()
        assert np.abs(p - threshold).min() > 0.01
        assert 0 < (p.max(1) > threshold).sum() < len(p)
    return labelled, labels, original, augmented


def leaves(batch, dtype=np.float64):
    labelled, labels, original, augmented = batch
    return [mv.tensor(x.astype(dtype), requires_grad=True) for x in (labelled, original, augmented)], labels


DEVIATIONS = [
    {},
    {"label_smoothing": 0.1, "weight": 2.0},
    {"tsa_gate": "max", "supervised_average": "batch"},
    {"consistency_average": "confident"},
    {"confidence_of": "sharpened"},
    {"temperature_of": "augmented"},
]


@pytest.mark.parametrize("options", DEVIATIONS, ids=str)
def test_the_gradient_of_the_whole_loss(batch, options):
    labelled, labels, original, augmented = batch

    def loss(labelled, augmented):
        return uda_loss(labelled, labels, original, augmented, **HALFWAY, **options)[0]

    mv.check_gradients(loss, labelled, augmented)


@pytest.mark.parametrize("options", DEVIATIONS, ids=str)
def test_the_gradient_of_the_whole_loss_without_the_stop(batch, options):
    labelled, labels, original, augmented = batch

    def loss(labelled, original, augmented):
        return uda_loss(
            labelled, labels, original, augmented, **HALFWAY, stop_gradient=False, entropy_weight=0.3, **options
        )[0]

    mv.check_gradients(loss, labelled, original, augmented)


def test_the_gradient_of_the_entropy_term(batch):
    """Without the divergence, whose stop an oracle would see through."""
    labelled, labels, original, augmented = batch

    def loss(original):
        return uda_loss(labelled, labels, original, augmented, weight=0.0, entropy_weight=0.7)[0]

    mv.check_gradients(loss, original)
    mv.check_gradients(entropies, original)


def test_no_gradient_reaches_the_original_branch(batch):
    (labelled, original, augmented), labels = leaves(batch)
    loss, parts = uda_loss(labelled, labels, original, augmented, **HALFWAY)
    assert parts["confident_share"] > 0
    loss.backward()
    assert original.grad is None
    assert np.abs(augmented.grad).max() > 1e-3


def test_without_the_stop_it_does(batch):
    (labelled, original, augmented), labels = leaves(batch)
    loss, _ = uda_loss(labelled, labels, original, augmented, **HALFWAY, stop_gradient=False)
    loss.backward()
    assert np.abs(original.grad).max() > 1e-3


def test_a_forgotten_stop_is_refused(batch, monkeypatch):
    monkeypatch.setattr(terms, "stop_gradient", lambda x: x)
    (labelled, original, augmented), labels = leaves(batch)
    with pytest.raises(StopGradientError, match="target_logits carries gradient"):
        uda_loss(labelled, labels, original, augmented, **HALFWAY)


def test_the_stop_does_not_change_the_value_nor_the_other_gradients(batch):
    results = []
    for stop in (True, False):
        (labelled, original, augmented), labels = leaves(batch)
        loss, _ = uda_loss(labelled, labels, original, augmented, **HALFWAY, stop_gradient=stop)
        loss.backward()
        results.append((loss.numpy(), labelled.grad, augmented.grad))
    for mine, other in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, other)


def test_masked_rows_have_no_gradient(batch):
    (labelled, original, augmented), labels = leaves(batch)
    uda_loss(labelled, labels, original, augmented, **HALFWAY)[0].backward()
    sure = ops.softmax(original.data).numpy().max(1) > 0.6
    assert (np.abs(augmented.grad[sure]).max(1) > 1e-6).all()
    assert not augmented.grad[~sure].any()
    dropped = ops.softmax(labelled.data).numpy()[np.arange(5), labels] > ETA
    assert dropped.any()
    assert (np.abs(labelled.grad[~dropped]).max(1) > 1e-6).all()
    assert not labelled.grad[dropped].any()


def test_a_teacher_that_ran_without_gradient_gives_the_same_step(batch):
    (labelled, original, augmented), labels = leaves(batch)
    uda_loss(labelled, labels, original, augmented, **HALFWAY)[0].backward()
    (labelled_too, _, augmented_too), _ = leaves(batch)
    uda_loss(labelled_too, labels, batch[2], augmented_too, **HALFWAY)[0].backward()
    np.testing.assert_array_equal(labelled_too.grad, labelled.grad)
    np.testing.assert_array_equal(augmented_too.grad, augmented.grad)


def test_the_entropy_term_trains_the_original_branch_in_spite_of_the_stop(batch):
    """dH/do_k = -p_k (log p_k + H): the clean branch becomes more certain."""
    (labelled, original, augmented), labels = leaves(batch)
    loss, parts = uda_loss(labelled, labels, original, augmented, **HALFWAY, entropy_weight=0.5)
    loss.backward()
    p = ops.softmax(original.data).numpy()
    h = -(p * np.log(p)).sum(1, keepdims=True)
    np.testing.assert_allclose(original.grad, 0.5 / 7 * -p * (np.log(p) + h), atol=1e-15)
    assert np.isclose(parts["entropy_loss"], h.mean())
    assert entropies(original.data - 0.1 * original.grad).numpy().mean() < h.mean()


def test_an_entropy_term_that_could_train_nothing_is_refused(batch):
    (labelled, original, augmented), labels = leaves(batch)
    with mv.no_grad():
        constant = original * 1.0
    with pytest.raises(ValueError, match="original_logits carries no gradient; compute it outside no_grad"):
        uda_loss(labelled, labels, constant, augmented, entropy_weight=0.1)
    with mv.no_grad():  # nothing is trained here
        assert uda_loss(*batch, entropy_weight=0.1)[1]["entropy_loss"] > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_dtype_keeps_itself(batch, dtype):
    for options in (*DEVIATIONS, {"stop_gradient": False}):
        inputs, labels = leaves(batch, dtype)
        labelled, original, augmented = inputs
        loss, parts = uda_loss(labelled, labels, original, augmented, **HALFWAY, entropy_weight=0.1, **options)
        loss.backward()
        assert loss.dtype == dtype
        assert all(x.grad.dtype == dtype for x in inputs)
        for name in ("loss", "supervised_loss", "consistency_loss", "entropy_loss", "original_entropy"):
            assert parts[name].dtype == dtype, name


def test_float32_is_float64_but_for_rounding(batch):
    loss, _ = uda_loss(*batch, **HALFWAY)
    single = [x.astype(np.float32) if x.dtype == np.float64 else x for x in batch]
    assert np.isclose(uda_loss(*single, **HALFWAY)[0].item(), loss.item(), rtol=1e-5)


# The numbers of one example: target logits (2, 0, -1), prediction logits (0, 1, 0)


def both(temperature=1.0, stop=True):
    target = mv.tensor(np.array([[2.0, 0.0, -1.0]]), requires_grad=True)
    prediction = mv.tensor(np.array([[0.0, 1.0, 0.0]]), requires_grad=True)
    settings = UdaSettings(temperature=temperature, stop_gradient=stop)
    divergence = consistency_losses(target, prediction, settings).sum()
    p = ops.softmax(target * (1.0 / temperature))
    crossed = ops.cross_entropy(prediction, mv.stop_gradient(p) if stop else p, reduction="sum")
    return [
        [None if g is None else g.numpy()[0] for g in mv.grad(loss, [target, prediction], allow_unused=True)]
        for loss in (divergence, crossed)
    ]


def test_the_divergence_of_one_example():
    target, prediction = np.array([[2.0, 0.0, -1.0]]), np.array([[0.0, 1.0, 0.0]])
    assert np.allclose(ops.softmax(target).numpy(), [[0.8438, 0.1142, 0.0420]], atol=5e-5)
    assert np.allclose(ops.softmax(prediction).numpy(), [[0.2119, 0.5761, 0.2119]], atol=5e-5)
    settings = UdaSettings(temperature=1.0)
    assert np.isclose(consistency_losses(target, prediction, settings).item(), 0.9130, atol=5e-5)
    assert np.isclose(consistency_losses(prediction, target, settings).item(), 0.9826, atol=5e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_with_the_stop_divergence_and_cross_entropy_teach_the_same(temperature):
    (divergence_target, divergence), (crossed_target, crossed) = both(temperature)
    assert divergence_target is None
    assert crossed_target is None
    np.testing.assert_allclose(divergence, crossed, rtol=1e-13)
    if temperature == 1.0:
        assert np.allclose(divergence, [-0.6319, 0.4619, 0.1699], atol=5e-5)


def test_without_the_stop_each_pulls_the_target_its_own_way():
    (divergence_target, divergence), (crossed_target, crossed) = both(stop=False)
    assert np.allclose(divergence_target, [0.3954, -0.2891, -0.1063], atol=5e-5)
    assert np.allclose(crossed_target, [0.0964, -0.1012, 0.0048], atol=5e-5)
    np.testing.assert_allclose(divergence, crossed, rtol=1e-13)
