"""Pre-training: an encoder learns a pretext task from images alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivit.autograd import no_grad
from minivit.backend import backend_for_device, to_host, use_device
from minivit.data import BatchOrder, Splits
from minivit.recipes.evaluation import Evaluation
from minivit.recipes.parallel import evaluate_parts
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.step import PretextBatch
from minivit.recipes.pretext.task import EVALUATION_STEP
from minivit.recipes.procedure import ImageProcedure
from minivit.recipes.step import TrainingStep

EVALUATED_AT_ONCE = 64  # images


class Pretraining(ImageProcedure):
    """An encoder that learns a pretext task from the training images; their labels are not used.

    Parameters
    ----------
    config : PretextConfig
        With a preset filled in.
    splits, dataset_kind
        As for `ImageProcedure`.

    Raises
    ------
    ValueError
        If there is no task of that name.
    """

    config: PretextConfig

    def __init__(self, config: PretextConfig, splits: Splits, dataset_kind: str) -> None:
        from minivit.recipes.pretext import TASKS

        super().__init__(config, splits, dataset_kind)
        if config.task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(TASKS)}; got {config.task!r}")
        if config.mixup:
            raise ValueError("mixup mixes labels, and a pretext task has its own; leave it at 0")
        self.task = TASKS[config.task](config, self.train_set.image_shape, self.mean, self.std)
        channels = self.train_set.image_shape[0]
        self.take_model(self.task.build(lambda side: self.build_model((channels, side, side), num_classes=0)))
        size = min(config.batch_size or 1, len(self.train_set))
        self.order = BatchOrder(len(self.train_set), size, seed=config.seed)
        self.batch_size, self.steps_per_epoch, self.step_cost = size, self.order.steps_per_epoch, float(size)

    @property
    def input_shape(self) -> None:
        """A task's model takes more than an image."""

    def make_step(self, total_steps: int) -> TrainingStep:
        """A step at the beginning of a run of so many."""
        return self.task.make_step(self.model, self.config, total_steps, self.workers)

    def prepare(self, step: TrainingStep, number: int) -> PretextBatch:
        """The batch of a step."""
        use_device(step.device)  # a thread of its own may run this
        index, _ = self.order.at(number)
        return self._batch(self.train_set.images[index], index, number, training=True)

    def _batch(self, images: np.ndarray, index: np.ndarray, step: int, training: bool) -> PretextBatch:
        backend, device = backend_for_device(self.config.device), self.config.device
        pixels, keys = (backend.from_host(array, device) for array in (images, index))
        return PretextBatch(self.task.prepare(pixels, step, keys, training), keys, step)

    def evaluate(self, split: str) -> Evaluation:
        """The means of the loss and of what the task measures over a split: the same questions each time."""
        dataset = self.dataset(split)
        was_training = self.model.training
        self.model.eval()

        def measure(part: slice) -> dict[str, float]:
            index = np.arange(part.start, part.stop)
            batch = self._batch(dataset.images[part], index, EVALUATION_STEP, training=False)
            with no_grad():
                losses, measured = self.task.loss(self.model, *batch.arrays)
            values = {"loss": losses.data, **measured}
            return {name: float(to_host(value.sum(dtype=np.float64))) for name, value in values.items()}

        try:
            parts = evaluate_parts(self.workers, measure, len(dataset), EVALUATED_AT_ONCE)
        finally:
            self.model.train(was_training)
        means = {name: math.fsum(part[name] for part in parts) / len(dataset) for name in parts[0]}
        return Evaluation(len(dataset), means)

    def shown(self, record: dict[str, float]) -> dict[str, str]:
        """The loss and what the task measures."""
        return {
            name: f"{100 * record[name]:.1f}%" if name == "accuracy" else f"{record[name]:.3f}"
            for name in self.task.titles
        }

    def metadata(self) -> dict[str, Any]:
        """Task, side of the images, normalisation and data set."""
        return {"task": self.task.name, "image_size": self.train_set.image_shape[1], **super().metadata()}

    def results(self) -> dict[str, Any]:
        """Task, data set and sizes, and what simple answers reach."""
        baselines = self.task.baselines(self.dataset("test" if self.config.test else "validation"))
        return {
            "task": self.task.name,
            "chance": self.task.chance,
            **({"baselines": baselines} if baselines else {}),
            **super().results(),
        }
