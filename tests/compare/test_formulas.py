"""The lecture's formulas, each written out once more and held to the ops and models that train by it.

The page docs/formulas.md shows them.
"""

import math
import os

import numpy as np
import pytest
import scipy.stats

import minivit as mv
from minivit import models, ops
from minivit.recipes.uda import uda_loss

LOGITS, OTHERS = 2.0 * np.random.default_rng(5).standard_normal((2, 6, 4))  # (B, K)
LABELS = np.array([0, 3, 1, 1, 2, 0])
ONE_HOT = np.eye(4)[LABELS]

# The example in the documentation of keras.losses.CategoricalCrossentropy; for the probability of 0 a logarithm that
# softmax makes next to nothing of.
Y_TRUE = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
Y_PRED = np.array([[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]])
LOG_PRED = np.log(np.maximum(Y_PRED, np.finfo(float).tiny))


def softmax(z):
    """By the formula, in Python's floats."""
    return np.array([[math.exp(a) / sum(math.exp(b) for b in row) for a in row] for row in z.tolist()])


P, Q = softmax(OTHERS), softmax(LOGITS)


def leaf(array):
    return mv.tensor(array, requires_grad=True)


def entropy(logits):
    """H(softmax(z)), with its gradient."""
    return -(ops.softmax(logits) * ops.log_softmax(logits)).sum(-1)


# Losses


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_negative_log_likelihood_is_the_cross_entropy_of_one_hot_targets(reduction):
    likelihoods = [q[label] for q, label in zip(Q, LABELS, strict=True)]
    expected = [-math.log(likelihood) for likelihood in likelihoods]
    expected = {"mean": -math.log(math.prod(likelihoods)) / 6, "sum": sum(expected), "none": expected}[reduction]
    for targets in (LABELS, ONE_HOT):
        z = leaf(LOGITS)
        loss = ops.cross_entropy(z, targets, reduction=reduction)
        np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-14)
        gradient = mv.grad(loss.sum(), z).numpy()
        np.testing.assert_allclose(gradient, (Q - ONE_HOT) / (6 if reduction == "mean" else 1), atol=1e-15)


@pytest.mark.reference
def test_pytorchs_two_names_for_it_give_the_same():
    import torch

    ours = leaf(LOGITS)
    loss = ops.cross_entropy(ours, LABELS)
    for theirs in (torch.nn.NLLLoss(), torch.nn.CrossEntropyLoss()):
        z = torch.tensor(LOGITS, requires_grad=True)
        of = z.log_softmax(1) if isinstance(theirs, torch.nn.NLLLoss) else z
        value = theirs(of, torch.tensor(LABELS))
        value.backward()
        np.testing.assert_allclose(loss.numpy(), value.detach(), rtol=1e-14)
        np.testing.assert_allclose(mv.grad(loss, ours, retain_graph=True).numpy(), z.grad, atol=1e-15)


def test_the_cross_entropy_is_the_expectation_of_minus_log_q():
    """Exactly for the labels' own frequencies; within five standard errors for the distribution they are drawn from."""
    n, rng = 20_000, np.random.default_rng(0)
    expectations = ops.cross_entropy(LOGITS, P, reduction="none").numpy()
    for z, p, q, expectation in zip(LOGITS, P, Q, expectations, strict=True):
        labels = rng.choice(4, n, p=p)
        mean = ops.cross_entropy(np.tile(z, (n, 1)), labels).item()
        frequencies = np.bincount(labels, minlength=4) / n
        assert mean == pytest.approx(ops.cross_entropy(z[None], frequencies[None]).item(), rel=1e-11)
        assert expectation == pytest.approx(sum(p * -np.log(q)), rel=1e-14)
        spread = math.sqrt(sum(p * np.log(q) ** 2) - expectation**2)
        assert abs(mean - expectation) < 5 * spread / math.sqrt(n)
        assert spread > 0.1


