"""The semi-supervised procedure: what each branch is given, what the baselines share, what is refused."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest

from minivit import data
from minivit.data import DatasetError
from minivit.recipes.console import Console
from minivit.recipes.metrics import read_metrics
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.semi_supervised import SemiSupervised
from minivit.recipes.trainer import UNKNOWN_STEPS, Trainer
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_presets import ABLATION, COMPARISON, PRESETS, uda_preset, variants


def config_of(**settings) -> UdaConfig:
    base = {"dataset": "digits", "labels": 40, "steps": 6, "batch_size": 8, "unlabelled_ratio": 2.0, "threads": 1}
    return UdaConfig(**{**base, **settings}).filled(uda_preset("digits", 40))


def procedure_of(digits: data.Splits, **settings) -> SemiSupervised:
    return SemiSupervised(config_of(**settings), digits, "digits")


def untimed(path: Path) -> list[dict]:
    return [{k: v for k, v in record.items() if k != "examples_per_second"} for record in read_metrics(path)]


def test_the_branches_are_two_versions_of_the_same_images_in_the_same_order(digits: data.Splits) -> None:
    procedure = procedure_of(digits, crop=0, augmentation="weak")
    batch = procedure.prepare(procedure.make_step(6), 3)
    assert batch.labelled.shape == (8, 1, 8, 8)
    assert batch.original.shape == batch.augmented.shape == (16, 1, 8, 8)
    np.testing.assert_array_equal(batch.original, batch.augmented)  # nothing moves, nothing changes
    strong = procedure_of(digits, crop=0, augmentation="uda")
    augmented = strong.prepare(strong.make_step(6), 3)
    np.testing.assert_array_equal(augmented.original, batch.original)
    assert (augmented.augmented != batch.augmented).any()


def test_no_two_rows_of_a_step_share_a_mask(digits: data.Splits) -> None:
    procedure = procedure_of(digits)
    batch = procedure.prepare(procedure.make_step(6), 0)
    keys = np.concatenate([batch.labelled_index, batch.original_index, batch.augmented_index])
    assert len(set(keys.tolist())) == 8 + 16 + 16


def test_labels_are_those_of_the_labelled_images_alone(digits: data.Splits) -> None:
    procedure = procedure_of(digits, crop=0, labelled_augmentation="weak")
    known = {image.tobytes() for image in digits.train.images[procedure.split.labelled]}
    assert len(known) == 40
    step = procedure.make_step(6)
    for number in range(12):
        batch = procedure.prepare(step, number)
        for pixels, label in zip(batch.labelled[:, 0], batch.labels, strict=True):
            image = np.rint((pixels * procedure.std[0] + procedure.mean[0]) * 255).astype(np.uint8)
            assert image.tobytes() in known
            where = next(i for i, other in enumerate(digits.train.images) if other.tobytes() == image.tobytes())
            assert digits.train.labels[where] == label


def test_the_baseline_shares_everything_but_the_unlabelled_term(digits: data.Splits) -> None:
    uda, supervised = (procedure_of(digits, method=method) for method in ("uda", "supervised"))
    for name, array in uda.model.state_dict().items():
        np.testing.assert_array_equal(supervised.model.state_dict()[name], array)
    for number in (0, 5):
        first = uda.prepare(uda.make_step(6), number)
        second = supervised.prepare(supervised.make_step(6), number)
        np.testing.assert_array_equal(first.labelled, second.labelled)
        np.testing.assert_array_equal(first.labels, second.labels)
        assert second.original is None
    assert uda.steps_per_epoch == supervised.steps_per_epoch


def test_the_ceiling_sees_all_labels(digits: data.Splits) -> None:
    procedure = procedure_of(digits, method="fully_supervised")
    assert procedure.results()["labels"] == len(digits.train)
    step = procedure.make_step(6)
    seen = {int(i) for number in range(len(digits.train) // 8) for i in procedure.prepare(step, number).labelled_index}
    assert len(seen) == len(digits.train)


def test_a_run_logs_every_quantity_of_the_loss(digits: data.Splits, tmp_path: Path) -> None:
    trainer = Trainer(procedure_of(digits, tsa="linear"), tmp_path, Console(io.StringIO()))
    results = trainer.run()
    assert results["method"] == "uda"
    assert results["labels"] == 40
    assert results["images"] == len(digits.test)
    records = [record for record in read_metrics(tmp_path / "metrics.jsonl") if "loss" in record]
    for name in (
        "loss",
        "supervised_loss",
        "consistency_loss",
        "accuracy",
        "kept_share",
        "confident_share",
        "agreement",
        "tsa_threshold",
        "original_entropy",
    ):
        assert name in records[-1]


def test_an_interrupted_run_goes_on_bit_for_bit(interrupt, digits: data.Splits, tmp_path: Path) -> None:
    def trainer_of(folder: str) -> Trainer:
        procedure = procedure_of(digits, drop_path=0.2, tsa="exp", threads=2)
        return Trainer(procedure, tmp_path / folder, Console(io.StringIO()))

    straight, interrupted = trainer_of("straight"), trainer_of("interrupted")
    straight.run()
    interrupt(interrupted, after=4)
    resumed = trainer_of("interrupted")
    resumed.run(resume=True)
    assert untimed(tmp_path / "straight" / "metrics.jsonl") == untimed(tmp_path / "interrupted" / "metrics.jsonl")
    for name, array in straight.model.state_dict().items():
        np.testing.assert_array_equal(resumed.model.state_dict()[name], array)


def test_a_run_keeps_its_split_and_goes_on_with_no_other(digits: data.Splits, tmp_path: Path) -> None:
    trainer = Trainer(procedure_of(digits), tmp_path, Console(io.StringIO()))
    trainer._begin()
    before = trainer.folder.plan.read_text()
    assert len(data.LabelSplit.load(tmp_path / "split.json", digits.train).labelled) == 40
    other = Trainer(procedure_of(digits, include_labelled=False), tmp_path, Console(io.StringIO()))
    with pytest.raises(ResumeError, match=r"not the split.*--out"):
        other.run(resume=True)
    assert trainer.folder.plan.read_text() == before
    other._begin()  # a new run may have another
    assert len(data.LabelSplit.load(tmp_path / "split.json", digits.train).unlabelled) == len(digits.train) - 40


def test_the_speed_can_be_measured_for_as_long_as_the_budget_asks(digits: data.Splits) -> None:
    procedure = procedure_of(digits, tsa="exp")
    step = procedure.make_step(UNKNOWN_STEPS)
    assert step(procedure.prepare(step, 5000)).is_finite()


def test_all_methods_take_the_same_batch_where_labels_are_fewer(digits: data.Splits) -> None:
    for method in ("uda", "supervised", "fully_supervised"):
        procedure = procedure_of(digits, labels=10, batch_size=16, method=method)
        results = procedure.results()
        assert results["labelled_batch_size"] == 10
        assert results["unlabelled_batch_size"] == (20 if method == "uda" else 0)


def test_the_settings_of_an_implementation_are_in_the_result(digits: data.Splits) -> None:
    results = procedure_of(digits, implementation="ildoonet", temperature=0.4).results()
    assert results["loss"]["temperature"] == 1.0


def test_mixed_images_are_refused(digits: data.Splits) -> None:
    with pytest.raises(ValueError, match="mixup"):
        procedure_of(digits, mixup=0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": 5000}, "label"),
        ({"labels": 43}, "43"),
        ({"unlabelled_ratio": 1000.0}, "unlabelled batches.*lower unlabelled_ratio"),
    ],
)
def test_what_cannot_be_is_refused_before_training(digits: data.Splits, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        procedure_of(digits, **settings)


def test_unlabelled_images_from_the_test_set_are_refused(digits: data.Splits) -> None:
    leaking = data.Splits(digits.train, dataclasses.replace(digits.train, name="digits test"), digits.validation)
    with pytest.raises(DatasetError, match="test"):
        SemiSupervised(config_of(), leaking, "digits")


def test_presets_fill_what_is_left_open() -> None:
    for kind in PRESETS:
        config = UdaConfig(dataset=kind).filled(uda_preset(kind))
        assert config.labels == PRESETS[kind][-1][0]
        assert config.loss_settings().temperature == config.temperature
    assert uda_preset("cifar10", 40) == uda_preset("cifar10", 4000)
    assert uda_preset("cifar10", 10**6) == uda_preset("cifar10")


def test_a_study_leaves_out_variants_that_change_nothing() -> None:
    config = config_of()
    found = variants(config, ABLATION)
    assert next(iter(found)) == "uda"
    assert ("without TSA" in found) == (config.tsa != "none")
    assert found["without stop-gradient"].stop_gradient is False
    assert all(variant != config for name, variant in found.items() if name != "uda")
    assert list(variants(config, COMPARISON)) == ["uda", "supervised", "fully_supervised"]
