"""Training steps as a run makes them: with its data, which a thread augments ahead of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from minivit import data
from minivit.backend.cpu.threads import available_cores, blas_threads
from minivit.inspect.summary import summarize
from minivit.recipes.config import TrainConfig
from minivit.recipes.presets import preset_settings
from minivit.recipes.semi_supervised import SemiSupervised
from minivit.recipes.speed.turns import Step
from minivit.recipes.supervised import Supervised
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_presets import uda_preset

TOTAL_STEPS = 10_000
"""Of the schedule: the steps that are timed are among the first."""


class _Found(NamedTuple):
    """What a procedure tells once it is there."""

    examples: int
    gflop: float
    micro_batch: int | None


@dataclass(frozen=True)
class RunWork:
    """The steps of the default run of `examples/train_cifar.py` or `examples/train_uda.py` on a data set.

    Attributes
    ----------
    method : {"supervised", "uda"}
    dataset : {"cifar10", "shapes", "digits"}
        Whose images, settings and model. Drawn shapes stand in for the images of CIFAR-10 where it is not at hand.
    batch : int or None
        Labelled images in a step; None leaves it to the preset.
    unlabelled : int or None
        Unlabelled images in a step of UDA; None leaves it to the preset.
    threads : int
        0 takes all cores that the process may use. Augmentation takes one, of its own.
    micro_batch : int or None
        Images that go through the model at once; None takes what suits the model.
    settings : dict of str to Any
        Further ones of `TrainConfig` or `UdaConfig`, in place of the preset's.
    """

    method: Literal["supervised", "uda"] = "supervised"
    dataset: Literal["cifar10", "shapes", "digits"] = "cifar10"
    batch: int | None = None
    unlabelled: int | None = None
    threads: int = 0
    micro_batch: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> TrainConfig:
        """The settings of the run, the preset's filled in."""
        chosen: dict[str, Any] = {
            "dataset": self.dataset,
            "batch_size": self.batch,
            "threads": self.threads,
            "micro_batch": self.micro_batch,
            **self.settings,
        }
        if self.method == "supervised":
            return TrainConfig(**chosen).filled(preset_settings(self.dataset))
        return UdaConfig(**chosen, unlabelled_batch_size=self.unlabelled).filled(uda_preset(self.dataset))

    def procedure(self) -> Supervised | SemiSupervised:
        """The procedure of the run, with its model."""
        config, splits = self.config, images_at_hand(self.dataset)
        if isinstance(config, UdaConfig):
            return SemiSupervised(config, splits, self.dataset)
        return Supervised(config, splits, self.dataset)

    @property
    def examples(self) -> int:
        """Images in a step."""
        return self._found.examples

    @property
    def gflop(self) -> float:
        """Of a step."""
        return self._found.gflop

    @cached_property
    def _found(self) -> _Found:
        procedure = self.procedure()
        procedure.workers.close()
        gflop = 6e-9 * procedure.step_cost * summarize(procedure.model).multiply_adds
        return _Found(procedure.batch_size, gflop, procedure.config.micro_batch)

    def told(self) -> dict[str, Any]:
        """Data set, settings, threads."""
        config = self.config
        told = {
            "model": config.model,
            "mode": "run" if self.method == "supervised" else "uda",
            "dataset": images_at_hand(self.dataset).train.name,
            "batch": self.examples,
            "optimizer": config.optimizer,
            "micro_batch": self._found.micro_batch,
            "threads": self.threads or available_cores(),
            "precision": config.precision,
        }
        if isinstance(config, UdaConfig):
            unlabelled = config.unlabelled_beside(config.batch_size or 1)
            told |= {"labelled": self.examples - unlabelled, "unlabelled": unlabelled}
            told["augmentation"] = config.augmentation
        return told

    @contextmanager
    def start(self) -> Iterator[Step]:
        """The step as minivit makes it: as `Trainer` does, from taking up the batch to asking whether all is finite."""
        procedure = self.procedure()
        with blas_threads(1), procedure.workers:
            stepper = procedure.make_step(TOTAL_STEPS)
            with closing(procedure.ahead(stepper, itertools.count())) as batches:

                def step() -> Any:
                    result = stepper(next(batches))
                    if not result.is_finite():
                        raise FloatingPointError("loss or gradients became NaN or infinite")
                    return result.values["loss"]

                yield step


def images_at_hand(dataset: str) -> data.Splits:
    """The data set; drawn shapes in the place of CIFAR-10 where it is not at hand."""
    if dataset == "cifar10" and data.find("cifar10") is None:
        return data.load("shapes", train=5000, validation=100, test=100)
    return data.load(dataset, download=False)
