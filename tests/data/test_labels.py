"""Tests of minivit/data/labels.py."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivit.data import load_digits, load_shapes
from minivit.data.cifar import CIFAR10, CIFAR100, load_cifar
from minivit.data.dataset import Dataset, DatasetError
from minivit.data.labels import LabelSplit, fingerprint, refuse_overlap, split_labels


def made_up(counts: list[int]) -> Dataset:
    """Images of one pixel, all different (up to 256), their classes in no order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    images = np.arange(len(labels)).astype(np.uint8).reshape(-1, 1, 1, 1)
    classes = tuple("abcdefgh"[: len(counts)])
    return Dataset("toy", images, labels, classes, (0.5,), (0.2,), "made up")


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    data=st.data(),
    seed=st.integers(-(2**40), 2**40),
)
def test_as_many_labels_of_each_class_and_the_rest_is_the_rest(counts, data, seed):
    dataset = made_up(counts)
    each = data.draw(st.integers(1, min(counts)))
    split = split_labels(dataset, each * len(counts), seed)
    assert split.labelled.dtype == split.unlabelled.dtype == np.int64
    assert (np.diff(split.labelled) > 0).all()
    assert dataset.subset(split.labelled).class_counts().tolist() == [each] * len(counts)
    assert split.unlabelled.tolist() == list(range(len(dataset)))
    if each * len(counts) < len(dataset):
        apart = split_labels(dataset, each * len(counts), seed, include_labelled=False)
        assert apart.labelled.tolist() == split.labelled.tolist()
        assert sorted([*apart.labelled, *apart.unlabelled]) == list(range(len(dataset)))


def test_the_seed_decides():
    dataset = made_up([30, 40, 50])
    first, again, other = (split_labels(dataset, 12, seed).labelled.tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_classes_are_drawn_independently():
    """With the same draw in each class, the places within the classes would be the same ones."""
    dataset = made_up([50, 50])
    split = split_labels(dataset, 20)
    places = [
        np.flatnonzero(np.isin(np.flatnonzero(dataset.labels == label), split.labelled)).tolist() for label in (0, 1)
    ]
    assert places[0] != places[1]


def test_fewer_labels_are_a_part_of_more():
    digits = load_digits().train
    fewer, more = split_labels(digits, 40, seed=5), split_labels(digits, 250, seed=5)
    assert set(fewer.labelled) < set(more.labelled)


def test_every_image_can_be_chosen():
    dataset = made_up([12])
    chosen = {index for seed in range(60) for index in split_labels(dataset, 3, seed).labelled.tolist()}
    assert chosen == set(range(12))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (7, "multiple of the 3 classes of 'toy', as many of each, got 7; use 6 or 9"),
        (2, "got 2; use 3$"),
        (0, "got 0; use 3$"),
        (-3, "got -3"),
        (31, "got 31; use 30$"),
        (33, r"33 labels are 11 of each class, but class 'b' has 10 example\(s\); ask for at most 30 labels"),
    ],
)
def test_a_number_of_labels_that_does_not_work_says_which_does(labels, message):
    with pytest.raises(ValueError, match=message):
        split_labels(made_up([20, 10, 30]), labels)


def test_no_image_left_without_a_label():
    dataset = made_up([4, 4])
    assert len(split_labels(dataset, 8).unlabelled) == 8
    with pytest.raises(DatasetError, match="all 8 examples keep their label"):
        split_labels(dataset, 8, include_labelled=False)


@pytest.mark.parametrize("include_labelled", [True, False])
def test_a_saved_split_comes_back(tmp_path, include_labelled):
    dataset = made_up([20, 30])
    split = split_labels(dataset, 10, seed=3, include_labelled=include_labelled)
    path = tmp_path / "run" / "labels.json"
    split.save(path)
    loaded = LabelSplit.load(path, dataset)
    for name in ("labelled", "unlabelled"):
        assert getattr(loaded, name).dtype == np.int64
        assert getattr(loaded, name).tolist() == getattr(split, name).tolist()
    assert (loaded.seed, loaded.fingerprint) == (3, split.fingerprint)
    assert [file.name for file in path.parent.iterdir()] == ["labels.json"]


