"""Vision Transformers with timm's names, as timm and DeiT write them: the names that minivit's models use themselves.

They hold weights only: which model they are of is told from the shapes, and the flavour is timm's (exact GELU,
LayerNorm eps 1e-6).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivit import models
from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.errors import WeightsError


def recognises(file: WeightsFile) -> bool:
    """Whether the names are timm's for a Vision Transformer."""
    return "blocks.0.attn.qkv.weight" in file.arrays


def read(file: WeightsFile) -> Contents:
    """The weights, and the named model that has their shapes (no settings if there is none).

    Raises
    ------
    WeightsError
        If they are of a variant that `minivit.models.VisionTransformer` is not.
    """
    distilled = [name for name in file.arrays if name.startswith(("dist_token", "head_dist"))]
    if distilled:
        raise WeightsError(
            f"{file.path} is a distilled DeiT ({', '.join(distilled)}), which has a second head; "
            "take the weights of the plain one"
        )
    return Contents(file.arrays, "VisionTransformer", _config(file.arrays))


def _config(arrays: dict[str, np.ndarray]) -> dict[str, Any] | None:
    """Settings of the named model with these shapes: the number of heads cannot be told from the weights alone."""
    needed = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
    if any(name not in arrays for name in needed):
        return None
    patch, positions, hidden = (arrays[name] for name in needed)
    if patch.ndim != 4 or positions.ndim != 3 or hidden.ndim != 2:
        return None
    dim, channels, patch_size, _ = patch.shape
    class_token = "cls_token" in arrays
    without = "sequence" if "pool_score.weight" in arrays else "mean"
    blocks = {name.split(".")[1] for name in arrays if name.startswith("blocks.")}
    shapes = {"dim": dim, "depth": len(blocks), "mlp_dim": hidden.shape[0], "patch_size": patch_size}
    for family, known in models.CONFIGS.values():
        if family is models.VisionTransformer and all(known[key] == value for key, value in shapes.items()):
            head = arrays.get("head.weight")
            return {
                **known,
                "image_size": math.isqrt(positions.shape[1] - class_token) * patch_size,
                "num_classes": 0 if head is None else int(head.shape[0]),
                "channels": channels,
                "pool": "cls" if class_token else without,
                "qkv_bias": "blocks.0.attn.qkv.bias" in arrays,
            }
    return None
