"""From a trained model to one for another task: a new head, and positions for another image size."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivit.models.positions import METHODS, resize_positions
from minivit.nn import Module

HEADS = ("head.", "fc.")  # what timm calls the last linear map of Transformers and of residual networks
PRE_LOGITS = "pre_logits."
POSITIONS = "pos_embed"


@dataclass(frozen=True)
class TransferReport:
    """What became of each array of the weights.

    Attributes
    ----------
    kept : dict of str to shape
        Taken over as they are.
    resized : dict of str to (shape, shape)
        Before and after.
    dropped : dict of str to shape
        Of the old task alone.
    new : dict of str to shape
        Of the new task alone: zeros.
    method : str
        How positions were resized.
    """

    kept: dict[str, tuple[int, ...]] = field(default_factory=dict)
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)
    dropped: dict[str, tuple[int, ...]] = field(default_factory=dict)
    new: dict[str, tuple[int, ...]] = field(default_factory=dict)
    method: str = "google"

    def __str__(self) -> str:
        numbers = sum(math.prod(shape) for shape in self.kept.values())
        lines = [f"kept {len(self.kept)} arrays, {numbers:,} numbers"]
        lines += [f"resized {name} {old} -> {new} ({self.method})" for name, (old, new) in self.resized.items()]
        lines += [f"dropped {name} {shape}" for name, shape in self.dropped.items()]
        lines += [f"new {name} {shape}, zeros" for name, shape in self.new.items()]
        return "\n".join(lines)


def transfer(
    model: Module,
    *,
    num_classes: int,
    image_size: int | None = None,
    channels: int | None = None,
    positions: str = "google",
    **settings: Any,
) -> tuple[Module, TransferReport]:
    """Make a model for another task from one that has learned something.

    The head, with pre_logits if there are any, is replaced by a new one of zeros, so that the first gradient of the
    rest is zero too and the head begins alone (Dosovitskiy et al. 2020, arXiv:2010.11929, appendix B.1.1: "a single,
    zero-initialized linear layer").

    Parameters
    ----------
    model : Module
        Of `minivit.models`, or another whose class makes it again from its `config`, with a head named ``head`` or
        ``fc``. It is left as it is.
    num_classes : int
        0 leaves out the head: the model then returns features.
    image_size : int, optional
        Side of the new task's images; by default that of the model. A learned position embedding is resized; a
        convolutional network takes any size as it is.
    channels : int, optional
        Of the new task's images, to be checked.
    positions : {"google", "timm_npz", "timm", "huggingface"}
        How the position embedding is resized: see `minivit.models.positions`.
    **settings
        Further settings of the model's class that change no weights, such as ``drop_path=0.1``.

    Returns
    -------
    model : Module
        On the same device, of the same dtype, in training mode.
    report : TransferReport

    Raises
    ------
    ValueError
        If the model takes images of other channels, has no settings to be made again from, or the image size or the
        method does not fit.
    """
    config = getattr(model, "config", None)
    name = type(model).__name__
    if not isinstance(config, dict) or "num_classes" not in config:
        raise ValueError(
            f"{name} has no `config` with num_classes, from which it could be made again for another task; "
            "take a model of minivit.models"
        )
    if positions not in METHODS:
        raise ValueError(f"positions can be resized by {', '.join(METHODS)}; got {positions!r}")
    if channels is not None and channels != config.get("channels", channels):
        raise ValueError(
            f"the model has learned from images of {config['channels']} channel(s), those of the new task have "
            f"{channels}; convert the images, or take a model that was trained on such"
        )
    changed: dict[str, Any] = {**settings, "num_classes": num_classes}
    if config.get("representation_size"):
        changed = {"representation_size": None, **changed}
    if image_size is not None and "image_size" in config:
        changed["image_size"] = image_size
    unknown = sorted(set(changed) - set(config))
    if unknown:
        raise ValueError(f"{name} has no setting {', '.join(unknown)}; it has {', '.join(config)}")
    new = type(model)(**{**config, **changed, "initialization": "none"})
    if "initialization" in config:  # of its kind of model; nothing was drawn
        new.config["initialization"] = config["initialization"]  # type: ignore[attr-defined]
    report = TransferReport(method=positions)
    new.load_state_dict(_fitted(model, new, report))
    first = next(model.parameters())
    return new.astype(first.dtype).to(first.device), report


def _fitted(model: Module, new: Module, report: TransferReport) -> dict[str, np.ndarray]:
    """The arrays of `model`, made to fit `new`; says in the report what became of each."""
    old, wanted = model.state_dict(), new.state_dict()
    state: dict[str, np.ndarray] = {}
    for name, array in old.items():
        if name.startswith(HEADS) or (name.startswith(PRE_LOGITS) and name not in wanted):
            report.dropped[name] = array.shape
        elif name == POSITIONS and array.shape != wanted[name].shape:
            class_token = "cls_token" in old
            side = math.isqrt(wanted[name].shape[1] - class_token)
            state[name] = resize_positions(array, side, report.method, class_token)
            report.resized[name] = array.shape, state[name].shape
        else:
            state[name] = array
            report.kept[name] = array.shape
    for name, array in wanted.items():
        if name.startswith(HEADS):
            state[name] = np.zeros_like(array)
            report.new[name] = array.shape
    return state
