"""Hugging Face's Vision Transformers (transformers, ViTModel and ViTForImageClassification), with their config.json.

Two schemes of names are in use. Files have the older one, also those that transformers 5 writes; its models in memory
have the newer, and so do files of their ``state_dict()``:

==================================================================  ========================================
before 5                                                            from 5 on
==================================================================  ========================================
``encoder.layer.0.attention.attention.query`` (``key``, ``value``)  ``layers.0.attention.q_proj`` (``k``, ``v``)
``encoder.layer.0.attention.output.dense``                          ``layers.0.attention.o_proj``
``encoder.layer.0.intermediate.dense``                              ``layers.0.mlp.fc1``
``encoder.layer.0.output.dense``                                    ``layers.0.mlp.fc2``
==================================================================  ========================================

In a classifier all but ``classifier`` stands below ``vit.``. A model without a classifier may have a ``pooler``, which
is what elsewhere is called pre_logits. GELU, LayerNorm eps (1e-12 where nothing is said) and the number of heads stand
in config.json, mean and std (0.5 where nothing is said) in preprocessor_config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivit.data.preprocess import STATISTICS
from minivit.interop.companion import read_beside
from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.correspondence import Rule, Rules, same, thirds, written
from minivit.interop.correspondence import read as read_arrays
from minivit.interop.errors import WeightsError
from minivit.interop.flavour import CONVENTION, SHAPES, described, model_facts, statistics
from minivit.interop.shapes import block_count, rows, settings_of

ACTIVATIONS = {"gelu": "none", "gelu_python": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
LEGACY_BLOCK, NEW_BLOCK = "encoder.layer.", "layers."
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
FIELDS = {  # of config.json -> settings that shapes tell
    "hidden_size": "dim",
    "num_hidden_layers": "depth",
    "intermediate_size": "mlp_dim",
    "patch_size": "patch_size",
    "image_size": "image_size",
    "num_channels": "channels",
}


class Scheme(NamedTuple):
    """Which names a file has.

    Attributes
    ----------
    prefix : str
        ``vit.`` or nothing.
    new : bool
        Those from transformers 5 on.
    """

    prefix: str
    new: bool

    @property
    def blocks(self) -> str:
        """What the blocks' names begin with."""
        return self.prefix + (NEW_BLOCK if self.new else LEGACY_BLOCK)


def recognises(file: WeightsFile) -> bool:
    """Whether the names are those of transformers for a Vision Transformer."""
    return any(name.endswith("embeddings.patch_embeddings.projection.weight") for name in file.arrays) or any(
        name.endswith("layernorm_before.weight") for name in file.arrays
    )


def read(file: WeightsFile) -> Contents:
    """The weights and the model (no settings if its number of heads is not known).

    Raises
    ------
    WeightsError
        If they are of a variant that `minivit.models.VisionTransformer` is not, or a configuration beside the file is
        damaged or of another model.
    """
    distilled = [name for name in file.arrays if "distillation" in name]
    if distilled:
        raise WeightsError(
            f"{file.path} is a distilled DeiT ({', '.join(distilled)}), which has a second token and a second head; "
            "take the weights of a plain Vision Transformer"
        )
    prefix = "vit." if any(name.startswith("vit.") for name in file.arrays) else ""
    scheme = Scheme(prefix, any(name.startswith(f"{prefix}{NEW_BLOCK}") for name in file.arrays))
    arrays, left_out = _used(file.arrays, prefix)
    state, rest = read_arrays(arrays, rules(block_count(arrays, scheme.blocks), scheme))
    config_json = read_beside(file.path, CONFIG)
    if config_json is not None and "architecture" in config_json and "model_type" not in config_json:
        config_json = None  # timm's
    source = CONVENTION if config_json is None else CONFIG
    flavour, heads = _flavour(config_json or {}, file.path)
    config = settings_of(state, heads, **flavour)
    flavour["representation_size"] = rows(state, "pre_logits.fc.weight") or None
    if config is not None and config_json is not None:
        _check_config(config_json, config, file.path.with_name(CONFIG))
    settings = config or {**flavour, "num_classes": rows(state, "head.weight")}
    facts = model_facts(settings, source, SHAPES if heads is None else source)
    facts |= _pixels(file.path, 3 if config is None else config["channels"])
    if (classes := _classes(config_json or {}, settings["num_classes"])) is not None:
        facts["classes"] = classes, CONFIG
    if left_out:
        facts["left out"] = ", ".join(left_out), "the file"
    stated = {"gelu", "eps"} if config_json is not None else set()
    return Contents(
        state,
        "VisionTransformer",
        config,
        stated=frozenset(stated | ({"heads"} if heads else set())),
        flavour=flavour,
        metadata=described("huggingface_v5" if scheme.new else "huggingface", facts),
        rest=rest,
        arrays=arrays,
        rules=lambda config: rules(config["depth"], scheme),
    )


