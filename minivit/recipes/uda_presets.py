"""Settings of semi-supervised runs that work well, by data set and number of labels.

Chosen on held-out training images, never on a test set; the trials are counted in `TRIALS`, one for each setting that
was looked at. UDA and the baselines share them: they differ in the unlabelled term alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from minivit.recipes.presets import COMMON
from minivit.recipes.uda_config import UdaConfig

# Shared by the presets: what a preset does not say.
UDA_COMMON: dict[str, Any] = {
    **COMMON,
    "batch_size": 32,
    "unlabelled_ratio": 4.0,
    "augmentation": "uda",
    "labelled_augmentation": "uda",
    "tsa": "none",
    "temperature": 0.4,
    "confidence": 0.8,
    "weight": 1.0,
    "label_smoothing": 0.0,
    "ema": 0.99,
}

TRIALS: dict[str, int] = {"digits": 10, "shapes": 28, "cifar10": 9}

SMALL_IMAGES: dict[str, Any] = {
    "model": "small",
    "minutes": 10.0,
    "unlabelled_ratio": 3.0,
    "labelled_augmentation": "weak",
    "optimizer": "muon",
}

PRESETS: dict[str, list[tuple[int, dict[str, Any]]]] = {
    # data set -> (up to so many labels, settings), in rising order; the last stands for all above it too
    "digits": [(40, {"steps": 1000, "labels": 40, "flip": False, "crop": 1, "validation": 0.0})],
    "shapes": [
        (
            40,
            {
                "steps": 1000,
                "labels": 40,
                "unlabelled_ratio": 3.0,
                "optimizer": "muon",
                "confidence": 0.6,
                "augmentation": "timm",
                "labelled_augmentation": "timm",
                "crop": 8,
                "rotate_colors": True,
            },
        )
    ],
    "cifar10": [(4000, {**SMALL_IMAGES, "labels": 4000})],
    "cifar100": [(10000, {**SMALL_IMAGES, "labels": 10000})],
    "folder": [(1000, {**SMALL_IMAGES, "labels": 1000})],
}


def uda_preset(dataset: str, labels: int | None = None) -> dict[str, Any]:
    """What `UdaConfig.filled` takes for a data set and a number of labels.

    Parameters
    ----------
    dataset : str
        cifar10, cifar100, digits, shapes; anything else stands for a folder.
    labels : int, optional
        None takes the largest number that there is a preset for.
    """
    by_labels = PRESETS.get(dataset, PRESETS["folder"])
    for most, settings in by_labels:
        if labels is not None and labels <= most:
            return {**UDA_COMMON, **settings}
    return {**UDA_COMMON, **by_labels[-1][1]}


COMPARISON: dict[str, dict[str, Any]] = {
    "uda": {"method": "uda"},
    "supervised": {"method": "supervised"},
    "fully_supervised": {"method": "fully_supervised"},
}

# What each part of UDA is worth: the settings that a variant changes.
ABLATION: dict[str, dict[str, Any]] = {
    "uda": {"method": "uda"},
    "without stop-gradient": {"stop_gradient": False},
    "without confidence mask": {"confidence": 0.0},
    "without sharpening": {"temperature": 1.0},
    "without TSA": {"tsa": "none"},
    "TSA linear": {"tsa": "linear"},
    "TSA log": {"tsa": "log"},
    "TSA exp": {"tsa": "exp"},
    "RandAugment of uda": {"augmentation": "uda"},
    "RandAugment of torchvision": {"augmentation": "torchvision"},
    "RandAugment of timm": {"augmentation": "timm"},
    "RandAugment of fixmatch": {"augmentation": "fixmatch"},
    "crop and flip only": {"augmentation": "weak"},
    "loss of usb, TSA linear": {"implementation": "usb", "tsa": "linear"},
    "loss of uda_pytorch": {"implementation": "uda_pytorch"},
    "supervised": {"method": "supervised"},
}


def variants(config: UdaConfig, study: dict[str, dict[str, Any]]) -> dict[str, UdaConfig]:
    """The configurations of a study, without those that change nothing."""
    found = {name: dataclasses.replace(config, **changes) for name, changes in study.items()}
    return {name: variant for name, variant in found.items() if name == "uda" or variant != found["uda"]}
