import numpy as np

from minivit import data
from minivit.backend.cpu.threads import Workers
from minivit.data import Batches
from minivit.optim import SCHEDULES
from minivit.recipes.config import TrainConfig
from minivit.recipes.presets import build_model, preset_settings
from minivit.recipes.supervised import SupervisedStep


def make(digits: data.Splits, workers: Workers, **settings) -> tuple[SupervisedStep, Batches]:
    config = TrainConfig(dataset="digits", steps=20, **settings).filled(preset_settings("digits"))
    model = build_model("preset", "digits", image_shape=(1, 8, 8), num_classes=10, seed=0, drop_path=0.1)
    train = digits.train
    step = SupervisedStep(model, config, 20, train.mean, train.std, 10, workers, padding_mode="zero")
    return step, Batches(train, 32)


def test_threads_and_micro_batches_do_not_change_a_step(digits: data.Splits) -> None:
    gradients = []
    for threads, micro in ((1, 32), (2, 8)):
        workers = Workers(threads)
        step, batches = make(digits, workers, micro_batch=micro)
        loss, correct = step.forward_backward(step.prepare(batches.at(3)))
        gradients.append((step.optimizer.flat.grad.copy(), float(loss), int(correct)))
        workers.close()
    (first, loss, correct), (second, other_loss, other_correct) = gradients
    assert np.abs(first).max() > 1e-3
    np.testing.assert_allclose(second, first, atol=1e-6 * np.abs(first).max() * 10)
    assert abs(loss - other_loss) < 1e-6
    assert correct == other_correct


def test_a_step_can_be_taken_back(digits: data.Splits) -> None:
    step, batches = make(digits, Workers(1))
    before = step.optimizer.flat.data.copy()
    step(step.prepare(batches.at(0)))
    assert (step.optimizer.flat.data != before).any()
    step.rewind()
    np.testing.assert_array_equal(step.optimizer.flat.data, before)


def test_preparing_a_batch_is_a_function_of_its_step(digits: data.Splits) -> None:
    step, batches = make(digits, Workers(1), mixup=0.4)
    first, again, other = (step.prepare(batches.at(number)) for number in (5, 5, 6))
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert first.targets.shape == (32, 10)
    assert (first.images != other.images).any()


def test_the_learning_rate_follows_the_schedule(digits: data.Splits) -> None:
    step, _ = make(digits, Workers(1), learning_rate=0.5, warmup=0.1)
    expected = [0.5 * SCHEDULES["cosine"](number, 20, 2) for number in range(20)]
    np.testing.assert_allclose([step.learning_rate(number) for number in range(20)], expected)
