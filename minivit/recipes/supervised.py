"""One step of supervised training: augment, forward, cross-entropy, backward, clip, update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit import augment
from minivit.autograd import Tensor
from minivit.backend import Array, array_module, backend_for_device, to_host, use_device
from minivit.backend.cpu.threads import Workers
from minivit.data import Batch
from minivit.nn import Module, mask_keys
from minivit.ops import cross_entropy
from minivit.optim import SCHEDULES, SGD, AdamW, ExponentialMovingAverage, Muon, Optimizer, clip_grad_norm, grad_norm
from minivit.recipes.config import TrainConfig
from minivit.recipes.parallel import ParallelGradients


@dataclass(frozen=True, eq=False)
class PreparedBatch:
    """A batch on the device, augmented.

    Attributes
    ----------
    images : array (B, C, H, W) of float32
    targets : array (B,) of int64, or (B, K) of float32 where images are mixed
    labels : array (B,) of int64
        Of the unmixed images.
    index : array (B,)
        Keys of the random masks.
    step : int
    epoch : int
    """

    images: Array
    targets: Array
    labels: Array
    index: Array
    step: int
    epoch: int


@dataclass(frozen=True, eq=False)
class StepResult:
    """What a step leaves to be read between steps; on a GPU, arrays that are still being computed.

    Attributes
    ----------
    loss : 0-d array
        Mean over the batch.
    correct : 0-d array
        Number of images whose largest logit is their label's.
    grad_norm : 0-d array
        Before clipping; NaN or infinite if a gradient is.
    size : int
    """

    loss: Array
    correct: Array
    grad_norm: Array
    size: int

    def is_finite(self) -> bool:
        """Whether loss and gradients are finite (waits for the device)."""
        return bool(np.isfinite(to_host(self.loss)) and np.isfinite(to_host(self.grad_norm)))


class SupervisedStep:
    """Prepares batches and makes steps.

    Parameters
    ----------
    model : Module
        On the device of the run.
    config : TrainConfig
        With a preset filled in.
    total_steps : int
        Of the schedule.
    mean, std : tuple of C floats
    num_classes : int
    workers : Workers
    padding_mode : {"reflect", "zero"}
        Of the random shift.
    """

    def __init__(
        self,
        model: Module,
        config: TrainConfig,
        total_steps: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        num_classes: int,
        workers: Workers,
        padding_mode: str = "reflect",
    ) -> None:
        self.model, self.config, self.total_steps, self.num_classes = model, config, total_steps, num_classes
        self.device = model.device
        self.augmentation = augment.TrainAugmentation(
            mean=mean,
            std=std,
            seed=config.seed,
            padding=config.crop or 0,
            padding_mode=padding_mode,
            flip=bool(config.flip),
            cutout_size=config.cutout or 0,
        )
        self.optimizer = make_optimizer(model, config)
        self.average = ExponentialMovingAverage(self.optimizer.flat, config.ema) if config.ema else None
        self.gradients = ParallelGradients(self.optimizer.flat, workers, config.micro_batch or 1)
        self._before: Array = array_module(self.optimizer.flat.data).empty_like(self.optimizer.flat.data)

    def prepare(self, batch: Batch) -> PreparedBatch:
        """Augment a batch on the run's device: a function of the batch's step alone, so it can run ahead."""
        use_device(self.device)  # a thread of its own may run this
        backend = backend_for_device(self.device)
        images, labels, index = (
            backend.from_host(array, self.device) for array in (batch.images, batch.labels, batch.index)
        )
        pixels = self.augmentation(images, batch.step, index)
        targets = labels
        if self.config.mixup:
            pixels, targets = augment.mixup(
                pixels,
                augment.one_hot(labels, self.num_classes),
                alpha=self.config.mixup,
                seed=self.config.seed,
                step=batch.step,
            )
        return PreparedBatch(pixels, targets, labels, index, batch.step, batch.epoch)

    def learning_rate(self, step: int) -> float:
        """Peak times schedule."""
        warmup = int((self.config.warmup or 0.0) * self.total_steps)
        return (self.config.learning_rate or 0.0) * SCHEDULES[self.config.schedule](step, self.total_steps, warmup)

    def forward_backward(self, batch: PreparedBatch, gradients: ParallelGradients | None = None) -> tuple[Array, Array]:
        """Gradients of the mean loss on every parameter; returns the loss and the number of right answers."""
        size = batch.images.shape[0]
        smoothing = self.config.label_smoothing or 0.0

        def loss_of(part: slice) -> tuple[Tensor, tuple[Array, Array]]:
            with mask_keys(self.config.seed, batch.step, batch.index[part]):
                logits = self.model(Tensor(batch.images[part]))  # (b, K)
            loss = cross_entropy(logits, Tensor(batch.targets[part]), smoothing, reduction="sum") / size
            correct = (logits.data.argmax(1) == batch.labels[part]).sum()
            return loss, (loss.data, correct)

        values = (gradients or self.gradients).run(loss_of, size)
        loss, correct = values[0]
        for part_loss, part_correct in values[1:]:
            loss, correct = loss + part_loss, correct + part_correct
        return loss, correct

    def __call__(self, batch: PreparedBatch) -> StepResult:
        """One step. Nothing in it waits for the device."""
        self._before[...] = self.optimizer.flat.data
        loss, correct = self.forward_backward(batch)
        flat = self.optimizer.flat
        norm = clip_grad_norm(flat, self.config.clip) if self.config.clip else grad_norm(flat)
        self.optimizer.learning_rate = self.learning_rate(batch.step)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return StepResult(loss, correct, norm, batch.images.shape[0])

    def rewind(self) -> None:
        """Give the parameters the values that they had before the last step, to replay it."""
        self.optimizer.flat.data[...] = self._before
        self.optimizer.flat.touch()


def make_optimizer(model: Module, config: TrainConfig) -> Optimizer:
    """The optimiser that a configuration names."""
    options: dict[str, Any] = {
        "learning_rate": config.learning_rate or 0.0,
        "weight_decay": config.weight_decay or 0.0,
    }
    if config.optimizer == "muon":
        return Muon(model, matrix_learning_rate=config.matrix_learning_rate or 0.0, **options)
    if config.optimizer == "sgd":
        return SGD(model, nesterov=True, **options)
    return AdamW(model, **options)
