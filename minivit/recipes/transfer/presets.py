"""Settings of transfers."""

from __future__ import annotations

from typing import Any

from minivit.recipes.presets import COMMON, preset_settings

# Settings of the data set's own preset that say what its images bear, not how to train.
OF_THE_IMAGES = ("crop", "crop_area", "flip")

SHARED: dict[str, Any] = {**COMMON, "model": None, "whitening": False, "label_smoothing": 0.0, "minutes": 10.0}

# All weights: AdamW, each block slower than the one above it (Bao et al. 2021, arXiv:2106.08254, fine-tune so).
ADAMW: dict[str, Any] = {
    **SHARED,
    "batch_size": 64,
    "learning_rate": 1e-3,
    "layer_decay": 0.75,
    "weight_decay": 0.05,
    "warmup": 0.1,
}

# Dosovitskiy et al. 2020, table 4, and vit_jax/configs/common.py: momentum SGD without decay, warm-up of 500 steps,
# gradients clipped to 1. Their learning rate for CIFAR-10 with B/16 (vit_jax/configs/vit.py) is 0.01; 0.03 elsewhere.
GOOGLE: dict[str, Any] = {
    **SHARED,
    "batch_size": 512,
    "optimizer": "sgd",
    "nesterov": False,
    "learning_rate": 0.03,
    "weight_decay": 0.0,
    "warmup": 0.05,
    "steps": 10_000,
    "minutes": None,
}

# Photos, by the same table: fewer steps where there are few, and crops of 5 % of the area or more; warm-ups from
# google-research/big_vision, big_vision/configs/transfer.py.
GOOGLE_PHOTOS: dict[str, dict[str, Any]] = {
    "pets": {"steps": 500, "warmup": 0.2, "crop_area": 0.05},
    "flowers102": {"steps": 500, "warmup": 0.2, "crop_area": 0.05},
    "imagenet": {"steps": 20_000, "warmup": 0.025, "crop_area": 0.05},
}

# The head alone: nothing that could be forgotten, so a higher rate for all that is trained.
HEAD: dict[str, Any] = {**SHARED, "batch_size": 64, "learning_rate": 3e-3, "weight_decay": 0.0, "warmup": 0.05}

# Features of images as they are: nothing is held out that could be learned from.
FROZEN: dict[str, Any] = {**SHARED, "batch_size": 32, "validation": 0.0, "minutes": None}


def transfer_preset(mode: str, preset: str, dataset: str) -> dict[str, Any]:
    """What `TransferConfig.filled` takes.

    Parameters
    ----------
    mode : {"full", "head", "probe", "knn"}
    preset : {"adamw", "google"}
        For "full".
    dataset : str
        Of which the augmentation that its images bear is taken.
    """
    if mode == "full":
        settings = GOOGLE if preset == "google" else ADAMW
    else:
        settings = HEAD if mode == "head" else FROZEN
    own = preset_settings(dataset)
    settings = {**settings, **{name: own[name] for name in OF_THE_IMAGES}}
    if preset == "google" and mode == "full":
        settings.update({"learning_rate": 0.01} if dataset == "cifar10" else GOOGLE_PHOTOS.get(dataset, {}))
    return settings
