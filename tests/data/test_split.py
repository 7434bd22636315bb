"""Tests of minivit/data/split.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivit.data.dataset import Dataset
from minivit.data.split import hold_out, stratified_split


@given(
    counts=st.lists(st.integers(3, 60), min_size=1, max_size=5),
    shares=st.sampled_from([(0.6, 0.2, 0.2), (0.9, 0.1), (1.0,), (0.5, 0.0, 0.5), (1 / 3, 1 / 3, 1 / 3), (0.98, 0.02)]),
    seed=st.integers(0, 2**40),
)
def test_every_image_is_in_one_part_and_every_part_has_its_share(counts, shares, seed):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = stratified_split(labels, shares, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part, share in zip(parts, shares, strict=True):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
        held = np.bincount(labels[part], minlength=len(counts))
        assert ((held > 0) == (share > 0)).all()
        assert (np.abs(held - np.maximum(np.array(counts) * share, share > 0)) <= 1 + 1e-9).all()


def test_exact_shares_are_exact():
    labels = np.repeat(np.arange(3), [10, 20, 100])
    train, validation, test = stratified_split(labels, [0.6, 0.2, 0.2])
    assert np.bincount(labels[train]).tolist() == [6, 12, 60]
    assert np.bincount(labels[validation]).tolist() == np.bincount(labels[test]).tolist() == [2, 4, 20]


def test_the_seed_decides():
    labels = np.repeat(np.arange(4), 30)
    first, again, other = (stratified_split(labels, [0.5, 0.5], seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_class_too_small_is_named():
    with pytest.raises(ValueError, match=r"class 1 has 2 image\(s\), too few for one in each of 3 parts"):
        stratified_split(np.array([0, 0, 0, 1, 1]), [0.6, 0.2, 0.2])


@pytest.mark.parametrize("shares", [[0.5, 0.4], [1.2, -0.2]])
def test_shares_must_add_up(shares):
    with pytest.raises(ValueError, match="add up to 1"):
        stratified_split(np.zeros(9, np.int64), shares)


def test_hold_out():
    labels = np.repeat(np.arange(2), 20)
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    dataset = Dataset("toy", images, labels, ("a", "b"), (0.5,), (0.2,), "made up")
    train, validation = hold_out(dataset, 0.25, seed=3)
    assert (len(train), len(validation)) == (30, 10)
    assert validation.class_counts().tolist() == [5, 5]
    assert validation.name == "toy held out"
    assert sorted(np.concatenate([train.images, validation.images]).ravel().tolist()) == list(range(40))
    for share in (0, 1):
        with pytest.raises(ValueError, match="between 0 and 1"):
            hold_out(dataset, share)
