"""Supervised training: augment, forward, cross-entropy, backward."""

from __future__ import annotations

from dataclasses import dataclass

from minivit import augment
from minivit.autograd import Tensor
from minivit.backend import Array, backend_for_device, use_device
from minivit.backend.cpu.threads import Workers
from minivit.data import Batch, Batches, Splits
from minivit.nn import Module, mask_keys
from minivit.ops import cross_entropy
from minivit.recipes.config import TrainConfig
from minivit.recipes.parallel import ParallelGradients
from minivit.recipes.procedure import ImageClassification
from minivit.recipes.step import TrainingStep, summed


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
    """

    images: Array
    targets: Array
    labels: Array
    index: Array
    step: int

    @property
    def size(self) -> int:
        """B."""
        return int(self.images.shape[0])


class SupervisedStep(TrainingStep):
    """Cross-entropy on labelled images.

    Parameters
    ----------
    model, config, total_steps, workers
        As for `TrainingStep`.
    augmentation : TrainAugmentation
    num_classes : int
    """

    def __init__(
        self,
        model: Module,
        config: TrainConfig,
        total_steps: int,
        workers: Workers,
        augmentation: augment.TrainAugmentation,
        num_classes: int,
    ) -> None:
        super().__init__(model, config, total_steps, workers)
        self.augmentation, self.num_classes = augmentation, num_classes

    def prepare(self, batch: Batch) -> PreparedBatch:
        """Augment a batch on the run's device."""
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
        return PreparedBatch(pixels, targets, labels, index, batch.step)

    def forward_backward(self, batch: PreparedBatch, gradients: ParallelGradients | None = None) -> dict[str, Array]:
        """Gradients of the mean loss on every parameter; the loss and the share of right answers."""
        smoothing = self.config.label_smoothing or 0.0

        def loss_of(part: slice) -> tuple[Tensor, dict[str, Array]]:
            with mask_keys(self.config.seed, batch.step, batch.index[part]):
                logits = self.model(Tensor(batch.images[part]))  # (b, K)
            loss = cross_entropy(logits, Tensor(batch.targets[part]), smoothing, reduction="sum") / batch.size
            correct = (logits.data.argmax(1) == batch.labels[part]).sum()
            return loss, {"loss": loss.data, "accuracy": correct / batch.size}

        return summed((gradients or self.gradients).run(loss_of, batch.size))


class Supervised(ImageClassification):
    """A classifier of images from labelled images.

    Parameters
    ----------
    config, splits, dataset_kind
        As for `ImageClassification`.
    """

    def __init__(self, config: TrainConfig, splits: Splits, dataset_kind: str) -> None:
        super().__init__(config, splits, dataset_kind)
        self.batches = Batches(self.train_set, min(config.batch_size or 1, len(self.train_set)), seed=config.seed)
        self.batch_size, self.steps_per_epoch = self.batches.batch_size, self.batches.steps_per_epoch
        self.step_cost = float(self.batch_size)

    def make_step(self, total_steps: int) -> SupervisedStep:
        """A step at the beginning of a run of so many."""
        augmentation = augment.TrainAugmentation(
            mean=self.mean,
            std=self.std,
            seed=self.config.seed,
            padding=self.config.crop or 0,
            padding_mode=self.padding_mode,
            flip=bool(self.config.flip),
            rotate_colors=bool(self.config.rotate_colors),
            cutout_size=self.config.cutout or 0,
            crop_area=(self.config.crop_area, 1.0) if self.config.crop_area else None,
        )
        return SupervisedStep(self.model, self.config, total_steps, self.workers, augmentation, self.num_classes)

    def prepare(self, step: TrainingStep, number: int) -> PreparedBatch:
        """The batch of a step."""
        assert isinstance(step, SupervisedStep)
        return step.prepare(self.batches.at(number))
