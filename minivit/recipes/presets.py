"""Settings that work well, by data set: chosen on held-out training images, never on a test set."""

from __future__ import annotations

from typing import Any

from minivit.nn import Module
from minivit.recipes.config import OWN_MODELS

# Shared by the presets: what a preset does not say.
COMMON: dict[str, Any] = {
    "model": "preset",
    "batch_size": 128,
    "optimizer": "adamw",
    "nesterov": True,
    "learning_rate": 2e-3,
    "layer_decay": 1.0,
    "matrix_learning_rate": 0.02,
    "weight_decay": 0.05,
    "warmup": 0.05,
    "label_smoothing": 0.1,
    "crop": 4,
    "crop_area": 0.0,
    "flip": True,
    "rotate_colors": False,
    "cutout": 0,
    "mixup": 0.0,
    "drop_path": 0.0,
    "ema": 0.0,
    "whitening": True,
    "validation": 0.02,
}

# A Vision Transformer behind two convolutions: the most accuracy a minute of CPU.
HYBRID: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 4,
    "stem": (48, 96),
    "dim": 128,
    "depth": 2,
    "heads": 4,
    "mlp_dim": 256,
    "pool": "sequence",
    "initialization": "fan_in",
}

# The same behind three convolutions, which leave 16 tokens: less accurate in the end, and faster.
SMALL: dict[str, Any] = {**HYBRID, "patch_size": 8, "stem": (24, 48, 64), "dim": 64, "mlp_dim": 128}

PRESETS: dict[str, dict[str, Any]] = {
    "cifar10": {"minutes": 10.0, "batch_size": 64, "optimizer": "muon"},
    "cifar100": {"minutes": 10.0, "batch_size": 64, "optimizer": "muon"},
    "shapes": {"minutes": 3.0, "batch_size": 64, "optimizer": "muon", "validation": 0.05, "rotate_colors": True},
    "digits": {
        "epochs": 40,
        "batch_size": 32,
        "flip": False,
        "crop": 1,
        "warmup": 0.1,
        "validation": 0.0,
    },
    "folder": {"minutes": 10.0, "batch_size": 64, "optimizer": "muon", "validation": 0.1},
}

MODELS: dict[str, dict[str, Any]] = {
    "cifar10": HYBRID,
    "cifar100": HYBRID,
    "shapes": {**HYBRID, "patch_size": 8, "stem": (32, 64, 96), "dim": 96},
    "folder": HYBRID,
    "digits": {
        "image_size": 8,
        "patch_size": 2,
        "stem": (64,),
        "dim": 64,
        "depth": 2,
        "heads": 4,
        "mlp_dim": 128,
        "pool": "sequence",
        "initialization": "fan_in",
    },
}


def preset_settings(dataset: str) -> dict[str, Any]:
    """What `TrainConfig.filled` takes for a data set (a folder's name stands for "folder")."""
    return {**COMMON, **PRESETS.get(dataset, PRESETS["folder"])}


def build_model(
    model: str, dataset: str, *, image_shape: tuple[int, int, int], num_classes: int, seed: int, drop_path: float
) -> Module:
    """The model of a run, fitted to the data.

    Parameters
    ----------
    model : str
        A name of `minivit.models`; "preset" for the data set's own; "small" for `SMALL`.
    dataset : str
    image_shape : (C, H, W)
    num_classes, seed, drop_path
        As for `minivit.models.VisionTransformer`.

    Raises
    ------
    ValueError
        If the images cannot be cut into the model's patches, or `drop_path` is not 0 and the model has none.
    """
    from minivit import models

    channels, height, width = image_shape
    if height != width:
        raise ValueError(f"the models take square images, the data set's are {height} x {width}; resize them first")
    options: dict[str, Any] = {"channels": channels, "num_classes": num_classes, "seed": seed}
    if model in OWN_MODELS:
        own = SMALL if model == "small" else MODELS.get(dataset, HYBRID)
        return models.VisionTransformer(**{**own, **options, "image_size": height, "drop_path": drop_path})
    family = models.find(model).family
    settings = models.settings(family)
    if "image_size" in settings:
        options["image_size"] = height
    if "drop_path" in settings:
        options["drop_path"] = drop_path
    elif drop_path:
        raise ValueError(f"{model} is a {family.__name__}, which has no drop_path; leave it at 0, got {drop_path:g}")
    return models.create(model, **options)