def test_the_divergence_is_the_cross_entropy_less_the_entropy():
    divergence = ops.kl_divergence(target_logits=OTHERS, pred_logits=LOGITS).numpy()
    np.testing.assert_allclose(divergence, scipy.stats.entropy(P, Q, axis=1), rtol=1e-12)
    np.testing.assert_allclose(entropy(leaf(OTHERS)).numpy(), scipy.stats.entropy(P, axis=1), rtol=1e-13)
    crossed = ops.cross_entropy(LOGITS, P, reduction="none").numpy()
    np.testing.assert_allclose(divergence, crossed - scipy.stats.entropy(P, axis=1), rtol=1e-12)
    own = ops.cross_entropy(OTHERS, P, reduction="none").numpy()
    np.testing.assert_allclose(own, scipy.stats.entropy(P, axis=1), rtol=1e-13)  # its least value, which is not zero
    assert (crossed > own + 0.01).all()


def test_where_the_entropy_is_a_constant_divergence_and_cross_entropy_have_one_gradient():
    gradients = []
    for loss_of in (
        lambda z: ops.kl_divergence(target_logits=OTHERS, pred_logits=z),
        lambda z: ops.cross_entropy(z, P, reduction="none"),
    ):
        z = leaf(LOGITS)
        gradients.append(mv.grad(loss_of(z).sum(), z).numpy())
        np.testing.assert_allclose(gradients[-1], Q - P, atol=1e-15)
    assert np.abs(gradients[0]).max() > 0.1


def test_where_it_is_not_their_gradients_differ_by_that_of_the_entropy():
    def at_target(loss_of):
        target = leaf(OTHERS)
        return mv.grad(loss_of(target).sum(), target).numpy()

    divergence = at_target(lambda t: ops.kl_divergence(target_logits=t, pred_logits=LOGITS, allow_target_gradient=True))
    crossed = at_target(lambda t: ops.cross_entropy(LOGITS, ops.softmax(t), reduction="none"))
    np.testing.assert_allclose(divergence, crossed - at_target(entropy), atol=1e-14)
    assert np.abs(divergence - crossed).max() > 0.1


def test_the_divergence_from_one_hot_targets_is_the_negative_log_likelihood():
    certain = 1000.0 * ONE_HOT  # softmax gives exactly 0 and 1, whose entropy is 0
    divergence = ops.kl_divergence(target_logits=certain, pred_logits=LOGITS).numpy()
    np.testing.assert_allclose(divergence, ops.cross_entropy(LOGITS, LABELS, reduction="none").numpy(), rtol=1e-14)


# Keras' cce(y_true, y_pred)


def test_cce_of_its_own_example():
    """Keras' documentation prints 0.0513 and 2.303, their mean 1.177, their sum 2.354, and 0.814 with weights."""
    losses = ops.cross_entropy(LOG_PRED, Y_TRUE, reduction="none").numpy()
    np.testing.assert_allclose(losses, [-math.log(0.95), -math.log(0.1)], rtol=1e-14)
    assert losses.round(4).tolist() == [0.0513, 2.3026]
    assert round(ops.cross_entropy(LOG_PRED, Y_TRUE).item(), 3) == 1.177
    assert round(ops.cross_entropy(LOG_PRED, Y_TRUE, reduction="sum").item(), 3) == 2.354
    weighted = ops.cross_entropy(LOG_PRED, Y_TRUE, example_weights=np.array([0.3, 0.7]), reduction="sum").item()
    assert round(weighted / 2, 3) == 0.814  # Keras divides by the examples, minivit's mean by their weights


