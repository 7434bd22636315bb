"""A tiny pretext run, and a task on the stand-in."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from minivit import data
from minivit.recipes.console import Console
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.presets import pretext_preset
from minivit.recipes.pretext.pretraining import Pretraining
from minivit.recipes.trainer import Trainer


@pytest.fixture(scope="session")
def images() -> data.Splits:
    """Drawn shapes: colour images of 32 x 32, as CIFAR's are."""
    return data.load("shapes", train=96, test=40)


@pytest.fixture
def make_pretraining(images: data.Splits):
    """A function that makes the procedure of a task."""

    def make(task: str, **settings) -> Pretraining:
        settings = {"dataset": "shapes", "steps": 6, "batch_size": 16, "threads": 1, "model": "small", **settings}
        config = PretextConfig(task=task, **settings)
        return Pretraining(config.filled(pretext_preset(task, "shapes")), images, "shapes")

    return make


@pytest.fixture
def make_trainer(make_pretraining, tmp_path: Path):
    """A function that makes a Trainer of a task in a folder of its own."""

    def make(task: str, folder: str = "run", **settings) -> Trainer:
        return Trainer(make_pretraining(task, **settings), tmp_path / folder, Console(io.StringIO()))

    return make
