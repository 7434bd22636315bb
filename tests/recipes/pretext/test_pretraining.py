import numpy as np
import pytest
import standin  # noqa: F401 - the device

from minivit import interop
from minivit.autograd import Tensor, no_grad
from minivit.recipes.metrics import read_metrics
from minivit.recipes.micro_batch import USUAL
from minivit.recipes.pretext import TASKS, PretextModel

TIMING = "examples_per_second"


@pytest.mark.parametrize("task", TASKS)
def test_the_loss_falls_and_the_result_says_what_was_measured(make_trainer, task: str) -> None:
    trainer = make_trainer(task, steps=60)
    results = trainer.run()
    records = [record for record in read_metrics(trainer.folder.metrics) if "loss" in record]
    assert records[-1]["loss"] < records[0]["loss"]
    assert results["task"] == task
    assert results["images"] == 40
    for name in trainer.procedure.task.titles:
        assert np.isfinite(results[f"test_{name}"])


@pytest.mark.parametrize("task", TASKS)
def test_labels_are_not_looked_at(make_pretraining, images, task: str) -> None:
    procedure = make_pretraining(task)
    images.train.labels.flags.writeable = True
    before = images.train.labels.copy()
    try:
        batch = procedure.prepare(procedure.make_step(6), 0)
        images.train.labels[...] = 0
        again = procedure.prepare(procedure.make_step(6), 0)
    finally:
        images.train.labels[...] = before
    for first, second in zip(batch.arrays, again.arrays, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("device", "expected"), [("cpu", USUAL), ("standin", 24)])
def test_a_step_goes_by_the_micro_batch_of_the_run(make_pretraining, task: str, device: str, expected: int) -> None:
    procedure = make_pretraining(task, device=device, batch_size=24)
    assert procedure.config.micro_batch == procedure.make_step(6).gradients.micro_batch == expected


@pytest.mark.parametrize("task", TASKS)
def test_parts_of_a_batch_add_up_to_it(make_pretraining, task: str) -> None:
    found = []
    for threads, micro_batch in ((1, 16), (2, 3)):
        procedure = make_pretraining(task, threads=threads, micro_batch=micro_batch)
        step = procedure.make_step(6)
        values = step.forward_backward(procedure.prepare(step, 2))
        found.append((step.optimizer.flat.grad.copy(), {name: float(value) for name, value in values.items()}))
        procedure.workers.close()
    (whole, values), (parts, others) = found
    assert np.abs(whole).max() > 1e-4
    np.testing.assert_allclose(parts, whole, atol=1e-5 * np.abs(whole).max())
    assert values == pytest.approx(others, rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_an_evaluation_asks_the_same_questions_each_time(make_pretraining, task: str) -> None:
    procedure = make_pretraining(task)
    first, second = procedure.evaluate("test"), procedure.evaluate("test")
    assert first == second
    assert procedure.model.training


@pytest.mark.parametrize("task", TASKS)
def test_an_interrupted_run_goes_on_bit_for_bit(interrupt, make_trainer, task: str) -> None:
    straight, interrupted = make_trainer(task, "straight"), make_trainer(task, "interrupted")
    straight.run()
    interrupt(interrupted, after=3)
    resumed = make_trainer(task, "interrupted")
    resumed.run(resume=True)
    for name, array in straight.model.state_dict().items():
        np.testing.assert_array_equal(resumed.model.state_dict()[name], array, err_msg=name)


@pytest.mark.parametrize("task", TASKS)
def test_a_checkpoint_is_read_as_its_encoder(make_trainer, task: str) -> None:
    trainer = make_trainer(task)
    trainer.run()
    encoder, metadata = interop.load_model(trainer.folder.checkpoint)
    mine = trainer.model
    assert isinstance(mine, PretextModel)
    assert metadata["task"] == task
    assert encoder.config["num_classes"] == 0
    side = encoder.config["image_size"]
    inputs = Tensor(np.random.default_rng(0).standard_normal((2, 3, side, side)).astype(np.float32))
    with no_grad():
        np.testing.assert_array_equal(encoder(inputs).data, mine.encoder.eval()(inputs).data)


def test_an_unknown_task_is_refused_with_the_known_ones(make_pretraining) -> None:
    with pytest.raises(ValueError, match=r"rotation.*got 'jigsaw'"):
        make_pretraining("jigsaw")


def test_mixing_is_refused(make_pretraining) -> None:
    with pytest.raises(ValueError, match="mixup mixes labels"):
        make_pretraining("rotation", mixup=0.2)
