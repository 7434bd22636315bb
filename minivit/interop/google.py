"""Google's Vision Transformers in .npz files: of vision_transformer, and of its successor big_vision.

=====================  =======================================  ==========================================
what                   vision_transformer                       big_vision
=====================  =======================================  ==========================================
prefix                 none, ``opt/target/``                    none, ``params/``, ``params/img/``
position embedding     ``Transformer/posembed_input/``, one     ``pos_embedding``, none for the class token
                       row for the class token
parts of a block       ``LayerNorm_0``,                         ``LayerNorm_0``,
                       ``MultiHeadDotProductAttention_1``,      ``MultiHeadDotProductAttention_0``,
                       ``LayerNorm_2``, ``MlpBlock_3``          ``LayerNorm_1``, ``MlpBlock_0``
blocks                 ``encoderblock_0``, ``encoderblock_1``,  the same, or all in one ``encoderblock``
                       ...                                      with a first axis of blocks
=====================  =======================================  ==========================================

Kernels are (in, out), of attention (D, heads, d) and (heads, d, D), of patches (height, width, channels, D). GELU by
tanh (Flax's default), LayerNorm eps 1e-6 (the same), pixels normalised by 0.5. The shapes tell the number of heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from minivit.data.preprocess import STATISTICS
from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.correspondence import (
    Rule,
    Rules,
    channels_last,
    from_heads,
    same,
    thirds_in_heads,
    transposed,
    written,
)
from minivit.interop.correspondence import read as read_arrays
from minivit.interop.errors import WeightsError
from minivit.interop.flavour import CONVENTION, SHAPES, described, model_facts
from minivit.interop.shapes import MOST_BLOCKS, block_count, rows, settings_of

FLAVOUR: dict[str, Any] = {"gelu": "tanh", "eps": 1e-6}
PREFIXES = ("", "opt/target/", "params/", "params/img/")
BLOCKS = "Transformer/encoderblock"
POSITIONS = ("Transformer/posembed_input/pos_embedding", "Transformer/pos_embedding", "pos_embedding")
VARIANTS = {"conv_root/kernel": "a hybrid with a ResNet", "MAPHead_0/probe": "pooled by attention"}


class Layout(NamedTuple):
    """How a file names things.

    Attributes
    ----------
    prefix : str
    positions : str
        One of `POSITIONS`.
    parts : tuple of int
        What attention, perceptron and second LayerNorm of a block are numbered with.
    """

    prefix: str
    positions: str
    parts: tuple[int, int, int]

    @property
    def name(self) -> str:
        """The format's name."""
        return "google" if self.parts == (1, 3, 2) else "big_vision"


VISION_TRANSFORMER = Layout("", POSITIONS[0], (1, 3, 2))
BIG_VISION = Layout("params/", POSITIONS[2], (0, 0, 1))


def recognises(file: WeightsFile) -> bool:
    """Whether the names are those of one of the two."""
    return _prefix(file) is not None


def read(file: WeightsFile) -> Contents:
    """The weights and the model, whose heads stand in the shapes.

    Raises
    ------
    WeightsError
        If they are of a variant that `minivit.models.VisionTransformer` is not.
    """
    prefix = _prefix(file) or ""
    arrays = {name: array for name, array in file.arrays.items() if name.startswith(prefix)}
    for name, variant in VARIANTS.items():
        if prefix + name in arrays:
            raise WeightsError(f"{file.path} is {variant} ({prefix}{name}), which minivit.models lacks")
    arrays = _unstacked(arrays, prefix + BLOCKS)
    layout = _layout(arrays, prefix)
    arrays = _with_a_row_for_the_class_token(arrays, layout)
    depth = block_count(arrays, f"{prefix}{BLOCKS}_", "/")
    state, rest = read_arrays(arrays, rules(depth, 1, layout))
    query = arrays.get(f"{prefix}{BLOCKS}_0/MultiHeadDotProductAttention_{layout.parts[0]}/query/kernel")
    heads = int(query.shape[1]) if query is not None and query.ndim == 3 else None
    config = settings_of(state, heads, **FLAVOUR)
    flavour = {**FLAVOUR, "representation_size": rows(state, "pre_logits.fc.weight") or None}
    settings = config or {**flavour, "num_classes": rows(state, "head.weight")}
    facts: dict[str, tuple[Any, str]] = model_facts(settings, CONVENTION, SHAPES)
    mean, std = STATISTICS["half"]
    if config is None or config["channels"] == len(mean):
        facts |= {"mean": (list(mean), CONVENTION), "std": (list(std), CONVENTION)}
    facts["preprocessing"] = layout.name, CONVENTION
    if layout.name == "big_vision":
        facts["crop_fraction"] = 0.875, CONVENTION
    if others := sum(not name.startswith(prefix) for name in file.arrays):
        facts["left out"] = f"{others} arrays that are not below {prefix}", "the file"
    return Contents(
        state,
        "VisionTransformer",
        config,
        stated=frozenset({"heads"} if heads else ()),
        flavour=flavour,
        metadata=described(layout.name, facts),
        rest=rest,
        arrays=arrays,
        rules=lambda config: rules(config["depth"], config["heads"], layout),
    )


