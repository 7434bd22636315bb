import numpy as np
import pytest

from minivit import data
from minivit.optim import SCHEDULES
from minivit.recipes.config import TrainConfig
from minivit.recipes.presets import preset_settings
from minivit.recipes.supervised import Supervised, SupervisedStep


def make(digits: data.Splits, **settings) -> tuple[SupervisedStep, Supervised]:
    config = TrainConfig(dataset="digits", steps=20, drop_path=0.1, **{"threads": 1, **settings})
    procedure = Supervised(config.filled(preset_settings("digits")), digits, "digits")
    return procedure.make_step(20), procedure


def test_threads_and_micro_batches_do_not_change_a_step(digits: data.Splits) -> None:
    gradients = []
    for threads, micro in ((1, 32), (2, 8)):
        step, procedure = make(digits, threads=threads, micro_batch=micro)
        values = step.forward_backward(procedure.prepare(step, 3))
        gradients.append((step.optimizer.flat.grad.copy(), float(values["loss"]), float(values["accuracy"])))
        procedure.workers.close()
    (first, loss, accuracy), (second, other_loss, other_accuracy) = gradients
    assert np.abs(first).max() > 1e-3
    np.testing.assert_allclose(second, first, atol=1e-6 * np.abs(first).max() * 10)
    assert abs(loss - other_loss) < 1e-6
    assert accuracy == pytest.approx(other_accuracy)


def test_a_step_can_be_taken_back(digits: data.Splits) -> None:
    step, procedure = make(digits)
    before = step.optimizer.flat.data.copy()
    step(procedure.prepare(step, 0))
    assert (step.optimizer.flat.data != before).any()
    step.rewind()
    np.testing.assert_array_equal(step.optimizer.flat.data, before)


def test_preparing_a_batch_is_a_function_of_its_step(digits: data.Splits) -> None:
    step, procedure = make(digits, mixup=0.4)
    first, again, other = (procedure.prepare(step, number) for number in (5, 5, 6))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert first.targets.shape == (32, 10)
    assert (first.images != other.images).any()


def test_the_learning_rate_follows_the_schedule(digits: data.Splits) -> None:
    step, _ = make(digits, learning_rate=0.5, warmup=0.1)
    expected = [0.5 * SCHEDULES["cosine"](number, 20, 2) for number in range(20)]
    np.testing.assert_allclose([step.learning_rate(number) for number in range(20)], expected)


def test_training_images_are_balanced_nested_and_never_held_out(digits: data.Splits) -> None:
    few, more = (make(digits, training_images=count)[1] for count in (20, 50))
    assert len(few.train_set) == 20
    assert few.train_set.class_counts().tolist() == [2] * 10
    seen = {image.tobytes() for image in more.train_set.images}
    assert {image.tobytes() for image in few.train_set.images} <= seen
    assert few.validation_size == more.validation_size > 0
    assert not seen & {image.tobytes() for image in more.validation_set.images}
