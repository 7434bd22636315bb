"""Each kind of work does what it says, in our own steps; `tests/compare/rivals` has it done by others too."""

import numpy as np
import pytest

from minivit import data, models
from minivit.inspect.summary import summarize
from minivit.recipes.speed import MlpWork, ModelWork, RunWork, images_at_hand


def losses(work, steps=6):
    with work.start() as step:
        return [float(step()) for _ in range(steps)]


@pytest.mark.parametrize(
    "work",
    [
        ModelWork("vit_nano_cifar", batch=6, threads=1),
        ModelWork("resnet_nano_cifar", {"num_classes": 5}, batch=6, optimizer="sgd", threads=2),
        MlpWork(),
    ],
)
def test_training_steps_learn_their_batch(work):
    found = losses(work, steps=12)
    assert found[-1] < 0.8 * found[0]


def test_a_forward_gives_the_same_on_any_number_of_threads_and_trains_nothing():
    one, two, single = (
        losses(ModelWork("vit_nano_cifar", training=False, batch=batch, threads=threads), steps=3)
        for batch, threads in ((4, 1), (4, 2), (1, 2))
    )
    assert len(set(one)) == 1
    assert one[0] != 0.0  # a head of zeros would hide what is before it
    np.testing.assert_allclose(two, one, rtol=1e-4)
    assert np.isfinite(single).all()


def test_the_operations_of_a_step():
    forward = 2e-9 * summarize(models.create("vit_nano_cifar")).multiply_adds
    assert ModelWork("vit_nano_cifar", training=False, batch=4).gflop == pytest.approx(4 * forward)
    assert ModelWork("vit_nano_cifar", batch=4).gflop == pytest.approx(12 * forward)
    assert ModelWork("vit_nano_cifar", {"depth": 1}, batch=4).gflop < 12 * forward
    uda = RunWork("uda", "digits", 4, 8)
    procedure = uda.procedure()
    forward = 2e-9 * summarize(procedure.model).multiply_adds
    assert uda.gflop == pytest.approx(forward * (3 * (4 + 8) + 8))  # the originals go forward only
    assert uda.examples == 12
    # Of a linear layer the forward, the weight's gradient and, but for the first, the input's; a product each.
    assert MlpWork(2, 3, 5).gflop == pytest.approx(2e-9 * 2 * (2 * 15 + 3 * 5))


@pytest.mark.parametrize("method", ["supervised", "uda"])
def test_the_steps_of_a_run_are_those_of_its_procedure(method):
    work = RunWork(method, "digits", 8, 16, threads=1)
    procedure = work.procedure()
    with procedure.workers:
        stepper = procedure.make_step(10_000)
        expected = [float(stepper(procedure.prepare(stepper, number)).values["loss"]) for number in range(3)]
    assert losses(work, steps=3) == expected


def test_what_a_result_says_of_the_work():
    told = RunWork("uda", "digits", 4, 8, threads=1, settings={"confidence": 0.25}).told()
    assert told == {
        "model": "preset", "mode": "uda", "dataset": "digits train", "batch": 12, "optimizer": "adamw",
        "micro_batch": told["micro_batch"], "threads": 1, "precision": "float32",
        "labelled": 4, "unlabelled": 8, "augmentation": "uda",
    }  # fmt: skip
    assert RunWork("supervised", "digits").told()["batch"] == 32
    assert ModelWork("vit_nano_cifar", training=False, batch=3, threads=2).told() == {
        "model": "vit_nano_cifar", "mode": "forward", "batch": 3, "threads": 2, "precision": "float32",
    }  # fmt: skip
    assert MlpWork().told()["model"] == "16-16-1"


def test_drawn_shapes_stand_in_for_cifar_10_where_it_is_not_at_hand(monkeypatch):
    monkeypatch.setattr(data, "find", lambda name: None)
    assert images_at_hand("cifar10").train.name == "shapes train"
    assert images_at_hand("digits").train.name == "digits train"
