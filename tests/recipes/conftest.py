"""A tiny run for the tests of the recipes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from minivit import data
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.presets import preset_settings
from minivit.recipes.supervised import Supervised
from minivit.recipes.trainer import Interrupted, Trainer


@pytest.fixture(scope="session")
def digits() -> data.Splits:
    """A few hundred digits, so that an epoch takes a moment."""
    splits = data.load("digits")
    return data.Splits(
        splits.train.subset(range(160), splits.train.name),
        splits.test.subset(range(60), splits.test.name),
        splits.validation.subset(range(40), splits.validation.name) if splits.validation else None,
    )


@pytest.fixture
def make_trainer(digits: data.Splits, tmp_path: Path):
    """A function that makes a Trainer of the digits in a folder of its own."""

    def make(folder: str = "run", console: Console | None = None, **settings) -> Trainer:
        settings = {"dataset": "digits", "epochs": 2, "threads": 1, **settings}
        config = TrainConfig(**settings).filled(preset_settings("digits"))
        return Trainer(Supervised(config, digits, "digits"), tmp_path / folder, console or Console(io.StringIO()))

    return make


@pytest.fixture
def interrupt():
    """A function that runs a trainer until Ctrl-C after so many steps."""

    def run(trainer: Trainer, after: int) -> None:
        taken = trainer._checked_step

        def stop(stepper, batch):
            if batch.step + 1 == after:
                trainer._stop.set()
            return taken(stepper, batch)

        trainer._checked_step = stop
        with pytest.raises(Interrupted):
            trainer.run()

    return run
