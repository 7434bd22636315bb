"""config.json and preprocessor_config.json, as transformers reads them beside weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minivit.interop.companion import write_beside
from minivit.interop.errors import WeightsError
from minivit.interop.huggingface import CONFIG, PREPROCESSOR

HELD = ("classes", "mean", "std")  # of a model's metadata


def check_writable(path: Path, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Raise if the model, the metadata or the folder do not suit.

    Raises
    ------
    WeightsError
        If transformers has no such model, the metadata hold more than it keeps, or the folder has another model's
        config.json.
    """
    if config["representation_size"] and config["num_classes"]:
        raise WeightsError(
            f"{path}: transformers has no model with both pre_logits (its pooler) and a classifier; "
            "drop one of the two with minivit.models.transfer"
        )
    unknown = sorted(set(metadata) - set(HELD))
    if unknown:
        raise WeightsError(f"{path}: format 'huggingface' keeps {', '.join(HELD)}; leave out {', '.join(unknown)}")
    if path.with_name(CONFIG).exists() and not path.exists():
        raise WeightsError(f"{path.with_name(CONFIG)} belongs to another file; save into a folder of its own")


def write_configuration(path: Path, config: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
    """Write both files beside the weights; the second only if mean and std are given."""
    write_beside(path, CONFIG, model_configuration(config, metadata.get("classes")))
    if "mean" in metadata and "std" in metadata:
        side = {"height": config["image_size"], "width": config["image_size"]}
        content = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": side,
            "resample": 2,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(metadata["mean"]),
            "image_std": list(metadata["std"]),
        }
        write_beside(path, PREPROCESSOR, content)


def model_configuration(config: Mapping[str, Any], classes: Sequence[str] | None = None) -> dict[str, Any]:
    """The content of config.json for a model's settings."""
    count = config["num_classes"]
    labels = {str(label): name for label, name in enumerate(classes or [f"LABEL_{label}" for label in range(count)])}
    return {
        "architectures": ["ViTForImageClassification" if count else "ViTModel"],
        "model_type": "vit",
        "hidden_size": config["dim"],
        "num_hidden_layers": config["depth"],
        "num_attention_heads": config["heads"],
        "intermediate_size": config["mlp_dim"],
        "hidden_act": "gelu" if config["gelu"] == "none" else "gelu_pytorch_tanh",
        "layer_norm_eps": config["eps"],
        "image_size": config["image_size"],
        "patch_size": config["patch_size"],
        "num_channels": config["channels"],
        "qkv_bias": config["qkv_bias"],
        "hidden_dropout_prob": config["dropout"],
        "attention_probs_dropout_prob": 0.0,
        "pooler_act": "tanh",
        "pooler_output_size": config["representation_size"] or config["dim"],
        "id2label": labels,
        "label2id": {name: int(label) for label, name in labels.items()},
    }
