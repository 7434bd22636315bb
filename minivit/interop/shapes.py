"""The settings of a Vision Transformer, as far as the shapes of its weights tell them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minivit import models

MOST_BLOCKS = 1000  # the deepest Vision Transformers that are published have some 60
NEEDED = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")


def block_count(names: Mapping[str, Any], prefix: str, separator: str = ".") -> int:
    """How many blocks there are, of names such as ``blocks.3.norm1.weight`` with the prefix ``blocks.``.

    Raises
    ------
    ValueError
        For more than a thousand: each takes a hundred times the memory of the name that asks for it.
    """
    count = len({name.removeprefix(prefix).split(separator)[0] for name in names if name.startswith(prefix)})
    if count > MOST_BLOCKS:
        raise ValueError(f"names such as {prefix}0 ask for {count} blocks; expected no more than {MOST_BLOCKS}")
    return count


def settings_of(state: Mapping[str, np.ndarray], heads: int | None, **flavour: Any) -> dict[str, Any] | None:
    """Settings of the model with these weights.

    Parameters
    ----------
    state : mapping of str to array
        By minivit's names.
    heads : int or None
        Shapes do not tell it: None takes those of the named models with this width, depth and perceptron.
    **flavour
        Further settings that shapes do not tell: ``gelu``, ``eps``.

    Returns
    -------
    dict or None
        None if the weights are no plain Vision Transformer, or the number of heads remains unknown.
    """
    if any(name not in state for name in NEEDED):
        return None
    patch, positions, hidden = (state[name] for name in NEEDED)
    if patch.ndim != 4 or positions.ndim != 3 or hidden.ndim != 2 or patch.shape[2] != patch.shape[3]:
        return None
    dim, channels, patch_size, _ = patch.shape
    shapes = {"dim": dim, "depth": block_count(state, "blocks."), "mlp_dim": hidden.shape[0]}
    known = _named(shapes) if heads is None else {"heads": heads}
    if known is None:
        return None
    class_token = "cls_token" in state
    without = "sequence" if "pool_score.weight" in state else "mean"
    return {
        **known,
        **shapes,
        "patch_size": patch_size,
        "image_size": math.isqrt(positions.shape[1] - class_token) * patch_size if positions.shape[1] else 0,
        "num_classes": rows(state, "head.weight"),
        "representation_size": rows(state, "pre_logits.fc.weight") or None,
        "channels": channels,
        "pool": "cls" if class_token else without,
        "qkv_bias": "blocks.0.attn.qkv.bias" in state,
        **flavour,
    }


def rows(state: Mapping[str, np.ndarray], name: str) -> int:
    """The width of a linear map's output; 0 where there is none."""
    weight = state.get(name)
    return int(weight.shape[0]) if weight is not None and weight.ndim == 2 else 0


def _named(shapes: dict[str, int]) -> dict[str, Any] | None:
    for family, known in models.CONFIGS.values():
        if family is models.VisionTransformer and all(known[key] == value for key, value in shapes.items()):
            return known
    return None