def test_a_save_that_fails_leaves_the_old_file(tmp_path):
    split = split_labels(made_up([20, 30]), 10)
    split.save(tmp_path / "labels.json")
    before = (tmp_path / "labels.json").read_text()
    with pytest.raises(TypeError):
        replace(split, seed=object()).save(tmp_path / "labels.json")
    assert (tmp_path / "labels.json").read_text() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_split_of_other_data_is_refused(tmp_path):
    dataset = made_up([20, 30])
    split_labels(dataset, 10).save(tmp_path / "labels.json")
    flipped = dataset.labels.copy()
    flipped[[0, int(np.argmax(flipped != flipped[0]))]] = flipped[[int(np.argmax(flipped != flipped[0])), 0]]
    others = [
        dataset.subset(np.arange(49)),
        dataset.subset(np.arange(50)[::-1]),
        replace(dataset, labels=flipped),
        replace(dataset, images=255 - dataset.images),
        replace(dataset, classes=("b", "a")),
    ]
    for other in others:
        with pytest.raises(DatasetError, match=r"labels\.json: this split was drawn of other data"):
            LabelSplit.load(tmp_path / "labels.json", other)
    LabelSplit.load(tmp_path / "labels.json", replace(dataset, name="renamed"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda fields: fields.pop("labelled"), "expected a split .*'labelled'"),
        (lambda fields: fields["labelled"].append(50), "labelled: expected rising indices from 0 to 49"),
        (lambda fields: fields["unlabelled"].insert(0, -1), "unlabelled: expected rising indices"),
        (lambda fields: fields["labelled"].reverse(), "labelled: expected rising indices"),
        (lambda fields: fields["unlabelled"].insert(0, 0), "none twice"),
        (lambda fields: fields.update(labelled=[]), "expected a list of integers"),
        (lambda fields: fields.update(labelled=[0.5]), "expected a list of integers"),
        (lambda fields: fields["labelled"].pop(), "as many labels of each class"),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path, change, message):
    dataset, path = made_up([20, 30]), tmp_path / "labels.json"
    split_labels(dataset, 10).save(path)
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(DatasetError, match=message):
        LabelSplit.load(path, dataset)


@pytest.mark.parametrize("text", ["{", "[]", "3", ""])
def test_a_file_that_is_not_json_is_refused(tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(DatasetError, match=r"labels\.json: expected a split"):
        LabelSplit.load(tmp_path / "labels.json", made_up([2]))


def test_the_fingerprint_is_of_the_bytes():
    """By hand: names and shape as JSON, then labels in 8 little-endian bytes each, then pixels."""
    import hashlib

    labels, images = np.array([1, 0]), np.array([7, 9], np.uint8).reshape(2, 1, 1, 1)
    dataset = Dataset("x", images, labels, ("a", "b"), (0.5,), (0.2,), "made up")
    expected = hashlib.sha256(b'[["a", "b"], [2, 1, 1, 1]]' + b"\1" + bytes(7) + bytes(8) + b"\7\x09").hexdigest()
    assert fingerprint(dataset) == expected


def test_an_unlabelled_set_with_test_images_is_refused():
    dataset = made_up([60, 60])
    train, test = dataset.subset(np.arange(100), "toy train"), dataset.subset(np.arange(100, 120), "toy test")
    refuse_overlap(train, test)
    with_two = dataset.subset([*range(100), 117, 103, 103], "toy all")
    with pytest.raises(
        DatasetError,
        match="2 of the 20 images of 'toy test' are also in 'toy all', the first being image 3 there and image 101",
    ):
        refuse_overlap(with_two, test)
    with pytest.raises(DatasetError, match="20 of the 20"):
        refuse_overlap(dataset, test)


def test_the_label_of_a_copy_does_not_matter():
    dataset = made_up([10, 10])
    with pytest.raises(DatasetError, match="20 of the 20"):
        refuse_overlap(replace(dataset, labels=1 - dataset.labels), dataset)


def test_images_of_another_shape_are_other_images():
    images = np.zeros((2, 1, 2, 3), np.uint8)
    wide = Dataset("wide", images, np.zeros(2, np.int64), ("a",), (0.5,), (0.2,), "made up")
    refuse_overlap(wide, replace(wide, images=images.reshape(2, 1, 3, 2)))


@pytest.mark.parametrize("load", [load_digits, lambda: load_shapes(train=500, validation=100, test=200)])
def test_the_parts_of_the_embedded_data_share_no_image(load):
    splits = load()
    for one, other in (
        (splits.train, splits.test),
        (splits.train, splits.validation),
        (splits.validation, splits.test),
    ):
        refuse_overlap(one, other)


def test_real_cifar10_shares_no_image(real_cifar10):
    splits = load_cifar(CIFAR10, real_cifar10, download=False)
    refuse_overlap(splits.train, splits.test)
    stolen = splits.test.subset([4])
    with pytest.raises(DatasetError, match=r"1 of the 10000 images .* image 4 there and image 0 here"):
        refuse_overlap(stolen, splits.test)


def test_cifar100_may_have_the_ten_copies_it_is_published_with():
    cifar100 = replace(made_up([60, 60]), source=f"{CIFAR100.title}, somewhere")
    test = cifar100.subset(np.arange(100, 120))
    refuse_overlap(cifar100.subset(np.arange(110)), test)
    with pytest.raises(DatasetError, match="11 of the 20"):
        refuse_overlap(cifar100.subset(np.arange(111)), test)