@pytest.mark.reference("keras", "jax")
def test_cce_is_keras():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras

    def cce(reduction, y_pred=Y_PRED, **options):
        with jax.enable_x64(True):
            loss = keras.losses.CategoricalCrossentropy(reduction=reduction, dtype="float64")
            return np.asarray(loss(Y_TRUE, y_pred, **options))

    weights = np.array([0.3, 0.7])
    for theirs, ours in (("sum_over_batch_size", "mean"), ("sum", "sum"), (None, "none")):
        found = ops.cross_entropy(LOG_PRED, Y_TRUE, reduction=ours).numpy()
        np.testing.assert_allclose(found, cce(theirs), rtol=1e-14)
    found = ops.cross_entropy(LOG_PRED, Y_TRUE, example_weights=weights).numpy()
    np.testing.assert_allclose(found, cce("mean_with_sample_weight", sample_weight=weights), rtol=1e-14)
    np.testing.assert_allclose(found / 2, cce("sum_over_batch_size", sample_weight=weights), rtol=1e-14)
    wrong = Y_PRED[:, [0, 2, 1]]  # the true class of the first example has a probability of 0
    assert cce(None, wrong)[0] == pytest.approx(-math.log(1e-7))
    assert ops.cross_entropy(LOG_PRED[:, [0, 2, 1]], Y_TRUE, reduction="none").numpy()[0] > 700


# Softmax and its temperature


@pytest.mark.parametrize("temperature", [0.1, 0.4, 1.0, 3.0])
def test_the_temperature_raises_probabilities_to_a_power(temperature):
    tempered = ops.softmax(LOGITS / temperature).numpy()
    powers = Q ** (1.0 / temperature)
    np.testing.assert_allclose(tempered, powers / powers.sum(-1, keepdims=True), rtol=1e-12)
    z, dy = leaf(LOGITS), np.random.default_rng(1).standard_normal(LOGITS.shape)
    dz = mv.grad(ops.softmax(z / temperature), z, dy).numpy()
    jacobian = (tempered[:, :, None] * (np.eye(4) - tempered[:, None, :])) / temperature  # (B, K, K)
    np.testing.assert_allclose(dz, np.einsum("bi,bij->bj", dy, jacobian), atol=1e-13)


def test_cold_is_certain_and_hot_is_uniform():
    entropies = [entropy(mv.tensor(LOGITS / t)).numpy() for t in (0.1, 0.4, 1.0, 3.0, 10.0)]
    assert (np.diff(entropies, axis=0) > 0).all()
    np.testing.assert_allclose(ops.softmax(LOGITS / 1e-4).numpy(), np.eye(4)[LOGITS.argmax(1)], atol=1e-12)
    np.testing.assert_allclose(ops.softmax(LOGITS / 1e6).numpy(), 0.25, atol=1e-5)
    np.testing.assert_allclose(entropies[-1], math.log(4), atol=0.2)


# UDA


def test_udas_loss_and_its_gradients_are_the_formulas():
    """L = mean(-log q_y) + (lambda / U) sum_j [max p_j > beta] KL(t_j || a_j).

    p and t are softmax(o) and softmax(o / tau) of the originals' logits; both are constants.
    """
    tau, beta, weight = 0.4, 0.6, 2.0
    rng = np.random.default_rng(2)
    augmented = 1.5 * rng.standard_normal((6, 4))
    t, a = softmax(OTHERS / tau), softmax(augmented)
    counts = P.max(1) > beta
    assert 0 < counts.sum() < 6
    expected = -np.log(Q[np.arange(6), LABELS]).mean() + weight / 6 * (counts[:, None] * t * np.log(t / a)).sum()

    labelled, original, copies = (leaf(z) for z in (LOGITS, OTHERS, augmented))
    loss, _ = uda_loss(labelled, LABELS, original, copies, temperature=tau, confidence=beta, weight=weight)
    loss.backward()
    assert loss.item() == pytest.approx(expected, rel=1e-13)
    np.testing.assert_allclose(labelled.grad, (Q - ONE_HOT) / 6, atol=1e-15)
    np.testing.assert_allclose(copies.grad, weight / 6 * counts[:, None] * (a - t), atol=1e-15)
    assert original.grad is None

    moved = OTHERS + 1e-3 * rng.standard_normal(OTHERS.shape)
    elsewhere, _ = uda_loss(LOGITS, LABELS, moved, augmented, temperature=tau, confidence=beta, weight=weight)
    assert abs(elsewhere.item() - expected) > 1e-6  # the loss does depend on the target that no gradient reaches


