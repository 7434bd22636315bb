"""Training steps as a run makes them, in PyTorch: on the same images, augmented by the same thread ahead of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from minivit.compare.modules import torch_twin
from minivit.compare.rivals.torch_optimizer import TorchOptimizer
from minivit.compare.rivals.torch_precision import autocast
from minivit.recipes.config import TrainConfig
from minivit.recipes.speed import RunWork, Step
from minivit.recipes.speed.run_work import TOTAL_STEPS
from minivit.recipes.uda_config import UdaConfig

Loss = Callable[[Any, Any], Any]
"""(model, prepared batch) -> its loss, a tensor of PyTorch."""


@contextmanager
def start(work: RunWork) -> Iterator[Step]:
    """The step, from taking up the batch to reading the loss."""
    import torch

    if work.threads:
        torch.set_num_threads(work.threads)
    procedure = dataclasses.replace(work, threads=1).procedure()  # prepares batches, makes no step
    stepper, config = procedure.make_step(TOTAL_STEPS), procedure.config
    twin = torch_twin(procedure.model)[0].train()
    optimizer = TorchOptimizer(twin, procedure.model, config)
    loss_of = _uda_loss(config) if isinstance(config, UdaConfig) else _supervised_loss(config)
    with closing(procedure.ahead(stepper, itertools.count())) as batches:

        def step() -> float:
            batch = next(batches)
            with autocast(config.precision):
                loss = loss_of(twin, batch)
            loss.backward()
            optimizer.step(stepper.learning_rate(batch.step))
            return float(loss.detach())

        yield step


def _supervised_loss(config: TrainConfig) -> Loss:
    import torch
    from torch.nn import functional

    def loss_of(model: Any, batch: Any) -> Any:
        logits = model(torch.from_numpy(batch.images))
        return functional.cross_entropy(
            logits, torch.from_numpy(batch.targets), label_smoothing=config.label_smoothing or 0.0
        )

    return loss_of


def _uda_loss(config: UdaConfig) -> Loss:
    """Cross-entropy plus the masked divergence from the sharpened originals: `minivit.recipes.uda`, as published."""
    import torch
    from torch.nn import functional

    settings = config.loss_settings()
    official = type(settings)(
        temperature=settings.temperature,
        confidence=settings.confidence,
        weight=settings.weight,
        label_smoothing=settings.label_smoothing,
    )
    if settings != official or config.forward == "concatenated":
        raise ValueError(f"torch_run: UDA's rival has neither TSA nor other implementations' loss; got {settings}")

    def loss_of(model: Any, batch: Any) -> Any:
        L = len(batch.labels)
        with torch.inference_mode():
            original = model(torch.from_numpy(batch.original))  # (U, K)
            sure = original.softmax(1).amax(1) > settings.confidence
            target = functional.log_softmax(original / settings.temperature, 1)
        # Tensors of inference mode take no part in a graph; copies of these few numbers do.
        sure, target = sure.clone(), target.clone()
        images = torch.cat([torch.from_numpy(batch.labelled), torch.from_numpy(batch.augmented)])
        logits = model(images)  # (L + U, K)
        supervised = functional.cross_entropy(
            logits[:L], torch.from_numpy(batch.labels), label_smoothing=settings.label_smoothing
        )
        divergence = functional.kl_div(functional.log_softmax(logits[L:], 1), target, reduction="none", log_target=True)
        return supervised + settings.weight * (divergence.sum(1) * sure).mean()

    return loss_of
