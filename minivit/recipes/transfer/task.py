"""The task of interest for a pretrained model: its data as the model wants them, and the model as the data want it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minivit import augment, models
from minivit.backend import Array, array_module
from minivit.data import Dataset, Splits
from minivit.nn import Module
from minivit.recipes.transfer.config import TransferConfig
from minivit.recipes.transfer.encoder import Pretrained


class TransferTask:
    """What fine-tuning and the evaluation of features share.

    Parameters
    ----------
    config : TransferConfig
    pretrained : Pretrained
    splits : Splits
        Of the data set.

    Attributes
    ----------
    splits : Splits
        Cut to what the configuration asks for, with the mean and std of the pretrained model.
    image_size : int
        Of what the model is given.
    report : TransferReport or None
        What became of the weights, once a model was made.
    """

    def __init__(self, config: TransferConfig, pretrained: Pretrained, splits: Splits) -> None:
        self.config, self.pretrained = config, pretrained
        height, width = splits.train.image_shape[1:]
        if height != width:
            raise ValueError(f"the models take square images, the data set's are {height} x {width}; resize them first")
        self.splits = Splits(
            self._adapted(splits.train, config.first_training),
            self._adapted(splits.test, config.first_test),
            None if splits.validation is None else self._adapted(splits.validation, None),
        )
        self.image_size = config.image_size or max(pretrained.image_size, height)
        self.report: models.TransferReport | None = None

    def _adapted(self, dataset: Dataset, first: int | None) -> Dataset:
        channels = dataset.image_shape[0]
        if channels != len(self.pretrained.mean):
            raise ValueError(
                f"{self.pretrained.path} has learned from images of {len(self.pretrained.mean)} channel(s), those of "
                f"{dataset.name} have {channels}; take weights that were trained on such"
            )
        if first is not None:
            if first > len(dataset):
                raise ValueError(f"{dataset.name} has {len(dataset)} images, fewer than the first {first}")
            dataset = dataset.subset(np.arange(first), dataset.name)
        return replace(dataset, mean=self.pretrained.mean, std=self.pretrained.std)

    def model(self, num_classes: int) -> Module:
        """The pretrained model for this task; without a head for 0 classes.

        Its weights are drawn instead where the configuration says ``init="random"``.
        """
        config = self.config
        settings: dict[str, Any] = {}
        if "drop_path" in self.pretrained.config:
            settings["drop_path"] = config.drop_path or 0.0
        elif config.drop_path:
            raise ValueError(f"{type(self.pretrained.model).__name__} has no drop_path; leave it at 0")
        model, self.report = models.transfer(
            self.pretrained.model,
            num_classes=num_classes,
            image_size=self.image_size,
            channels=self.splits.train.image_shape[0],
            positions=config.positions,
            **settings,
        )
        if config.init == "random":
            self.report = None
            drawn = {**model.config, "seed": config.seed}  # type: ignore[attr-defined]
            if drawn.get("initialization") == "none":  # of a model that was only ever loaded
                del drawn["initialization"]
            model = type(model)(**drawn)
        return model

    def inputs(self, images: Array) -> Array:
        """Bytes (B, C, H, W) to what the model takes: normalised, then resized."""
        return self.resized(augment.normalize(images, self.pretrained.mean, self.pretrained.std))

    def resized(self, images: Array, bounded: bool = True) -> Array:
        """Normalised images (B, C, H, W) of the model's size.

        Bicubic interpolation overshoots at edges. Pillow, through which networks such as DeiT have seen their training
        images, cuts that off at black and white; so does this if `bounded`.
        """
        resized = augment.resize(images, self.image_size, self.config.interpolation)
        if resized is images or not bounded:
            return resized
        xp = array_module(images)
        mean, std = np.array(self.pretrained.mean), np.array(self.pretrained.std)
        black, white = (xp.asarray(((level - mean) / std).astype(np.float32))[:, None, None] for level in (0, 1))
        return xp.minimum(xp.maximum(resized, black), white)

    def input_settings(self) -> dict[str, Any]:
        """Size and normalisation of the inputs."""
        mean, std = list(self.pretrained.mean), list(self.pretrained.std)
        return {"image_size": self.image_size, "mean": mean, "std": std}

    def describe(self) -> str:
        """What was taken over, as text."""
        if self.config.init == "random":
            return "weights drawn at random"
        flavour = f"\n{self.pretrained.flavour}" if self.pretrained.flavour else ""
        return f"from {self.pretrained.path.name}: {self.report}{flavour}".replace("\n", "\n  ")

    def results(self) -> dict[str, Any]:
        """What a result says of a transfer."""
        pretrained = self.config.init == "pretrained"
        return {
            "mode": self.config.mode,
            "init": self.config.init,
            "weights": self.config.weights,
            "weights_sha256": self.pretrained.fingerprint() if pretrained else None,
            **self.input_settings(),
        }