def write(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file of vision_transformer."""
    return written(state, rules_of(config))


def write_big_vision(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file of big_vision: the class token and its position are added, as the model adds them."""
    state = dict(state)
    if "cls_token" in state:
        token, positions = state["cls_token"], state["pos_embed"]
        state["cls_token"] = token + positions[:, :1] if positions[:, 0].any() else token
        state["pos_embed"] = positions[:, 1:]
    return written(state, rules(config["depth"], config["heads"], BIG_VISION))


def rules_of(config: Mapping[str, Any]) -> Rules:
    """The rules by which a model is written."""
    return rules(config["depth"], config["heads"], VISION_TRANSFORMER)


def optional(name: str) -> bool:
    """Whether a model may lack this parameter."""
    return name == "cls_token" or name.startswith(("pre_logits.", "head."))


def rules(depth: int, heads: int, layout: Layout) -> Rules:
    """The names of every parameter of a model."""
    prefix, positions, (attention, perceptron, norm) = layout
    found: dict[str, Rule] = {
        "cls_token": same(f"{prefix}cls"),
        "pos_embed": same(prefix + positions),
        "patch_embed.proj.weight": channels_last(f"{prefix}embedding/kernel"),
        "patch_embed.proj.bias": same(f"{prefix}embedding/bias"),
        "norm.weight": same(f"{prefix}Transformer/encoder_norm/scale"),
        "norm.bias": same(f"{prefix}Transformer/encoder_norm/bias"),
        "pre_logits.fc.weight": transposed(f"{prefix}pre_logits/kernel"),
        "pre_logits.fc.bias": same(f"{prefix}pre_logits/bias"),
        "head.weight": transposed(f"{prefix}head/kernel"),
        "head.bias": same(f"{prefix}head/bias"),
    }
    for i in range(depth):
        mine, theirs = f"blocks.{i}", f"{prefix}{BLOCKS}_{i}"
        asked = [f"{theirs}/MultiHeadDotProductAttention_{attention}/{name}" for name in ("query", "key", "value")]
        out = f"{theirs}/MultiHeadDotProductAttention_{attention}/out"
        dense = [f"{theirs}/MlpBlock_{perceptron}/Dense_{number}" for number in (0, 1)]
        found |= {
            f"{mine}.norm1.weight": same(f"{theirs}/LayerNorm_0/scale"),
            f"{mine}.norm1.bias": same(f"{theirs}/LayerNorm_0/bias"),
            f"{mine}.attn.qkv.weight": thirds_in_heads(*(f"{name}/kernel" for name in asked), heads=heads),
            f"{mine}.attn.qkv.bias": thirds_in_heads(*(f"{name}/bias" for name in asked), heads=heads),
            f"{mine}.attn.proj.weight": from_heads(f"{out}/kernel", heads),
            f"{mine}.attn.proj.bias": same(f"{out}/bias"),
            f"{mine}.norm2.weight": same(f"{theirs}/LayerNorm_{norm}/scale"),
            f"{mine}.norm2.bias": same(f"{theirs}/LayerNorm_{norm}/bias"),
            f"{mine}.mlp.fc1.weight": transposed(f"{dense[0]}/kernel"),
            f"{mine}.mlp.fc1.bias": same(f"{dense[0]}/bias"),
            f"{mine}.mlp.fc2.weight": transposed(f"{dense[1]}/kernel"),
            f"{mine}.mlp.fc2.bias": same(f"{dense[1]}/bias"),
        }
    return found


def _prefix(file: WeightsFile) -> str | None:
    return next((p for p in PREFIXES if any(name.startswith(p + BLOCKS) for name in file.arrays)), None)


def _unstacked(arrays: dict[str, np.ndarray], blocks: str) -> dict[str, np.ndarray]:
    """Each block's arrays under names of its own, where all blocks lie in one array with a first axis of blocks."""
    found = {}
    for name, array in arrays.items():
        below = name.removeprefix(f"{blocks}/")
        if below == name or array.ndim == 0:
            found[name] = array
        elif len(array) > MOST_BLOCKS:
            raise ValueError(f"{name} {array.shape} asks for {len(array)} blocks; expected at most {MOST_BLOCKS}")
        else:
            found |= {f"{blocks}_{i}/{below}": part for i, part in enumerate(array)}
    return found


def _layout(arrays: Mapping[str, np.ndarray], prefix: str) -> Layout:
    positions = next((name for name in POSITIONS if prefix + name in arrays), POSITIONS[0])
    numbered = any("/MultiHeadDotProductAttention_1/" in name for name in arrays)
    return Layout(prefix, positions, (VISION_TRANSFORMER if numbered else BIG_VISION).parts)


def _with_a_row_for_the_class_token(arrays: dict[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """big_vision adds positions before the class token joins: to the token it adds zero."""
    name = layout.prefix + layout.positions
    positions = arrays.get(name)
    if f"{layout.prefix}cls" not in arrays or positions is None or positions.ndim != 3:
        return arrays
    if math.isqrt(positions.shape[1]) ** 2 != positions.shape[1]:
        return arrays
    return {**arrays, name: np.concatenate([np.zeros_like(positions[:, :1]), positions], axis=1)}
