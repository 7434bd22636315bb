"""The settings of a pretext run."""

from __future__ import annotations

from dataclasses import dataclass

from minivit.recipes.config import TrainConfig


@dataclass
class PretextConfig(TrainConfig):
    """Settings of pretext training. Where a setting is None, the preset of the task and the data set decides."""

    task: str = "rotation"
    """What is learned; the labels of the data set are not used."""
