"""Tests of minivit/recipes/transfer/frozen.py, features.py and encoder.py."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

from minivit import augment, interop
from minivit.autograd import Tensor, no_grad
from minivit.interop import WeightsError
from minivit.models import VisionTransformer
from minivit.recipes.results import write_result
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.transfer import features as features_module
from minivit.recipes.transfer import features_of, find_weights, load_pretrained


def own_features(frozen, dataset) -> np.ndarray:
    model = frozen.task.pretrained.model
    with no_grad():
        images = Tensor(augment.normalize(dataset.images, (0.25,), (0.5,)))
        return model.pool(model.forward_features(images)).numpy()


def test_features_are_what_the_head_reads(make_frozen) -> None:
    frozen = make_frozen(mode="knn")
    with frozen.workers:
        found = features_of(frozen.encoder, frozen.train_set, frozen.task.inputs, frozen.workers, part=33)
    # float32: features of about 1 after some hundred roundings, which the size of the products decides upon
    np.testing.assert_allclose(found, own_features(frozen, frozen.train_set), atol=1e-5)


def test_the_neighbours_vote(make_frozen) -> None:
    frozen = make_frozen(mode="knn", neighbours=5)
    results = frozen.run()
    train, test = (own_features(frozen, dataset) for dataset in (frozen.train_set, frozen.evaluated))
    cosines = (test / np.linalg.norm(test, axis=1)[:, None]) @ (train / np.linalg.norm(train, axis=1)[:, None]).T
    order = np.argsort(-cosines, axis=1)[:, :5]
    found = [np.bincount(frozen.train_set.labels[row], minlength=10).argmax() for row in order]
    by_vote = {entry["vote"]: entry["accuracy"] for entry in results["votes"]}
    assert by_vote["majority"] == (np.array(found) == frozen.evaluated.labels).mean() > 0.3
    assert results["test_accuracy"] == by_vote["weighted"] == frozen.final_result.accuracy > 0.3
    assert make_frozen(mode="knn", neighbours=5, vote="majority").run()["test_accuracy"] == by_vote["majority"]
    assert (results["images"], results["training_images"], results["features"]) == (60, 160, 12)
    assert frozen.neighbours.shape == (60, 5)


def test_the_probe_is_fitted_to_training_features_alone(make_frozen) -> None:
    frozen = make_frozen(mode="probe")
    results = frozen.run()
    assert results["test_accuracy"] > 0.4
    assert [entry["penalty"] for entry in results["penalties"]] == [1.0, 0.1, 1e-2, 1e-3, 1e-4]
    best = max(results["penalties"], key=lambda entry: entry["held_out_accuracy"])
    assert results["penalty"] == best["penalty"]


def test_a_result_can_be_written_and_settings_be_chosen_without_the_test_images(make_frozen, tmp_path: Path) -> None:
    frozen = make_frozen(mode="knn", neighbours=3, test=False)
    results = frozen.run()
    assert results["split"] == "validation"
    assert "test_accuracy" not in results
    assert results["images"] == 40
    write_result(tmp_path / "r.json", results, command="python x.py", seed=0, wall_seconds=1.0)


def test_features_are_computed_once(make_frozen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(features_module, "BLOCK", 50)
    cache = {"features": str(tmp_path / "features")}
    stream = io.StringIO()
    first = make_frozen("a", stream, mode="knn", neighbours=5, **cache).run()
    assert "features of train images: 150/160" in stream.getvalue()
    assert len(list((tmp_path / "features").glob("*.npz"))) == 4 + 2
    (newest, *_) = sorted((tmp_path / "features").glob("*.npz"), key=os.path.getmtime, reverse=True)
    newest.unlink()  # as if it had been stopped before the last block

    computed = []
    from minivit.recipes.transfer import frozen as frozen_module

    original = features_of
    monkeypatch.setattr(frozen_module, "features_of", lambda *given: computed.append(len(given[1])) or original(*given))
    again = make_frozen("a", mode="knn", neighbours=5, **cache).run(resume=True)
    assert computed == [10]
    assert (first["images_with_features_at_hand"], again["images_with_features_at_hand"]) == (0, 210)
    assert again["settings"]["features"] is None
    assert again["test_accuracy"] == first["test_accuracy"]
    make_frozen("b", mode="probe", **cache).run()
    assert computed == [10]
    make_frozen("c", mode="knn", neighbours=5, init="random", **cache).run()
    assert computed[1:] == [50, 50, 50, 10, 50, 10]


def test_a_run_does_not_go_on_with_other_weights(make_frozen, tmp_path: Path) -> None:
    frozen = make_frozen(mode="knn", neighbours=5)
    frozen.run()
    plan = frozen.folder.read_plan()
    frozen.folder.write_plan({**plan, "weights_sha256": "0" * 64})
    with pytest.raises(ResumeError, match="has changed since the run"):
        make_frozen(mode="knn", neighbours=5).run(resume=True)


def test_more_neighbours_than_images_are_refused(make_frozen) -> None:
    with pytest.raises(ValueError, match="200 neighbours cannot be found among 160 images"):
        make_frozen(mode="knn", neighbours=200)


def test_weights_are_found_in_run_folders_and_where_data_are(weights: Path, tmp_path: Path, monkeypatch) -> None:
    assert find_weights(weights) == weights
    assert find_weights(weights.parent) == weights
    monkeypatch.setenv("MINIVIT_DATA", str(weights.parent.parent))
    assert find_weights(Path(weights.parent.name) / weights.name) == weights
    with pytest.raises(WeightsError, match=r"no weights at nothing.npz, .*nothing.npz.*; give a file"):
        find_weights(Path("nothing.npz"))
    with pytest.raises(WeightsError, match="no checkpoint"):
        find_weights(tmp_path)


def test_what_inputs_are_normalised_with(tmp_path: Path, weights: Path) -> None:
    assert load_pretrained(weights).mean == (0.25,)
    model = VisionTransformer(16, 16, 10, 1, 2, 10, 3)
    for name, mean in {"deit_x.npz": 0.485, "vit_x.npz": 0.5, "other.npz": 0.485}.items():
        interop.save(VisionTransformer(**{**model.config, "image_size": 224, "num_classes": 3}), tmp_path / name)
        assert load_pretrained(tmp_path / name).mean[0] == mean
    assert load_pretrained(tmp_path / "deit_x.npz", "half").std == (0.5, 0.5, 0.5)


def test_the_flavour_of_others_weights_is_said(tmp_path: Path, weights: Path) -> None:
    assert load_pretrained(weights).flavour == ""
    interop.save(VisionTransformer(16, 16, 10, 1, 2, 10, 3), tmp_path / "google.npz", format="google")
    pretrained = load_pretrained(tmp_path / "google.npz")
    assert "gelu tanh (convention)" in pretrained.flavour
    assert pretrained.mean == (0.5, 0.5, 0.5)


def test_features_may_be_computed_on_another_device_than_before_and_it_is_told(make_frozen) -> None:
    settings = {"mode": "knn", "neighbours": 5}
    before = make_frozen(**settings).run()
    frozen = make_frozen(**settings)
    plan = frozen.folder.read_plan()
    frozen.folder.write_plan({**plan, "config": {**plan["config"], "device": "cuda"}})
    said = io.StringIO()
    again = make_frozen(stream=said, **settings).run(resume=True)
    assert "was on cuda and goes on on cpu" in said.getvalue()
    assert again["test_accuracy"] == before["test_accuracy"]
