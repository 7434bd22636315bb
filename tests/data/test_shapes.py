"""Tests of minivit/data/shapes.py."""

import math

import numpy as np
import pytest

from minivit.data import shapes
from minivit.data.shapes import CLASSES, draw_shapes, load_shapes


def test_a_picture_depends_on_its_number_and_the_seed_alone():
    images, labels = draw_shapes(np.arange(600))
    assert images.shape == (600, 3, 32, 32)
    assert images.dtype == np.uint8
    assert labels.tolist() == [number % 10 for number in range(600)]
    some = [599, 3, 250, 3]
    again, labels_again = draw_shapes(some)
    np.testing.assert_array_equal(again, images[some])
    assert labels_again.tolist() == [9, 3, 0, 3]
    assert (draw_shapes([3], seed=1)[0] != images[3]).any()
    assert len({image.tobytes() for image in images}) == 600


def test_the_parts_share_no_picture_and_grow_independently():
    small, large = load_shapes(30, 20, 20), load_shapes(60, 20, 20)
    np.testing.assert_array_equal(large.train.images[:30], small.train.images)
    np.testing.assert_array_equal(large.test.images, small.test.images)
    parts = (large.train, large.validation, large.test)
    assert len({image.tobytes() for part in parts for image in part.images}) == 100
    for part in parts:
        assert (part.class_counts() == len(part) // 10).all()
        assert part.classes == CLASSES
        assert part.mean == large.train.mean
    np.testing.assert_allclose(large.train.mean, (large.train.images / 255).mean((0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("name", CLASSES)
def test_distances_are_lengths_at_the_outline(name):
    """Anti-aliasing takes the distance for a length: its gradient is 1 along the outline, corners aside."""
    x, y = shapes._grid(400, 1.2)
    distance = shapes._SHAPES[name](x, y) + 0 * (x + y)
    slope = np.hypot(*np.gradient(distance, 2.4 / 400))
    outline = np.abs(distance) < 0.02
    assert np.median(slope[outline]) == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(slope[outline] - 1) < 0.05) > 0.85


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("circle", math.pi),
        ("ring", math.pi * (1 - 0.56**2)),
        ("triangle", 0.75 * math.sqrt(3)),
        ("square", 2.0),
        ("cross", 4 * 0.3 * 0.94 * 2 - 0.36),
        ("star", 10 * 0.5 * 0.42 * math.sin(math.pi / 5)),
    ],
)
def test_areas_are_those_of_geometry(name, area):
    assert shapes._area_and_reach(name)[0] == pytest.approx(area, rel=0.01)


def test_neither_colour_nor_area_gives_the_class_away():
    """Statistics of colour, which know the area covered but no outline, do no better than about chance (10 %)."""
    splits = load_shapes(3000, 10, 1000)

    def features(dataset):
        pixels = dataset.images.reshape(len(dataset), 3, -1) / 255
        return np.concatenate([np.ones((len(dataset), 1)), pixels.mean(2), pixels.std(2)], axis=1)

    weights = np.linalg.lstsq(features(splits.train), np.eye(10)[splits.train.labels], rcond=None)[0]
    accuracy = np.mean((features(splits.test) @ weights).argmax(axis=1) == splits.test.labels)
    assert accuracy < 0.16


def test_nearest_neighbours_of_pixels_fail():
    splits = load_shapes(2000, 10, 200)
    train, test = (part.images.reshape(len(part), -1).astype(np.float32) for part in (splits.train, splits.test))
    distances = (train**2).sum(1)[None] - 2 * test @ train.T
    accuracy = np.mean(splits.train.labels[distances.argmin(axis=1)] == splits.test.labels)
    assert 0.1 < accuracy < 0.4


@pytest.mark.parametrize("sizes", [{"train": 0}, {"test": 10**9 + 1}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match=r"expected 1 to 10\*\*9 pictures"):
        load_shapes(**({"train": 1, "validation": 1, "test": 1} | sizes))
