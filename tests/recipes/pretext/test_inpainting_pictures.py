"""Tests of minivit/recipes/pretext/inpainting_pictures.py."""

import dataclasses
import io

import numpy as np
import pytest

from minivit.recipes.console import Console
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.inpainting_pictures import answers, bytes_of, draw_runs, evenly, trained
from minivit.recipes.pretext.presets import pretext_preset
from minivit.recipes.pretext.pretraining import Pretraining
from minivit.recipes.program import load_images
from minivit.recipes.trainer import Trainer


def test_a_finished_run_shows_what_was_filled(make_pretraining, images, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    procedure = make_pretraining("inpainting")
    (path,) = procedure.task.draw(procedure.model, images.test, tmp_path, procedure.workers)
    assert path.parent == tmp_path
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.std() > 20
    assert procedure.model.training
    (again,) = procedure.task.draw(procedure.model, images.test, tmp_path / "again", procedure.workers)
    np.testing.assert_array_equal(np.asarray(Image.open(again).convert("RGB")), picture)


def test_colours_come_back_from_normalised_pixels_and_holes_are_white() -> None:
    original = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 4), dtype=np.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    normalised = (original / 255 - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    np.testing.assert_array_equal(bytes_of(normalised, mean, std), original.transpose(0, 2, 3, 1))
    holes = np.zeros((2, 1, 4, 4), bool)
    holes[:, :, 1] = True
    assert (bytes_of(normalised, mean, std, holes)[:, 1] == 255).all()
    assert (bytes_of(normalised + 99, mean, std) == 255).all()
    assert bytes_of(normalised[:, :1], mean[:1], std[:1]).shape == (2, 4, 4, 3)


def test_runs_are_drawn_from_their_checkpoints_with_the_weights_they_ended_with(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    config = PretextConfig(task="inpainting", dataset="digits", steps=3, threads=1, batch_size=16, mask="center")
    trainers = []
    for seed in (0, 1):
        kind, splits = load_images(config, Console(io.StringIO()))
        filled = dataclasses.replace(config, seed=seed).filled(pretext_preset("inpainting", kind))
        trainer = Trainer(Pretraining(filled, splits, kind), tmp_path / str(seed), Console(io.StringIO()))
        trainer.run()
        trainers.append(trainer)
    again = trained(trainers[0].folder.path)
    dataset = again.dataset("test")
    expected = answers(again.task, trainers[0].model, dataset, evenly(dataset, 5))
    for mine, reference in zip(answers(again.task, again.model, dataset, evenly(dataset, 5)), expected, strict=True):
        np.testing.assert_array_equal(mine, reference)
    assert evenly(dataset, 5)[[0, -1]].tolist() == [0, len(dataset) - 1]
    runs = {f"seed {seed}": trainer.folder.path for seed, trainer in enumerate(trainers)}
    assert draw_runs(runs, tmp_path / "runs.png", count=4).stat().st_size > 1000