def write(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file, by the names that files have."""
    return written(state, rules_of(config))


def write_v5(state: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of a file, by the names that models have in transformers 5."""
    return written(state, rules_of(config, new=True))


def rules_of(config: Mapping[str, Any], new: bool = False) -> Rules:
    """The rules by which a model is written."""
    return rules(config["depth"], Scheme("vit." if config["num_classes"] else "", new))


def optional(name: str) -> bool:
    """Whether a model may lack this parameter."""
    return name.startswith(("pre_logits.", "head.")) or name.endswith("qkv.bias")


def rules(depth: int, scheme: Scheme) -> Rules:
    """The names of every parameter of a model."""
    prefix, blocks = scheme.prefix, scheme.blocks
    found: dict[str, Rule] = {
        "cls_token": same(f"{prefix}embeddings.cls_token"),
        "pos_embed": same(f"{prefix}embeddings.position_embeddings"),
    }
    for kind in ("weight", "bias"):
        found |= {
            f"patch_embed.proj.{kind}": same(f"{prefix}embeddings.patch_embeddings.projection.{kind}"),
            f"norm.{kind}": same(f"{prefix}layernorm.{kind}"),
            f"pre_logits.fc.{kind}": same(f"{prefix}pooler.dense.{kind}"),
            f"head.{kind}": same(f"classifier.{kind}"),
        }
        for i in range(depth):
            mine, theirs = f"blocks.{i}", f"{blocks}{i}"
            attention = f"{theirs}.attention" if scheme.new else f"{theirs}.attention.attention"
            asked = ("q_proj", "k_proj", "v_proj") if scheme.new else ("query", "key", "value")
            found |= {
                f"{mine}.norm1.{kind}": same(f"{theirs}.layernorm_before.{kind}"),
                f"{mine}.attn.qkv.{kind}": thirds(*(f"{attention}.{name}.{kind}" for name in asked)),
                f"{mine}.attn.proj.{kind}": same(
                    f"{theirs}.attention.{'o_proj' if scheme.new else 'output.dense'}.{kind}"
                ),
                f"{mine}.norm2.{kind}": same(f"{theirs}.layernorm_after.{kind}"),
                f"{mine}.mlp.fc1.{kind}": same(f"{theirs}.{'mlp.fc1' if scheme.new else 'intermediate.dense'}.{kind}"),
                f"{mine}.mlp.fc2.{kind}": same(f"{theirs}.{'mlp.fc2' if scheme.new else 'output.dense'}.{kind}"),
            }
    return found


def _used(arrays: dict[str, np.ndarray], prefix: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """What transformers computes with: with a classifier it never asks the pooler, and masks only in pre-training."""
    unused = [f"{prefix}embeddings.mask_token"]
    if "classifier.weight" in arrays:
        unused += [f"{prefix}pooler.dense.weight", f"{prefix}pooler.dense.bias"]
    left_out = [name for name in unused if name in arrays]
    return {name: array for name, array in arrays.items() if name not in left_out}, left_out


def _flavour(config: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], int | None]:
    """GELU and epsilon, as transformers has them by default where config.json says nothing; and the heads."""
    beside = path.with_name(CONFIG)
    if config.get("model_type", "vit") != "vit":
        raise WeightsError(f"{beside} is of a model of type {str(config['model_type'])[:80]!r}; expected 'vit'")
    activation = config.get("hidden_act", "gelu")
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise WeightsError(
            f"{beside}: hidden_act {str(activation)[:80]!r} is none of those that minivit.models has: "
            f"{', '.join(ACTIVATIONS)}"
        )
    if config.get("pooler_act", "tanh") != "tanh":
        raise WeightsError(f"{beside}: pooler_act has to be 'tanh', got {str(config['pooler_act'])[:80]!r}")
    eps = config.get("layer_norm_eps", 1e-12)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise WeightsError(f"{beside}: layer_norm_eps has to lie between 0 and 1, got {str(eps)[:80]}")
    heads = config.get("num_attention_heads")
    if heads is not None and (isinstance(heads, bool) or not isinstance(heads, int) or heads < 1):
        raise WeightsError(f"{beside}: num_attention_heads has to be a whole number above 0, got {str(heads)[:80]}")
    return {"gelu": ACTIVATIONS[activation], "eps": float(eps)}, heads


def _check_config(config_json: Mapping[str, Any], settings: Mapping[str, Any], beside: Path) -> None:
    """Raise if config.json is of a model of other sizes."""
    different = [
        f"  {field}: it says {str(config_json[field])[:80]}, the arrays have {settings[name]}"
        for field, name in FIELDS.items()
        if field in config_json and config_json[field] not in (settings[name], [settings[name]] * 2)
    ]
    if settings["dim"] % settings["heads"]:
        different.append(f"  num_attention_heads: {settings['heads']} do not divide a width of {settings['dim']}")
    if different:
        raise WeightsError(f"{beside} is of another model than the weights:\n" + "\n".join(different))


def _pixels(path: Path, channels: int) -> dict[str, tuple[Any, str]]:
    """Mean, std and how photos are resized: the whole photo to a square, as ViTImageProcessor does by default."""
    found = read_beside(path, PREPROCESSOR)
    source = CONVENTION if found is None else PREPROCESSOR
    found = found or {}
    facts: dict[str, tuple[Any, str]] = {"preprocessing": ("google", source)}
    if channels == 3 or "image_mean" in found:
        mean, std = STATISTICS["half"]
        beside = path.with_name(PREPROCESSOR)
        facts["mean"] = list(statistics(found.get("image_mean", mean), channels, "image_mean", beside)), source
        facts["std"] = list(statistics(found.get("image_std", std), channels, "image_std", beside)), source
    return facts


def _classes(config: Mapping[str, Any], count: int) -> list[str] | None:
    """Names in label order, if every label has one of its own."""
    names = config.get("id2label")
    if not isinstance(names, dict) or len(names) != count or not count:
        return None
    found = [names.get(str(label)) for label in range(count)]
    if not all(isinstance(name, str) for name in found) or found == [f"LABEL_{label}" for label in range(count)]:
        return None
    return found  # type: ignore[return-value]
