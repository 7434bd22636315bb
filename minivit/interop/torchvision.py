"""torchvision's Vision Transformers (torchvision/models/vision_transformer.py).

Exact GELU, LayerNorm eps 1e-6, ImageNet's mean and std. The two maps of the perceptron are called ``mlp.0`` and
``mlp.3``, in files older than torchvision 0.14 ``mlp.linear_1`` and ``mlp.linear_2``. ResNets have timm's names: see
`minivit.interop.resnet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minivit.data.preprocess import STATISTICS
from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.correspondence import Rule, Rules, same, written
from minivit.interop.correspondence import read as read_arrays
from minivit.interop.flavour import CONVENTION, SHAPES, described, model_facts
from minivit.interop.shapes import block_count, rows, settings_of

FLAVOUR: dict[str, Any] = {"gelu": "none", "eps": 1e-6}
LAYER = "encoder.layers.encoder_layer_"
NEW_MLP, OLD_MLP = ("0", "3"), ("linear_1", "linear_2")


def recognises(file: WeightsFile) -> bool:
    """Whether the names are torchvision's for a Vision Transformer."""
    return any(name.startswith(f"{LAYER}0.") for name in file.arrays)


def read(file: WeightsFile) -> Contents:
    """The weights, and the model that has their shapes (no settings if its number of heads is not known)."""
    mlp = OLD_MLP if any(".mlp.linear_1." in name for name in file.arrays) else NEW_MLP
    state, rest = read_arrays(file.arrays, rules(block_count(file.arrays, LAYER), mlp))
    config = settings_of(state, None, **FLAVOUR)
    flavour = {**FLAVOUR, "representation_size": rows(state, "pre_logits.fc.weight") or None}
    settings = config or {**flavour, "num_classes": rows(state, "head.weight")}
    mean, std = STATISTICS["imagenet"]
    facts = {
        **model_facts(settings, CONVENTION, SHAPES),
        "mean": (list(mean), CONVENTION),
        "std": (list(std), CONVENTION),
        "preprocessing": ("timm", CONVENTION),
        "crop_fraction": (0.875, CONVENTION),
    }
    return Contents(
        state,
        "VisionTransformer",
        config,
        flavour=flavour,
        metadata=described("torchvision", facts),
        rest=rest,
        arrays=file.arrays,
        rules=lambda config: rules(config["depth"], mlp),
    )


def write(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file."""
    return written(state, rules_of(config))


def rules_of(config: Mapping[str, Any]) -> Rules:
    """The rules by which a model is written."""
    return rules(config["depth"], NEW_MLP)


def rules(depth: int, mlp: tuple[str, str]) -> Rules:
    """The names of every parameter of a model."""
    found: dict[str, Rule] = {
        "cls_token": same("class_token"),
        "pos_embed": same("encoder.pos_embedding"),
        "patch_embed.proj.weight": same("conv_proj.weight"),
        "patch_embed.proj.bias": same("conv_proj.bias"),
    }
    for kind in ("weight", "bias"):
        for i in range(depth):
            block = f"blocks.{i}"
            found |= {
                f"{block}.norm1.{kind}": same(f"{LAYER}{i}.ln_1.{kind}"),
                f"{block}.attn.qkv.{kind}": same(f"{LAYER}{i}.self_attention.in_proj_{kind}"),
                f"{block}.attn.proj.{kind}": same(f"{LAYER}{i}.self_attention.out_proj.{kind}"),
                f"{block}.norm2.{kind}": same(f"{LAYER}{i}.ln_2.{kind}"),
                f"{block}.mlp.fc1.{kind}": same(f"{LAYER}{i}.mlp.{mlp[0]}.{kind}"),
                f"{block}.mlp.fc2.{kind}": same(f"{LAYER}{i}.mlp.{mlp[1]}.{kind}"),
            }
        found |= {
            f"norm.{kind}": same(f"encoder.ln.{kind}"),
            f"pre_logits.fc.{kind}": same(f"heads.pre_logits.{kind}"),
            f"head.{kind}": same(f"heads.head.{kind}"),
        }
    return found


def optional(name: str) -> bool:
    """Whether a model may lack this parameter."""
    return name.startswith(("pre_logits.", "head."))