# How large a Vision Transformer is


def closed_form(dim, depth, mlp_dim, image_size, patch_size, num_classes, representation_size=None, heads=None):
    """Patches, class token, positions, blocks of two LayerNorms, attention and MLP, the last LayerNorm, the head.

    The number of heads changes nothing.
    """
    positions = (image_size // patch_size) ** 2 + 1
    block = 2 * 2 * dim + (3 * dim * dim + 3 * dim) + (dim * dim + dim) + 2 * dim * mlp_dim + mlp_dim + dim
    width = representation_size or dim
    last = (dim + 1) * width if representation_size else 0
    last += (width + 1) * num_classes if num_classes else 0
    return 3 * patch_size**2 * dim + dim + dim + positions * dim + depth * block + 2 * dim + last


def count(name, **overrides):
    return models.create(name, initialization="none", **overrides).count_parameters()


PAPER = {"Base": 86, "Large": 307, "Huge": 632}  # in millions: Dosovitskiy et al. 2020, table 1
WITH_CLASS_TOKEN = [
    name
    for name, config in models.CONFIGS.items()
    if config.family is models.VisionTransformer and "pool" not in config.settings
]


@pytest.mark.parametrize("name", WITH_CLASS_TOKEN)
@pytest.mark.parametrize(
    "overrides", [{}, {"num_classes": 0}, {"num_classes": 0, "representation_size": 12}, {"representation_size": 12}]
)
def test_the_number_of_parameters_has_a_closed_form(name, overrides):
    assert count(name, **overrides) == closed_form(**{**models.find(name).settings, **overrides})


def test_base_and_huge_have_as_many_as_the_paper_says():
    base, huge = "vit_base_patch16_224", "vit_huge_patch14_224"
    assert round(count(base, num_classes=0) / 1e6) == PAPER["Base"]  # 85.8, 86.6 with 1,000 classes
    assert round(count(base) / 1e6) == PAPER["Base"] + 1
    assert round(count(huge) / 1e6) == PAPER["Huge"]  # 632.0, 630.8 without a head
    assert round(count(huge, num_classes=0) / 1e6) == PAPER["Huge"] - 1


def test_no_head_of_the_papers_gives_large_307_million():
    large = "vit_large_patch16_224"
    assert round(count(large, num_classes=0) / 1e6, 1) == 303.3
    assert round(count(large) / 1e6, 1) == 304.3
    assert round(count(large, num_classes=21_843, representation_size=1024) / 1e6, 1) == 326.7
    data_sets = (0, 10, 37, 100, 102, 1000, 18_291, 21_843)  # ... JFT-300M and ImageNet-21k
    for classes in data_sets:
        for width in (None, 1024):
            assert not 306.5e6 <= count(large, num_classes=classes, representation_size=width) < 308e6
    assert round(count("vit_large_patch32_224") / 1e6) == PAPER["Large"]  # 306.5: patches of 32
    assert round(count("vit_large_patch32_224") / 1e6, 1) == 306.5


@pytest.mark.parametrize(
    ("name", "side"), [("vit_base_patch32_224", 7), ("vit_base_patch16_224", 14), ("vit_huge_patch14_224", 16)]
)
def test_a_grid_of_patches_has_a_position_for_each(name, side):
    settings = models.find(name).settings
    images = np.zeros((1, 3, 224, 224))
    assert ops.patchify(images, settings["patch_size"]).shape[1] == side**2
    model = models.create(name, initialization="none")
    assert model.pos_embed.shape == (1, side**2 + 1, settings["dim"])  # one more, for the class token
    model = models.create(name, initialization="none", pool="mean")
    assert model.pos_embed.shape == (1, side**2, settings["dim"])


def test_seven_by_seven_patches_have_forty_nine_positions():
    assert models.create("vit_base_patch32_224", initialization="none", pool="mean").position_count == 49
