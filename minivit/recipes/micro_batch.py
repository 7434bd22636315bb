"""How many examples go forward and backward at once, where nobody says so."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from minivit.inspect.summary import summarize
from minivit.nn import Module
from minivit.recipes.config import TrainConfig
from minivit.recipes.parallel import mixes_examples

Config = TypeVar("Config", bound=TrainConfig)

KEPT_BYTES = 160 << 20
"""That the tape keeps for a micro-batch: then memory stays small, however large the batch, and yet a small model's
arrays are large enough for NumPy's calls to cost little beside their work."""

FEWEST, MOST = 4, 256
"""With fewer examples, adding up the gradients of a large model's weights takes its share; more bring nothing."""

UNKNOWN = 16
"""For a model that `summarize` cannot be asked about, and for one that takes its batch in one piece anyway."""


def with_micro_batch(config: Config, model: Module, input_shape: tuple[int, ...] | None) -> Config:
    """The configuration with a micro-batch: its own, or one that suits the model.

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
        The same where it has a micro-batch, as on a GPU it always has: the whole batch.
    """
    if config.micro_batch is not None:
        return config
    return dataclasses.replace(config, micro_batch=suitable_micro_batch(model, input_shape))


def suitable_micro_batch(model: Module, input_shape: tuple[int, ...] | None) -> int:
    """Examples for which the tape keeps about `KEPT_BYTES`."""
    if input_shape is None or mixes_examples(model):
        return UNKNOWN
    kept = summarize(model, (1, *input_shape)).kept_bytes
    return min(MOST, max(FEWEST, round(KEPT_BYTES / max(1, kept))))
