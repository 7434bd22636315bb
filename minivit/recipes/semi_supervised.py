"""Semi-supervised training of a classifier of images: few labels, many images, and UDA's loss on both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from minivit import augment
from minivit.backend import Array, backend_for_device, use_device
from minivit.data import BatchOrder, Dataset, Splits
from minivit.data.labels import LabelSplit, refuse_overlap, split_labels
from minivit.recipes.procedure import ImageProcedure
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.step import TrainingStep
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_step import UdaBatch, UdaStep

SPLIT = "split.json"


class SemiSupervised(ImageProcedure):
    """A classifier of images from a few labelled and many unlabelled images, or a baseline that shares all but those.

    Parameters
    ----------
    config : UdaConfig
        With a preset filled in. Its `method` says what is trained: ``"uda"``; ``"supervised"``, which sees the
        labelled images alone; ``"fully_supervised"``, which sees all labels.
    splits, dataset_kind
        As for `ImageProcedure`.

    Raises
    ------
    ValueError
        If more labels are asked for than there are, or a batch is larger than what it is drawn from.
    DatasetError
        If unlabelled images are in the test set.
    """

    config: UdaConfig

    def __init__(self, config: UdaConfig, splits: Splits, dataset_kind: str) -> None:
        super().__init__(config, splits, dataset_kind)
        self.split = split_labels(
            self.train_set, config.labels or 0, config.seed, include_labelled=config.include_labelled
        )
        refuse_overlap(self.train_set.subset(self.split.unlabelled), self.test_set)
        self.labelled = self.train_set.subset(self.split.labelled)
        if config.method == "fully_supervised":
            self.labelled = self.train_set
        self.batch_size = min(config.batch_size or 1, len(self.labelled))
        self.labelled_order = BatchOrder(len(self.labelled), self.batch_size, seed=config.seed, stream="labelled")
        self.unlabelled_order = _unlabelled_order(self.split, config)
        # The baselines are watched as often as UDA.
        self.steps_per_epoch = self.unlabelled_order.steps_per_epoch
        self.step_cost = float(self.batch_size)
        if config.method == "uda":
            self.batch_size += config.unlabelled_size
            self.step_cost += (4 / 3) * config.unlabelled_size  # originals go forward only
        self.of_labelled = self._augmentation(config.labelled_augmentation)
        self.of_originals = self._augmentation("weak")
        self.of_augmented = self._augmentation(config.augmentation)

    def _augmentation(self, style: str | None) -> augment.TrainAugmentation:
        config = self.config
        policy = None
        if style not in (None, "weak"):
            policy = augment.randaugment(str(style), seed=config.seed, image_size=self.train_set.image_shape[1])
        return augment.TrainAugmentation(
            mean=self.mean,
            std=self.std,
            seed=config.seed,
            padding=config.crop or 0,
            padding_mode=self.padding_mode,
            flip=bool(config.flip),
            rotate_colors=bool(config.rotate_colors),
            cutout_size=config.cutout or 0,
            policy=policy,
        )

    def make_step(self, total_steps: int) -> UdaStep:
        """A step at the beginning of a run of so many."""
        return UdaStep(self.model, self.config, total_steps, self.workers, self.num_classes)

    def prepare(self, step: TrainingStep, number: int) -> UdaBatch:
        """The batches of a step, augmented on the run's device.

        Each image is keyed by its number in the training set, in a range of its own for each branch, so that two
        versions of an image are moved, changed and masked independently.
        """
        use_device(step.device)  # a thread of its own may run this
        index, epoch = self.labelled_order.at(number)
        where = index if self.config.method == "fully_supervised" else self.split.labelled[index]
        count = len(self.train_set)
        labelled, labelled_index = self._images(self.labelled, index, where, self.of_labelled, number)
        labels = backend_for_device(step.device).from_host(self.labelled.labels[index], step.device)
        if self.config.method != "uda":
            return UdaBatch(labelled, labels, None, None, labelled_index, None, None, number, epoch)
        where = self.split.unlabelled[self.unlabelled_order.at(number)[0]]
        original, original_index = self._images(self.train_set, where, count + where, self.of_originals, number)
        augmented, augmented_index = self._images(self.train_set, where, 2 * count + where, self.of_augmented, number)
        return UdaBatch(
            labelled, labels, original, augmented, labelled_index, original_index, augmented_index, number, epoch
        )

    def _images(
        self, dataset: Dataset, index: Array, keys: Array, augmentation: augment.TrainAugmentation, number: int
    ) -> tuple[Array, Array]:
        backend, device = backend_for_device(self.config.device), self.config.device
        images, keys = (backend.from_host(array, device) for array in (dataset.images[index], keys))
        return augmentation(images, number, keys), keys

    def shown(self, record: dict[str, float]) -> dict[str, str]:
        """Loss, accuracy on the labelled batch, and how many originals are confident."""
        values = super().shown(record)
        if "confident_share" in record:
            values["confident"] = f"{100 * record['confident_share']:.0f}%"
            values["agree"] = f"{100 * record['agreement']:.0f}%"
        return values

    def results(self) -> dict[str, Any]:
        """Data, method and sizes."""
        uda = self.config.method == "uda"
        return {
            **super().results(),
            "method": self.config.method,
            "labels": len(self.labelled),
            "unlabelled_images": len(self.split.unlabelled) if uda else 0,
        }

    def write_inputs(self, folder: Path) -> None:
        """The split, so that a run says which images it saw the labels of; a resumed run has to have the same."""
        path = folder / SPLIT
        if not path.exists():
            self.split.save(path)
            return
        saved = LabelSplit.load(path, self.train_set)
        same = saved.labelled.tolist() == self.split.labelled.tolist()
        if not same or saved.unlabelled.tolist() != self.split.unlabelled.tolist():
            raise ResumeError(f"{path} is not the split that these settings make; start in another folder with --out")


def _unlabelled_order(split: LabelSplit, config: UdaConfig) -> BatchOrder:
    try:
        return BatchOrder(len(split.unlabelled), config.unlabelled_size, seed=config.seed, stream="unlabelled")
    except ValueError as error:
        raise ValueError(
            f"unlabelled batches: {error}; lower unlabelled_ratio, unlabelled_batch_size or batch_size"
        ) from None
