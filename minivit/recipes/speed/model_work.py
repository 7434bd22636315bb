"""Training steps, or forwards, of a model on one batch of random images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from minivit import models
from minivit.augment import TrainAugmentation
from minivit.autograd import Tensor, no_grad
from minivit.backend import matmul_precision
from minivit.backend.cpu.threads import Workers, available_cores, blas_threads
from minivit.inspect.summary import summarize
from minivit.models import ResNet, VisionTransformer, WideResNet
from minivit.recipes.config import TrainConfig
from minivit.recipes.micro_batch import USUAL, with_micro_batch
from minivit.recipes.parallel import evaluate_parts
from minivit.recipes.presets import preset_settings
from minivit.recipes.speed.turns import Step
from minivit.recipes.supervised import PreparedBatch, SupervisedStep

ImageModel = VisionTransformer | ResNet | WideResNet
LEARNING_RATES = {"adamw": 1e-3, "sgd": 0.05}


@dataclass(frozen=True)
class ModelWork:
    """A model on one batch of random images: whole training steps, or forwards without gradients.

    Attributes
    ----------
    model : str
        A name of `minivit.models`.
    settings : dict of str to Any
        In place of the named model's own, such as ``{"depth": 6}``.
    training : bool
        Whole steps: forward, cross-entropy with label smoothing, backward and update.
    batch : int
        Images.
    optimizer : {"adamw", "sgd"}
        At a constant learning rate, without clipping. SGD with Nesterov's momentum of 0.9.
    threads : int
        0 takes all cores that the process may use.
    micro_batch : int or None
        Images that go through our model at once; None takes what suits the model.
    precision : {"float32", "bf16"}
        Of the matrix products: see `minivit.backend.matmul_precision`.
    """

    model: str = "vit_tiny_cifar"
    settings: dict[str, Any] = field(default_factory=dict)
    training: bool = True
    batch: int = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    threads: int = 0
    micro_batch: int | None = None
    precision: Literal["float32", "bf16"] = "float32"

    @property
    def examples(self) -> int:
        """Images in a step."""
        return self.batch

    @cached_property
    def gflop(self) -> float:
        """Of a step."""
        passes = 3 if self.training else 1
        return 2e-9 * passes * summarize(self.build()).multiply_adds * self.batch

    @property
    def config(self) -> TrainConfig:
        """The settings of the training step, without a micro-batch where none was asked for: the model decides."""
        return TrainConfig(
            batch_size=self.batch,
            micro_batch=self.micro_batch,
            threads=self.threads,
            precision=self.precision,
            optimizer=self.optimizer,
            learning_rate=LEARNING_RATES[self.optimizer],
            schedule="constant",
            warmup=0.0,
            clip=0.0,
        ).filled(preset_settings("cifar10"))

    def build(self) -> ImageModel:
        """The model with the weights of seed 0; a head of zeros, which would hide all before it, is filled."""
        model = models.create(self.model, **self.settings)
        assert isinstance(model, ImageModel)
        head = dict(model.named_parameters()).get("head.weight")
        if head is not None and not head.data.any():
            head.assign(0.02 * np.random.default_rng(1).standard_normal(head.shape).astype(head.dtype))
        return model

    def images_and_labels(self, model: ImageModel) -> tuple[np.ndarray, np.ndarray]:
        """Images (B, C, H, W) of float32 and labels (B,)."""
        generator = np.random.default_rng(0)
        images = generator.standard_normal((self.batch, *model.input_size), np.float32)
        return images, generator.integers(0, model.config["num_classes"], self.batch)

    def told(self) -> dict[str, Any]:
        """Model, batch, threads."""
        told: dict[str, Any] = {}
        if self.training:
            model = self.build()
            told["optimizer"] = self.optimizer
            told["micro_batch"] = with_micro_batch(self.config, model, model.input_size).micro_batch
        return {
            "model": self.model,
            "mode": "train" if self.training else "forward",
            "batch": self.batch,
            **told,
            "threads": self.threads or available_cores(),
            "precision": self.precision,
        }

    @contextmanager
    def start(self) -> Iterator[Step]:
        """The step as minivit makes it; of a forward, the first logit stands in the place of the loss."""
        model = self.build()
        images, labels = self.images_and_labels(model)
        with blas_threads(1), Workers(self.threads or None) as workers:
            if self.training:
                channels = images.shape[1]
                augmentation = TrainAugmentation((0.5,) * channels, (0.5,) * channels, seed=0)  # not used
                config = with_micro_batch(self.config, model, model.input_size)
                step = SupervisedStep(model, config, 10**9, workers, augmentation, model.config["num_classes"])
                batch = PreparedBatch(images, labels, labels, np.arange(self.batch), step=0)
                yield lambda: step(batch).values["loss"]
                return
            model.eval()

            def forward(part: slice) -> Any:
                with no_grad(), matmul_precision(self.precision):
                    return model(Tensor(images[part])).data  # (b, K)

            part = self.micro_batch or USUAL
            yield lambda: evaluate_parts(workers, forward, self.batch, part)[0][0, 0]
