"""What a pretext task is: inputs and targets made of images alone, a head, a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from minivit.autograd import Tensor
from minivit.backend import Array
from minivit.backend.cpu.threads import Workers
from minivit.data import Dataset
from minivit.nn import Module
from minivit.ops import cross_entropy
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.step import PretextStep
from minivit.recipes.step import TrainingStep

EVALUATION_STEP = 2**32 - 1
"""The step that questions about held-out images are drawn with: none of training's."""

MakeEncoder = Callable[[int], Any]
"""Side of the images -> a model without a head: images (n, C, side, side) -> features (n, num_features)."""


class PretextModel(Module):
    """An encoder, which is kept, and a head, which only the pretext task needs.

    Parameters
    ----------
    task : str
        Name of the task.
    encoder : Module
        Images (n, C, s, s) -> features (n, D).
    head : Module
        Features to whatever the task compares with its targets.

    Attributes
    ----------
    config : dict
        ``task``, and ``encoder`` with the encoder's ``class`` and ``config``: a checkpoint is read as its encoder.
    """

    def __init__(self, task: str, encoder: Module, head: Module) -> None:
        self.encoder, self.head = encoder, head
        made_of: dict[str, Any] = getattr(encoder, "config", {})
        self.config = {"task": task, "encoder": {"class": type(encoder).__name__, "config": made_of}}
        for name, parameter in self.named_parameters():
            parameter.name = name

    def forward(self, images: Tensor) -> Tensor:
        """The head of the encoder's features."""
        answers: Tensor = self.head(self.encoder(images))
        return answers


class PretextTask(ABC):
    """An auxiliary task that is easy to label (Doersch et al. 2015: "supervision for free").

    Parameters
    ----------
    config : PretextConfig
        With a preset filled in.
    image_shape : (C, H, W)
        Of the data set's images.
    mean, std : sequence of C floats
        For `minivit.augment.normalize`.

    Attributes
    ----------
    name : str
        What the command line calls it.
    titles : mapping of str to str
        Measured quantities to be drawn over the run, with what stands on their axes.
    chance : float or None
        Accuracy of guessing, where there is an accuracy.
    """

    name: ClassVar[str]
    titles: ClassVar[Mapping[str, str]] = {"loss": "cross-entropy (nats)", "accuracy": "accuracy"}
    chance: ClassVar[float | None] = None

    def __init__(
        self, config: PretextConfig, image_shape: tuple[int, int, int], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        self.config, self.image_shape = config, image_shape
        self.mean, self.std = tuple(mean), tuple(std)

    @abstractmethod
    def build(self, make_encoder: MakeEncoder) -> PretextModel:
        """The encoder with the task's head."""

    @abstractmethod
    def prepare(self, images: Array, step: int, index: Array, training: bool) -> tuple[Array, ...]:
        """Inputs and targets of a batch.

        Parameters
        ----------
        images : array (B, C, H, W) of uint8
            On the device of the run.
        step : int
        index : array (B,) of integers
            The images' numbers in the data set: with the step, what random numbers are keyed by.
        training : bool
            Whether images may be augmented beyond what the task itself does to them.

        Returns
        -------
        tuple of arrays (B, ...)
            What `loss` takes, so that it can be given any part of the batch.
        """

    @abstractmethod
    def loss(self, model: Module, *prepared: Array) -> tuple[Tensor, dict[str, Array]]:
        """Loss of some images of a batch.

        Parameters
        ----------
        model : Module
            What `build` made.
        *prepared : arrays (b, ...)
            From `prepare`.

        Returns
        -------
        losses : Tensor (b,)
        measured : dict of str to array (b,)
            What else is logged, such as ``"accuracy"``: 1 where the answer is right.
        """

    def make_step(self, model: Module, config: PretextConfig, total_steps: int, workers: Workers) -> TrainingStep:
        """A step at the beginning of a run of so many: another one for a task that trains more than its model."""
        return PretextStep(model, config, total_steps, workers, self)

    def draw_questions(self, dataset: Dataset, folder: Path) -> list[Path]:  # noqa: ARG002
        """Pictures of what the task makes of images, drawn before a run; the files."""
        return []

    def baselines(self, dataset: Dataset) -> dict[str, dict[str, float]]:  # noqa: ARG002
        """What answers reach on a data set that need no training, by name: each the `examples` and what is measured."""
        return {}

    def draw(self, model: Module, dataset: Dataset, folder: Path, workers: Workers) -> list[Path]:  # noqa: ARG002
        """Pictures of what the task asks, and of what the model answers, drawn at the end of a run; the files."""
        return []


def classification_loss(logits: Tensor, labels: Array) -> tuple[Tensor, dict[str, Array]]:
    """Cross-entropy and accuracy of each image, for tasks whose answer is one of K classes.

    Parameters
    ----------
    logits : Tensor (b, K) or (b, n, K)
        With n questions an image: their mean is taken.
    labels : array (b,) or (b, n) of int64
    """
    b, K = logits.shape[0], logits.shape[-1]
    losses = cross_entropy(logits.reshape(-1, K), Tensor(labels.reshape(-1)), reduction="none")  # (b n,)
    right = logits.data.argmax(-1) == labels
    return losses.reshape(b, -1).mean(1), {"accuracy": right.reshape(b, -1).mean(1)}
