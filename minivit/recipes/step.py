"""What every training step does, whatever its loss: gradients, clipping, update, averaging."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.backend import Array, array_module, matmul_precision, to_host
from minivit.backend.cpu.threads import Workers
from minivit.nn import Module
from minivit.optim import (
    SCHEDULES,
    SGD,
    AdamW,
    ExponentialMovingAverage,
    Muon,
    Optimizer,
    clip_grad_norm,
    grad_norm,
    layer_wise_decay,
)
from minivit.recipes.checkpoint import Stateful
from minivit.recipes.config import TrainConfig
from minivit.recipes.micro_batch import USUAL
from minivit.recipes.parallel import ParallelGradients


@dataclass(frozen=True, eq=False)
class StepResult:
    """What a step leaves to be read between steps; on a GPU, arrays that are still being computed.

    Attributes
    ----------
    values : dict of str to 0-d array
        What is logged, by name: ``"loss"`` and whatever else the step measures, each for the whole batch.
    grad_norm : 0-d array
        Before clipping; NaN or infinite if a gradient is.
    size : int
        Examples that the step took in.
    """

    values: dict[str, Array]
    grad_norm: Array
    size: int

    def is_finite(self) -> bool:
        """Whether loss and gradients are finite (waits for the device)."""
        return bool(np.isfinite(to_host(self.values["loss"])) and np.isfinite(to_host(self.grad_norm)))


class TrainingStep(ABC):
    """Prepares batches and makes steps; a subclass says what a batch is and what its loss.

    Parameters
    ----------
    model : Module
        On the device of the run.
    config : TrainConfig
        With a preset filled in.
    total_steps : int
        Of the schedule.
    workers : Workers
    """

    def __init__(self, model: Module, config: TrainConfig, total_steps: int, workers: Workers) -> None:
        self.model, self.config, self.total_steps, self.workers = model, config, total_steps, workers
        self.device = model.device
        self.optimizer = make_optimizer(model, config, workers)
        self.average = ExponentialMovingAverage(self.optimizer.flat, config.ema) if config.ema else None
        self.gradients = ParallelGradients(self.optimizer.flat, workers, config.micro_batch or USUAL)
        self._before: Array = array_module(self.optimizer.flat.data).empty_like(self.optimizer.flat.data)

    @abstractmethod
    def forward_backward(self, batch: Any, gradients: ParallelGradients | None = None) -> dict[str, Array]:
        """Gradients of the loss on every parameter; returns the `values` of `StepResult`.

        Parameters
        ----------
        batch
            Prepared: it has a `step` and a `size`.
        gradients : ParallelGradients, optional
            Other threads than the step's own, to replay it.
        """

    @property
    def further(self) -> Mapping[str, Stateful]:
        """What else a checkpoint has to keep for resuming, by name: another model that is trained, its optimiser."""
        return {}

    def learning_rate(self, step: int) -> float:
        """Peak times schedule."""
        warmup = int((self.config.warmup or 0.0) * self.total_steps)
        return (self.config.learning_rate or 0.0) * SCHEDULES[self.config.schedule](step, self.total_steps, warmup)

    def __call__(self, batch: Any) -> StepResult:
        """One step. Nothing in it waits for the device."""
        self._before[...] = self.optimizer.flat.data
        with training_precision(self.config):
            values = self.forward_backward(batch)
        flat = self.optimizer.flat
        norm = clip_grad_norm(flat, self.config.clip) if self.config.clip else grad_norm(flat)
        self.optimizer.learning_rate = self.learning_rate(batch.step)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return StepResult(values, norm, batch.size)

    def rewind(self) -> None:
        """Give the parameters the values that they had before the last step, to replay it."""
        self.optimizer.flat.data[...] = self._before
        self.optimizer.flat.touch()


def training_precision(config: TrainConfig) -> AbstractContextManager[None]:
    """The precision of matrix products that a configuration asks for in forward and backward.

    Raises
    ------
    ValueError
        If it is one of the CPU's and the device is another.
    RuntimeError
        On entering, if this machine does not have it: see `minivit.backend.matmul_precision`.
    """
    if config.precision != "float32" and config.device != "cpu":
        raise ValueError(f"precision {config.precision} is for the CPU alone, got the device {config.device}")
    return matmul_precision(config.precision)


def make_optimizer(model: Module, config: TrainConfig, workers: Workers) -> Optimizer:
    """The optimiser that a configuration names."""
    options: dict[str, Any] = {
        "learning_rate": config.learning_rate or 0.0,
        "weight_decay": config.weight_decay or 0.0,
    }
    if config.layer_decay not in (None, 1.0):
        options["learning_rate_scale"] = layer_wise_decay(model, config.layer_decay)
    if config.optimizer == "muon":
        return Muon(model, matrix_learning_rate=config.matrix_learning_rate or 0.0, workers=workers, **options)
    if config.optimizer == "sgd":
        return SGD(model, nesterov=config.nesterov is not False, **options)
    return AdamW(model, **options)


def summed(parts: list[dict[str, Array]]) -> dict[str, Array]:
    """The sums of values that add up over the parts of a batch, by name; a part may lack some."""
    total: dict[str, Array] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total
