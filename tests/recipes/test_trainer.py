import io
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from minivit.backend import onednn
from minivit.backend.onednn import load_onednn
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.metrics import read_metrics
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.step import training_precision
from minivit.recipes.trainer import NonFiniteError

TIMING = ("examples_per_second",)


def untimed(path: Path) -> list[dict]:
    return [{k: v for k, v in record.items() if k not in TIMING} for record in read_metrics(path)]


def test_a_run_learns_and_says_what_it_did(make_trainer) -> None:
    trainer = make_trainer(epochs=12)
    results = trainer.run()
    assert results["test_accuracy"] > 0.6
    assert results["images"] == 60
    assert results["parameters"] == trainer.model.count_parameters()
    records = read_metrics(trainer.folder.path / "metrics.jsonl")
    first, last = (next(r for r in order if "loss" in r) for order in (records, records[::-1]))
    assert last["loss"] < first["loss"] < np.log(10) + 0.1
    assert sum("validation_accuracy" in record for record in records) == 60 / 20


def test_a_run_in_bfloat16_learns_as_much_and_is_not_the_same(make_trainer) -> None:
    try:
        load_onednn()
    except RuntimeError as error:
        pytest.skip(str(error))
    losses = {}
    for precision in ("float32", "bf16"):
        trainer = make_trainer(precision, epochs=12, precision=precision, threads=2)
        results = trainer.run()
        assert results["test_accuracy"] > 0.6
        losses[precision] = [record["loss"] for record in read_metrics(trainer.folder.metrics) if "loss" in record]
    single, rounded = (np.array(values) for values in losses.values())
    assert single[-1] < 0.8 * single[0]
    np.testing.assert_allclose(rounded, single, rtol=0.1)
    assert np.any(rounded != single)


def test_a_precision_that_the_machine_lacks_is_refused_before_anything_is_written(make_trainer, monkeypatch) -> None:
    def refuse() -> None:
        raise RuntimeError("this processor has neither")

    monkeypatch.setattr(onednn, "load_onednn", refuse)
    trainer = make_trainer(precision="bf16")
    with pytest.raises(RuntimeError, match="this processor has neither"):
        trainer.run()
    assert not trainer.folder.path.exists()


def test_bfloat16_on_another_device_is_refused() -> None:
    with pytest.raises(ValueError, match="precision bf16 is for the CPU alone, got the device cuda:1"):
        training_precision(TrainConfig(precision="bf16", device="cuda:1"))


@pytest.mark.parametrize("settings", [{}, {"optimizer": "muon", "ema": 0.9}, {"optimizer": "sgd", "mixup": 0.5}])
def test_the_same_seed_gives_the_same_digits(make_trainer, settings: dict) -> None:
    runs = [make_trainer(folder, threads=2, **settings) for folder in ("a", "b")]
    for trainer in runs:
        trainer.run()
    assert untimed(runs[0].folder.path / "metrics.jsonl") == untimed(runs[1].folder.path / "metrics.jsonl")


@pytest.mark.parametrize("stop_after", [3, 5, 7])
def test_an_interrupted_run_goes_on_bit_for_bit(interrupt, make_trainer, stop_after: int) -> None:
    straight = make_trainer("straight", drop_path=0.2, ema=0.9)
    straight.run()
    interrupted = make_trainer("interrupted", drop_path=0.2, ema=0.9)
    interrupt(interrupted, after=stop_after)
    resumed = make_trainer("interrupted", drop_path=0.2, ema=0.9)
    resumed.run(resume=True)
    assert untimed(straight.folder.path / "metrics.jsonl") == untimed(resumed.folder.path / "metrics.jsonl")
    expected, got = (load_file(trainer.folder.path / "checkpoint.safetensors") for trainer in (straight, resumed))
    assert expected.keys() == got.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name])


def test_a_run_without_a_checkpoint_starts_over_by_its_plan(make_trainer) -> None:
    make_trainer(epochs=None, steps=4)._begin()
    assert make_trainer().run(resume=True)["steps"] == 4


def test_other_threads_would_round_differently_and_are_refused(make_trainer) -> None:
    make_trainer()._begin()
    with pytest.raises(ResumeError, match="--threads 1"):
        make_trainer(threads=2).run(resume=True)


def test_a_new_run_leaves_nothing_of_an_earlier_one_in_its_folder(make_trainer) -> None:
    make_trainer().run()
    second = make_trainer(learning_rate=0.5, epochs=None, steps=4)
    second._begin()  # and killed before the first step
    assert not second.folder.checkpoint.exists()
    assert not second.folder.metrics.exists()
    resumed = make_trainer(learning_rate=0.5, epochs=None, steps=4).run(resume=True)
    fresh = make_trainer("fresh", learning_rate=0.5, epochs=None, steps=4).run()
    assert resumed["test_loss"] == fresh["test_loss"]


def test_the_run_of_another_procedure_is_refused(make_trainer) -> None:
    trainer = make_trainer()
    trainer._begin()
    plan = trainer.folder.read_plan()
    trainer.folder.write_plan({**plan, "procedure": "SemiSupervised"})
    with pytest.raises(ResumeError, match="SemiSupervised, which Supervised cannot go on with"):
        make_trainer().run(resume=True)


def test_a_time_budget_is_turned_into_steps_and_leaves_no_trace_of_the_measurement(make_trainer) -> None:
    stream = io.StringIO()
    timed = make_trainer("timed", console=Console(stream), epochs=None, minutes=0.02)
    before = timed.model.state_dict()
    steps = timed._plan()
    assert "fit into 0.02 minutes" in stream.getvalue()
    assert steps >= 1
    for name, array in timed.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_value_that_is_not_finite_stops_the_run_names_the_layer_and_spares_the_checkpoint(make_trainer) -> None:
    trainer = make_trainer(epochs=6)
    taken = trainer._checked_step

    def poison(stepper, batch):
        if batch.step == 26:
            trainer.model.blocks[1].mlp.fc1.weight.data[0, 0] = np.inf
        return taken(stepper, batch)

    trainer._checked_step = poison
    with pytest.raises(NonFiniteError, match=r"step 26.*blocks\.1\.mlp") as caught:
        trainer.run()
    assert "--resume" in str(caught.value)
    saved = load_file(trainer.folder.path / "checkpoint.safetensors")
    assert all(np.isfinite(array).all() for array in saved.values())
    assert json.loads((trainer.folder.path / "config.json").read_text())["total_steps"] == 30
