"""A training procedure: which model learns what from which data. The `Trainer` runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from minivit import augment
from minivit.backend.cpu.threads import Workers
from minivit.data import Dataset, Splits, hold_out, prefetch
from minivit.data.dataset import Images
from minivit.data.labels import split_labels
from minivit.models import VisionTransformer, whiten_first_layer
from minivit.nn import Module
from minivit.recipes.config import TrainConfig
from minivit.recipes.evaluation import Classification, Evaluation, evaluate
from minivit.recipes.micro_batch import with_micro_batch
from minivit.recipes.presets import build_model
from minivit.recipes.step import TrainingStep

WHITENING_IMAGES = 5000


class Procedure(ABC):
    """What a `Trainer` asks of a training procedure.

    Attributes
    ----------
    config : TrainConfig
        With a preset filled in, and with a micro-batch.
    model : Module
        On the device of the run.
    workers : Workers
    steps_per_epoch : int
        Steps in which each training example is seen about once; between them, the held-out examples are looked at.
    batch_size : int
        Examples that a step takes in: what a speed is counted in.
    step_cost : float
        A step's work in forwards and backwards of one example.
    test_size, validation_size : int
        Examples; 0 where there is no validation set.
    """

    config: TrainConfig
    model: Module
    workers: Workers
    steps_per_epoch: int
    batch_size: int
    step_cost: float
    test_size: int
    validation_size: int

    def take_model(self, model: Module) -> None:
        """Train a model: with a micro-batch that suits it, on the device of the run. Constructors end with it.

        Parameters
        ----------
        model : Module
            On the host.
        """
        self.config = with_micro_batch(self.config, model, self.input_shape)
        self.model = model.to(self.config.device)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Of one example; None where `minivit.inspect.summarize` cannot be asked what it takes."""
        return None

    @abstractmethod
    def make_step(self, total_steps: int) -> TrainingStep:
        """A step at the beginning of a run of so many."""

    @abstractmethod
    def prepare(self, step: TrainingStep, number: int) -> Any:
        """The batch of a step, on the device and augmented: a function of the number alone, so it can run ahead."""

    def ahead(self, step: TrainingStep, numbers: Iterable[int]) -> Generator[Any, None, None]:
        """The batches of some steps in order, each prepared in a thread while steps before it are made.

        Three are ready or in the making besides the one in use. To be closed by who leaves before the end.
        """
        return prefetch(numbers, lambda number: self.prepare(step, number), depth=3)

    @abstractmethod
    def evaluate(self, split: str) -> Evaluation:
        """How good the model is on ``"validation"`` or ``"test"``, as it is now."""

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """JSON-able: what a reader of the weights needs."""

    @abstractmethod
    def results(self) -> dict[str, Any]:
        """JSON-able: what a result says of the data and the settings."""

    def shown(self, record: dict[str, float]) -> dict[str, str]:
        """What the console shows of a line of the log."""
        shown = {"loss": f"{record['loss']:.3f}"}
        return {**shown, "accuracy": f"{100 * record['accuracy']:.1f}%"} if "accuracy" in record else shown

    def write_inputs(self, folder: Path) -> None:  # noqa: B027 - most have nothing to write
        """Write into the folder of a new run what it was given and a configuration does not say, such as a split."""

    def check_inputs(self, folder: Path) -> None:  # noqa: B027
        """Raise a `ResumeError` if the run in a folder was given something else."""


class ImageProcedure(Procedure):
    """What procedures that learn from images share: the data and the workers.

    Parameters
    ----------
    config : TrainConfig
        With a preset filled in.
    splits : Splits
        Of the data set.
    dataset_kind : str
        cifar10, cifar100, digits, shapes, pets, flowers102, imagenet or folder.
    """

    def __init__(self, config: TrainConfig, splits: Splits, dataset_kind: str) -> None:
        self.config, self.dataset_kind = config, dataset_kind
        self.train_set, self.validation_set = with_validation(splits, config)
        self.test_set = splits.test
        self.mean, self.std = splits.train.mean, splits.train.std
        self.test_size, self.validation_size = len(self.test_set), len(self.validation_set or ())
        self.padding_mode = "zero" if dataset_kind == "digits" else "reflect"
        self.workers = Workers((config.threads or None) if config.device == "cpu" else 1)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Of an image of the data set."""
        return self.train_set.image_shape

    def build_model(self, image_shape: tuple[int, int, int], num_classes: int) -> Module:
        """The model that the configuration names, on the host; 0 classes leave out the head.

        Parameters
        ----------
        image_shape : (C, H, W)
            Of the images that it is to take.
        num_classes : int
        """
        config = self.config
        model = build_model(
            config.model or "preset",
            self.dataset_kind,
            image_shape=image_shape,
            num_classes=num_classes,
            seed=config.seed,
            drop_path=config.drop_path or 0.0,
        )
        if config.whitening and isinstance(model, VisionTransformer):
            some = augment.normalize(whitening_images(self.train_set), self.mean, self.std)
            whiten_first_layer(model, some, config.seed)
        return model

    def dataset(self, split: str) -> Dataset:
        """The images of ``"validation"`` or ``"test"``."""
        dataset = self.test_set if split == "test" else self.validation_set
        assert dataset is not None
        return dataset

    def metadata(self) -> dict[str, Any]:
        """Normalisation, size of the images and data set."""
        return {
            "mean": list(self.mean),
            "std": list(self.std),
            "image_size": self.train_set.image_shape[1],
            "dataset": self.train_set.name,
        }

    def results(self) -> dict[str, Any]:
        """Data set and sizes."""
        return {
            "dataset": self.dataset_kind if self.dataset_kind != "folder" else self.config.dataset,
            "training_images": len(self.train_set),
            "validation_images": self.validation_size,
            "model": getattr(self.model, "config", {}),
        }


class ImageClassification(ImageProcedure):
    """What procedures that end in a classifier of images share: its model and its evaluation.

    Parameters
    ----------
    config, splits, dataset_kind
        As for `ImageProcedure`.
    """

    def __init__(self, config: TrainConfig, splits: Splits, dataset_kind: str) -> None:
        super().__init__(config, splits, dataset_kind)
        self.num_classes = self.train_set.num_classes
        self.take_model(self.build_model(self.train_set.image_shape, self.num_classes))

    def evaluate(self, split: str) -> Classification:
        """Accuracy, loss and confusion matrix on a split."""
        return evaluate(self.model, self.dataset(split), self.mean, self.std, self.workers)

    def metadata(self) -> dict[str, Any]:
        """Classes, normalisation and data set."""
        return {"classes": list(self.train_set.classes), **super().metadata()}


def whitening_images(dataset: Dataset) -> Images:
    """Images whose patches the first layer is whitened by: the first ones; of photo files, as many pixels.

    Photo files lie class by class, so those are spread over the set.
    """
    images = dataset.images
    if isinstance(images, np.ndarray):
        return images[:WHITENING_IMAGES]
    height, width = images.shape[2:]
    count = max(1, min(len(images), WHITENING_IMAGES * 32 * 32 // (height * width)))
    return images[np.linspace(0, len(images) - 1, count).astype(np.int64)]


def with_validation(splits: Splits, config: TrainConfig) -> tuple[Dataset, Dataset | None]:
    """Training and validation set: the data set's own validation split, or a share of the training set; then, of what
    is left to train on, as many images as are asked for.
    """
    train, validation = splits.train, splits.validation
    if validation is None and config.validation:
        train, validation = hold_out(train, config.validation, seed=config.seed)
    if config.training_images is not None:
        train = train.subset(split_labels(train, config.training_images, config.seed).labelled, train.name)
    return train, validation
