"""Semi-supervised training of a classifier of images: few labels, many images, and UDA's loss on both."""

from __future__ import annotations

from typing import Any

from minivit import augment
from minivit.backend import Array, backend_for_device, use_device
from minivit.data import Dataset, Splits
from minivit.data.labels import refuse_overlap, split_labels
from minivit.recipes.few_labels import FewLabels
from minivit.recipes.procedure import ImageClassification
from minivit.recipes.step import TrainingStep
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_step import UdaBatch


class SemiSupervised(FewLabels, ImageClassification):
    """A classifier of images from a few labelled and many unlabelled images, or a baseline that shares all but those.

    Parameters
    ----------
    config : UdaConfig
        With a preset filled in. Its `method` says what is trained: ``"uda"``; ``"supervised"``, which trains on the
        labelled images alone; ``"fully_supervised"``, which trains on all with their labels. All three normalise
        with the statistics of all training images and may start from their principal components (`whitening`).
    splits, dataset_kind
        As for `ImageClassification`.

    Raises
    ------
    ValueError
        If more labels are asked for than there are, a batch is larger than what it is drawn from, or images are to be
        mixed.
    DatasetError
        If training images are in the test set or among those held out.
    """

    def __init__(self, config: UdaConfig, splits: Splits, dataset_kind: str) -> None:
        ImageClassification.__init__(self, config, splits, dataset_kind)
        if config.mixup:
            raise ValueError("mixup mixes labels, and unlabelled images have none; leave it at 0")
        self.split = split_labels(
            self.train_set, config.labels or 0, config.seed, include_labelled=config.include_labelled
        )
        for other in (self.test_set, self.validation_set):
            if other is not None:
                refuse_overlap(self.train_set, other)
        everything = config.method == "fully_supervised"
        self.labelled = self.train_set if everything else self.train_set.subset(self.split.labelled)
        self.draw_orders(len(self.labelled), len(self.split.unlabelled))
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
            crop_area=(config.crop_area, 1.0) if config.crop_area else None,
            policy=policy,
        )

    def prepare(self, step: TrainingStep, number: int) -> UdaBatch:
        """The batches of a step, augmented on the run's device.

        Each image is keyed by its number in the training set, in a range of its own for each branch, so that two
        versions of an image are moved, changed and masked independently.
        """
        use_device(step.device)  # a thread of its own may run this
        index, _ = self.labelled_order.at(number)
        where = index if self.config.method == "fully_supervised" else self.split.labelled[index]
        count = len(self.train_set)
        labelled, labelled_index = self._images(self.labelled, index, where, self.of_labelled, number)
        labels = backend_for_device(step.device).from_host(self.labelled.labels[index], step.device)
        if self.config.method != "uda":
            return UdaBatch(labelled, labels, None, None, labelled_index, None, None, number)
        where = self.split.unlabelled[self.unlabelled_order.at(number)[0]]
        original, original_index = self._images(self.train_set, where, count + where, self.of_originals, number)
        augmented, augmented_index = self._images(self.train_set, where, 2 * count + where, self.of_augmented, number)
        return UdaBatch(labelled, labels, original, augmented, labelled_index, original_index, augmented_index, number)

    def _images(
        self, dataset: Dataset, index: Array, keys: Array, augmentation: augment.TrainAugmentation, number: int
    ) -> tuple[Array, Array]:
        backend, device = backend_for_device(self.config.device), self.config.device
        images, keys = (backend.from_host(array, device) for array in (dataset.images[index], keys))
        return augmentation(images, number, keys), keys

    def results(self) -> dict[str, Any]:
        """Data, method and sizes."""
        return {
            **ImageClassification.results(self),
            **FewLabels.results(self),
            "unlabelled_images": len(self.split.unlabelled) if self.config.method == "uda" else 0,
        }

    def labelled_training_set(self) -> Dataset:
        """The training images."""
        return self.train_set
