"""Training steps, or forwards, of a model on one batch, in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minivit.compare.modules import torch_twin
from minivit.compare.rivals.torch_optimizer import TorchOptimizer
from minivit.compare.rivals.torch_precision import autocast
from minivit.models import VisionTransformer
from minivit.recipes.speed import ModelWork, Step


@contextmanager
def start(work: ModelWork) -> Iterator[Step]:
    """The step; of a forward, the first logit stands in the place of the loss.

    Convolutional networks keep their images with the channels last, in which PyTorch is faster.
    """
    import torch
    from torch.nn import functional

    if work.threads:
        torch.set_num_threads(work.threads)
    model = work.build()
    pixels, classes = work.images_and_labels(model)
    images, labels = torch.from_numpy(pixels), torch.from_numpy(classes)
    twin = torch_twin(model)[0].train(work.training)
    if not isinstance(model, VisionTransformer):
        twin, images = (one.to(memory_format=torch.channels_last) for one in (twin, images))
    config = work.config
    optimizer = TorchOptimizer(twin, model, config) if work.training else None
    smoothing, rate = config.label_smoothing or 0.0, config.learning_rate or 0.0
    del model

    def train() -> Any:
        assert optimizer is not None
        with autocast(work.precision):
            loss = functional.cross_entropy(twin(images), labels, label_smoothing=smoothing)
        loss.backward()
        optimizer.step(rate)
        return loss.detach()

    def forward() -> Any:
        with torch.inference_mode(), autocast(work.precision):
            return twin(images)[0, 0]

    yield train if work.training else forward
