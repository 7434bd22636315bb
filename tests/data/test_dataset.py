"""Tests of minivit/data/dataset.py."""

import numpy as np
import pytest

from minivit.data.dataset import Dataset, DatasetError, channel_statistics


def make(**changes):
    fields = {
        "name": "toy",
        "images": np.arange(5 * 3 * 2 * 2, dtype=np.uint8).reshape(5, 3, 2, 2),
        "labels": np.array([0, 1, 1, 2, 0]),
        "classes": ("a", "b", "c"),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.2, 0.2, 0.2),
        "source": "made up",
    }
    return Dataset(**(fields | changes))


def test_what_a_dataset_knows():
    dataset = make(classes=("a", "b", "c", "d"))
    assert len(dataset) == 5
    assert dataset.image_shape == (3, 2, 2)
    assert dataset.num_classes == 4
    assert dataset.class_counts().tolist() == [2, 2, 1, 0]
    assert repr(dataset) == "Dataset('toy': 5 images 3x2x2, 4 classes)"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((5, 3, 2, 2))}, r"of uint8, got \(5, 3, 2, 2\) of float64"),
        ({"images": np.zeros((5, 2, 2, 3), np.uint8)}, "1 or 3, H, W"),
        ({"images": np.zeros((5, 2, 2), np.uint8)}, "1 or 3, H, W"),
        ({"labels": np.zeros(4, np.int64)}, r"labels \(5,\) of int64, got \(4,\)"),
        ({"labels": np.zeros(5, np.int32)}, "got .* of int32"),
        ({"labels": np.array([0, 1, 3, 0, 0])}, "from 0 to 2, got 3 for image number 2"),
        ({"labels": np.array([0, 1, -1, 5, 0])}, "got -1 for image number 2"),
        ({"classes": ("a", "b", "a")}, "no name twice"),
        ({"classes": ()}, "at least one class"),
        ({"mean": (0.5,)}, "3 means"),
        ({"std": (0.2, 0.0, 0.2)}, "positive stds"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(changes, message):
    with pytest.raises(DatasetError, match=message) as raised:
        make(**changes)
    assert "'toy'" in str(raised.value)


def test_subset_keeps_order_and_copies():
    dataset = make()
    part = dataset.subset([3, 0, 3], name="part")
    np.testing.assert_array_equal(part.images, dataset.images[[3, 0, 3]])
    assert part.labels.tolist() == [2, 0, 2]
    assert (part.name, part.mean, part.classes) == ("part", dataset.mean, dataset.classes)
    part.images[:] = 0
    assert dataset.images[3].all()
    assert len(dataset.subset([])) == 0


@pytest.mark.parametrize("indices", [[5], [-1], [0.5], [[0]], [True, False, True, True, True]])
def test_subset_refuses_what_is_no_index(indices):
    with pytest.raises(DatasetError, match="expected"):
        make().subset(indices)


def test_channel_statistics_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 5, 4), dtype=np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(std, (images / 255).std((0, 2, 3)), rtol=1e-13)


def test_a_constant_channel_can_be_divided_by():
    assert channel_statistics(np.full((2, 1, 3, 3), 51, np.uint8)) == ((0.2,), (1.0,))
