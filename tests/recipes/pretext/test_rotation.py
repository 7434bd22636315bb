import inspect

import numpy as np
import pytest
from devices import DEVICES, assert_same, watched

from minivit import augment
from minivit.backend import move
from minivit.recipes.pretext import rotation


def test_every_image_is_turned_as_its_label_says(make_pretraining, images) -> None:
    task = make_pretraining("rotation").task
    originals = images.train.images
    inputs, turns = task.prepare(originals, 7, np.arange(96), training=False)
    expected = augment.normalize(originals, task.mean, task.std)
    for image, original, turn in zip(inputs, expected, turns, strict=True):
        np.testing.assert_array_equal(image, np.rot90(original, turn, (1, 2)))
    assert np.bincount(turns, minlength=4).min() > 10


def test_a_turn_depends_on_the_image_and_the_step_alone(make_pretraining, images) -> None:
    task, index = make_pretraining("rotation").task, np.arange(96)
    inputs, turns = task.prepare(images.train.images, 3, index, training=True)
    for part in (slice(0, 10), slice(90, 96)):
        some, some_turns = task.prepare(images.train.images[part], 3, index[part], training=True)
        np.testing.assert_array_equal(some, inputs[part])
        np.testing.assert_array_equal(some_turns, turns[part])
    assert (task.prepare(images.train.images, 4, index, training=True)[1] != turns).any()


@pytest.mark.parametrize("device", DEVICES)
def test_inputs_are_the_same_on_every_device(make_pretraining, images, device: str) -> None:
    task, index = make_pretraining("rotation").task, np.arange(12)
    expected = task.prepare(images.train.images[:12], 1, index, training=True)
    there = move(images.train.images[:12], device), move(index, device)
    with watched(device, uploads=True):
        found = task.prepare(there[0], 1, there[1], training=True)
    for mine, reference in zip(found, expected, strict=True):
        assert_same(mine, reference, device)


def test_a_task_is_one_small_class() -> None:
    assert len(inspect.getsource(rotation).splitlines()) < 60
