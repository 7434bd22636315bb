"""A step of pretext training: the mean of a task's loss over a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minivit.autograd import Tensor
from minivit.backend import Array
from minivit.backend.cpu.threads import Workers
from minivit.nn import Module, mask_keys
from minivit.recipes.parallel import ParallelGradients
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.step import TrainingStep, summed

if TYPE_CHECKING:
    from minivit.recipes.pretext.task import PretextTask


@dataclass(frozen=True, eq=False)
class PretextBatch:
    """A batch on the device: what a task prepared.

    Attributes
    ----------
    arrays : tuple of arrays (B, ...)
    index : array (B,)
        Keys of the random masks.
    step : int
    """

    arrays: tuple[Array, ...]
    index: Array
    step: int

    @property
    def size(self) -> int:
        """B."""
        return int(self.index.shape[0])


class PretextStep(TrainingStep):
    """The mean of a task's loss over a batch.

    Parameters
    ----------
    model, config, total_steps, workers
        As for `TrainingStep`.
    task : PretextTask
    """

    def __init__(
        self, model: Module, config: PretextConfig, total_steps: int, workers: Workers, task: PretextTask
    ) -> None:
        super().__init__(model, config, total_steps, workers)
        self.task = task

    def forward_backward(self, batch: PretextBatch, gradients: ParallelGradients | None = None) -> dict[str, Array]:
        """Gradients of the mean loss on every parameter; the loss and what the task measures."""

        def loss_of(part: slice) -> tuple[Tensor, dict[str, Array]]:
            with mask_keys(self.config.seed, batch.step, batch.index[part]):
                losses, measured = self.task.loss(self.model, *(array[part] for array in batch.arrays))
            loss = losses.sum() / batch.size
            return loss, {"loss": loss.data, **{name: value.sum() / batch.size for name, value in measured.items()}}

        return summed((gradients or self.gradients).run(loss_of, batch.size))
