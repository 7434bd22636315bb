"""Saving weights: which format, can it hold the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivit.interop import checkpoint, google, huggingface, huggingface_config, torchvision
from minivit.interop.correspondence import Rules
from minivit.interop.errors import WeightsError
from minivit.interop.npz_file import write_npz
from minivit.interop.safetensors_file import write_safetensors
from minivit.models import ResNet, VisionTransformer
from minivit.nn import Module


class Format(NamedTuple):
    """How a format is written.

    Attributes
    ----------
    write : callable
        minivit's arrays and a model's settings -> the format's arrays.
    rules : callable
        A model's settings -> the rule for each parameter that the format has a place for.
    optional : callable
        Whether a Vision Transformer may lack the parameter of this name.
    """

    write: Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], dict[str, np.ndarray]]
    rules: Callable[[Mapping[str, Any]], Rules]
    optional: Callable[[str], bool]


OTHERS = {
    "google": Format(google.write, google.rules_of, google.optional),
    "big_vision": Format(google.write_big_vision, google.rules_of, google.optional),
    "huggingface": Format(huggingface.write, huggingface.rules_of, huggingface.optional),
    "huggingface_v5": Format(huggingface.write_v5, huggingface.rules_of, huggingface.optional),
    "torchvision": Format(torchvision.write, torchvision.rules_of, torchvision.optional),
}
FORMATS = ("minivit", "timm", *OTHERS)


def save(
    model: Module,
    path: str | os.PathLike[str],
    metadata: Mapping[str, Any] | None = None,
    format: str | None = None,
) -> None:
    """Save a model's weights, whole or not at all.

    Parameters
    ----------
    model : Module
    path : path
        The suffix decides on the container: .safetensors or .npz.
    metadata : mapping, optional
        What a user of the weights needs, such as ``classes``, ``mean`` and ``std``: see `minivit.interop.checkpoint`.
    format : str, optional
        "minivit" (the default for .safetensors) holds the model's settings, and `load_model` can make the model from
        it. "timm" (the default for .npz) holds the weights of any model alone. "google", "big_vision", "huggingface",
        "huggingface_v5" and "torchvision" hold Vision Transformers with learnable positions. Only "huggingface" says
        which GELU and epsilon belong to the weights, in a config.json that is written beside them, and keeps classes,
        mean and std; who reads one of the others takes those of the format.

    Raises
    ------
    WeightsError
        If the suffix or format is unknown or the two do not go together, the model is of a kind that the format cannot
        hold, or the settings do not fit into JSON.
    """
    path = Path(path)
    if path.suffix not in (".safetensors", ".npz"):
        raise WeightsError(f"{path}: weights are written to a file that ends in .safetensors or .npz")
    format = format or ("minivit" if path.suffix == ".safetensors" else "timm")
    if format not in FORMATS:
        raise WeightsError(f"unknown format {format!r}; expected one of {', '.join(FORMATS)}")
    hugging_face = format.startswith("huggingface")
    if format == "minivit":
        if path.suffix != ".safetensors":
            raise WeightsError(
                f"{path}: a checkpoint of minivit is a .safetensors file; rename it, or use format='timm'"
            )
        header = checkpoint.checkpoint_header(model, metadata)
    else:
        if metadata and not hugging_face:
            raise WeightsError(
                f"{path}: format {format!r} holds weights alone; leave out the metadata or use 'minivit'"
            )
        header = {"format": "pt"}  # what timm's own files say; the layout of the arrays is PyTorch's
    arrays = _arrays(model, format, path)
    if hugging_face:
        huggingface_config.check_writable(path, model.config, metadata or {})  # type: ignore[attr-defined]
    if path.suffix == ".npz":
        write_npz(path, arrays)
    else:
        write_safetensors(path, arrays, header)
    if hugging_face:
        huggingface_config.write_configuration(path, model.config, metadata or {})  # type: ignore[attr-defined]


def _arrays(model: Module, format: str, path: Path) -> dict[str, np.ndarray]:
    """The model's weights as the format has them."""
    state = model.state_dict()
    if format in ("minivit", "timm") or (format == "torchvision" and isinstance(model, ResNet)):
        return state
    if not isinstance(model, VisionTransformer):
        raise WeightsError(f"{path}: format {format!r} holds Vision Transformers, not a {type(model).__name__}")
    write, rules_of, optional = OTHERS[format]
    rules = rules_of(model.config)
    reasons = [f"it has no place for {name}" for name in state if name not in rules]
    reasons += [f"it needs {name}" for name in rules if name not in state and not optional(name)]
    if reasons:
        raise WeightsError(
            f"{path}: format {format!r} cannot hold this model: {', '.join(reasons[:4])}; use format='minivit'"
        )
    return write(state, model.config)
