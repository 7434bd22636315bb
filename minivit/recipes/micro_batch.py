"""How many examples go forward and backward at once, where nobody says so."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from minivit.inspect.summary import summarize
from minivit.nn import Module
from minivit.recipes.config import TrainConfig
from minivit.recipes.parallel import mixes_examples

Config = TypeVar("Config", bound=TrainConfig)

USUAL = 16
"""Examples; also for a model that `summarize` cannot be asked about, or that takes its batch in one piece anyway."""

MORE_BELOW = 24 << 20
"""More, while the tape keeps less than these bytes: arrays that are too small cost more to call NumPy for than to
compute."""

FEWER_ABOVE = 192 << 20
"""Fewer, where it would keep more than these bytes."""

FEWEST, MOST = 4, 64
"""With fewer, adding up the gradients of a large model's weights takes its share; more take memory and gain little."""


def with_micro_batch(config: Config, model: Module, input_shape: tuple[int, ...] | None) -> Config:
    """The configuration with a micro-batch: its own; else on a GPU the whole batch, on a CPU one that suits the model.

    It is written down with a run, since gradients that are summed in other parts round differently.

    Parameters
    ----------
    config : TrainConfig
        With a preset filled in.
    model : Module
    input_shape : tuple of int or None
        Of one example; None where the model takes more than one array.

    Returns
    -------
    TrainConfig
        The same where it has a micro-batch.
    """
    if config.micro_batch is not None:
        return config
    on_cpu = config.device == "cpu"
    chosen = suitable_micro_batch(model, input_shape) if on_cpu else config.step_size
    return dataclasses.replace(config, micro_batch=chosen)


def suitable_micro_batch(model: Module, input_shape: tuple[int, ...] | None) -> int:
    """Few enough examples for memory to stay small however large the batch, and enough for a small model."""
    if input_shape is None or mixes_examples(model):
        return USUAL
    kept = max(1, summarize(model, (1, *input_shape)).kept_bytes)
    suitable = max(MORE_BELOW // kept, min(USUAL, FEWER_ABOVE // kept))
    return min(MOST, max(FEWEST, suitable))
