"""What the timing of augmentation times, told by a clock that only augmentations move."""

import numpy as np
import pytest

from minivit.augment import TrainAugmentation
from minivit.augment.randaugment import DIALECTS
from minivit.recipes.speed import augmentation
from minivit.recipes.speed.augmentation import augmentation_speeds, measure_augmentations


class Clock:
    """Stands in for the module `time`; a quarter of the time is the thread's own."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(augmentation, "time", self)

    def thread_time(self):
        return self.now / 4


def test_augmentations_take_turns_and_every_call_is_another_step(monkeypatch):
    clock, calls = Clock(monkeypatch), []
    images = np.zeros((6, 3, 4, 4), np.uint8)

    def augmenting(name, seconds):
        def augment(given, step, index):
            assert given is images
            assert index.tolist() == list(range(6))
            calls.append((name, step))
            clock.now += seconds

        return augment

    slow, fast = augmenting("slow", 3.0), augmenting("fast", 0.5)
    speeds = augmentation_speeds({"slow": slow, "fast": fast}, images, steps=2, rounds=2)
    assert speeds == {"slow": 8.0, "fast": 48.0}
    first = [("slow", 0), ("slow", 1), ("fast", 0), ("fast", 1)]
    second = [("slow", 2), ("slow", 3), ("fast", 2), ("fast", 3)]
    assert calls == [("slow", 0), ("fast", 0), *first, *second]  # a call each that is not timed, then two rounds


def test_one_slow_round_does_not_move_the_median(monkeypatch):
    clock = Clock(monkeypatch)

    def augment(images, step, index):
        clock.now += 100.0 if step == 1 else 1.0

    assert augmentation_speeds({"one": augment}, np.zeros((4, 1, 2, 2), np.uint8), steps=1, rounds=3) == {"one": 16.0}


@pytest.mark.parametrize("wrong", [{"steps": 0, "rounds": 1}, {"steps": 1, "rounds": 0}])
def test_nothing_to_time_is_refused(wrong):
    with pytest.raises(ValueError, match="expected a step"):
        augmentation_speeds({"plain": TrainAugmentation((0.5,), (0.5,), 0)}, np.zeros((1, 1, 8, 8), np.uint8), **wrong)


def test_every_dialect_is_measured_beside_crop_and_flip(digits):
    found = measure_augmentations(digits.train, 5, steps=1, rounds=1)
    assert (found["dataset"], found["images"], found["image_shape"]) == (digits.train.name, 5, (1, 8, 8))
    assert found["randaugment"].keys() == set(DIALECTS)
    assert all(row["images_per_second"] > 0 for row in [found["crop_flip"], *found["randaugment"].values()])
