"""The parts of a batch add up to it, and what other implementations do differently."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minivit as mv
from minivit.autograd.errors import ShapeError
from minivit.recipes.step import summed
from minivit.recipes.uda import (
    IMPLEMENTATIONS,
    UdaSettings,
    confident,
    consistency_divisor,
    named_quantities,
    part_loss,
    supervised_divisor,
    tsa_kept,
    tsa_threshold,
    uda_loss,
)

DEVIATION = {
    "stop_gradient": False,
    "tsa_gate": "max",
    "supervised_average": "batch",
    "consistency_average": "confident",
    "confidence_of": "sharpened",
    "temperature_of": "augmented",
}


def batch(seed, labelled=6, unlabelled=9, classes=4):
    rng = np.random.default_rng(seed)
    logits = [2.0 * rng.standard_normal((rows, classes)) for rows in (labelled, unlabelled, unlabelled)]
    return logits, rng.integers(0, classes, labelled)


def leaves(logits):
    return [mv.tensor(x, requires_grad=True) for x in logits]


def cut(rows, parts, rng):
    """Contiguous slices that cover the rows; some may be empty."""
    bounds = np.sort([0, *rng.integers(0, rows + 1, parts - 1), rows])
    return [slice(a, b) for a, b in pairwise(bounds)]


@settings(max_examples=40)
@given(
    parts=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    options=st.fixed_dictionaries(
        {
            "tsa": st.sampled_from(["none", "log", "exp"]),
            "entropy_weight": st.sampled_from([0.0, 0.2]),
            "confidence": st.sampled_from([0.0, 0.7, 0.99]),
        },
        optional={name: st.just(value) for name, value in DEVIATION.items()},
    ),
)
def test_parts_add_up_to_the_batch(parts, seed, options):
    logits, labels = batch(seed)
    whole = leaves(logits)
    loss, quantities = uda_loss(whole[0], labels, *whole[1:], progress=0.4, weight=1.5, **options)
    loss.backward()

    wanted = UdaSettings(weight=1.5, **options)
    threshold = tsa_threshold(wanted.tsa, 0.4, 4)
    kept = tsa_kept(logits[0], labels, threshold, wanted.tsa_gate)
    sure = confident(logits[1], wanted.confidence, wanted.temperature, wanted.confidence_of)
    labelled, original, augmented = leaves(logits)
    rng, losses, sums = np.random.default_rng(seed), [], []
    for a, b in zip(cut(6, parts, rng), cut(9, parts, rng), strict=True):
        has_labelled, has_unlabelled = a.stop > a.start, b.stop > b.start
        if not has_labelled and not has_unlabelled:
            continue
        part, named = part_loss(
            labelled[a] if has_labelled else None,
            labels[a],
            original[b] if has_unlabelled else None,
            augmented[b],
            settings=wanted,
            kept=kept[a],
            confident=sure[b],
            supervised_divisor=supervised_divisor(kept, wanted),
            consistency_divisor=consistency_divisor(sure, wanted),
            entropy_divisor=9,
        )
        part.backward()
        losses.append(part.item())
        sums.append(named)

    assert np.isclose(sum(losses), loss.item(), rtol=1e-12)
    added = named_quantities(summed(sums), 6, 9, threshold)
    assert added.keys() == quantities.keys()
    for name, value in quantities.items():
        assert np.isclose(added[name], value, rtol=1e-12, atol=1e-15), name
    for mine, theirs in zip((labelled, original, augmented), whole, strict=True):
        assert (mine.grad is None) == (theirs.grad is None)
        if theirs.grad is not None:
            np.testing.assert_allclose(mine.grad, theirs.grad, rtol=1e-12, atol=1e-15)


def part(logits, labels, **changed):
    options = {
        "settings": UdaSettings(confidence=0.5),
        "kept": np.ones(6, bool),
        "confident": np.ones(9, bool),
        "supervised_divisor": 6,
        "consistency_divisor": 9,
    }
    return part_loss(logits[0], labels, logits[1], logits[2], **{**options, **changed})


def test_a_part_with_labelled_rows_alone_is_supervised_training():
    (labelled, _, _), labels = batch(0)
    loss, sums = part_loss(
        labelled,
        labels,
        None,
        None,
        settings=UdaSettings(),
        kept=np.ones(6, bool),
        confident=None,
        supervised_divisor=6,
        consistency_divisor=None,
    )
    assert np.isclose(loss.item(), mv.ops.cross_entropy(labelled, labels).item())
    assert set(sums) == {"loss", "supervised_loss", "correct", "kept"}
    assert set(named_quantities(sums, 6, 0, 1.0)) == {
        "loss",
        "supervised_loss",
        "labelled_accuracy",
        "kept_share",
        "tsa_threshold",
    }


def test_a_part_without_rows_is_refused():
    logits, labels = batch(0)
    with pytest.raises(ValueError, match="needs labelled rows or unlabelled rows; got neither"):
        part([None, None, None], None)
    with pytest.raises(ShapeError, match=r"9 rows need a mask confident of as many, got \(6,\)"):
        part(logits, labels, confident=np.ones(6, bool))
    with pytest.raises(ShapeError, match="6 rows need a mask kept of as many, got None"):
        part(logits, labels, kept=None)


def test_the_entropy_term_never_divides_by_the_confident():
    logits, labels = batch(0)
    wanted = UdaSettings(consistency_average="confident", entropy_weight=0.1)
    with pytest.raises(ValueError, match="the entropy term needs an entropy_divisor"):
        part(logits, labels, settings=wanted, consistency_divisor=2)
    _, sums = part(logits, labels, settings=wanted, consistency_divisor=2, entropy_divisor=9)
    assert np.isclose(sums["entropy_loss"], sums["original_entropy"] / 9)


# What others do


def of_a_batch(**options):
    logits, labels = batch(12)
    inputs = leaves(logits)
    loss, parts = uda_loss(inputs[0], labels, *inputs[1:], progress=0.3, **{"tsa": "log", "confidence": 0.5, **options})
    loss.backward()
    return loss.item(), parts, [x.grad for x in inputs]


@pytest.mark.parametrize("name", [name for name in DEVIATION if name != "stop_gradient"])
def test_a_deviation_changes_the_loss(name):
    loss, parts, _ = of_a_batch()
    other, other_parts, _ = of_a_batch(**{name: DEVIATION[name]})
    assert abs(other - loss) > 1e-3
    supervised = name in ("tsa_gate", "supervised_average")
    assert (other_parts["supervised_loss"] != parts["supervised_loss"]) == supervised
    assert (other_parts["consistency_loss"] != parts["consistency_loss"]) == (not supervised)


def test_removing_the_stop_changes_the_gradient_and_not_the_loss():
    loss, _, (_, stopped, _) = of_a_batch()
    other, _, (_, leaking, _) = of_a_batch(stop_gradient=False)
    assert other == loss
    assert stopped is None
    assert np.abs(leaking).max() > 1e-3


def test_each_average_has_its_own_divisor():
    _, parts, _ = of_a_batch()
    assert 0 < parts["kept_share"] < 1
    assert 0 < parts["confident_share"] < 1
    _, batch_wise, _ = of_a_batch(supervised_average="batch")
    _, confident_wise, _ = of_a_batch(consistency_average="confident")
    assert np.isclose(batch_wise["supervised_loss"], parts["supervised_loss"] * parts["kept_share"])
    assert np.isclose(confident_wise["consistency_loss"], parts["consistency_loss"] / parts["confident_share"])


def test_the_official_implementation_is_the_default():
    assert UdaSettings(**IMPLEMENTATIONS["official"]) == UdaSettings()


@pytest.mark.parametrize("name", [name for name in IMPLEMENTATIONS if name != "official"])
def test_every_other_implementation_computes_another_loss(name):
    assert UdaSettings(**IMPLEMENTATIONS[name]) != UdaSettings()
    assert abs(of_a_batch(**IMPLEMENTATIONS[name])[0] - of_a_batch()[0]) > 1e-3


def test_the_sharpened_mask_lets_more_through():
    assert of_a_batch(confidence_of="sharpened")[1]["confident_share"] > of_a_batch()[1]["confident_share"]
