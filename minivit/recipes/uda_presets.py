"""Settings of semi-supervised runs that work well, by data set and number of labels.

Chosen on held-out training images, never on a test set; the trials are counted in `TRIALS`, one for each setting that
was looked at. UDA and the baselines share them: they differ in the unlabelled term alone.
"""

from __future__ import annotations

from typing import Any

from minivit.recipes.presets import COMMON

# Shared by the presets: what a preset does not say.
UDA_COMMON: dict[str, Any] = {
    **COMMON,
    "batch_size": 32,
    "unlabelled_ratio": 4.0,
    "augmentation": "uda",
    "labelled_augmentation": "strong",
    "tsa": "none",
    "temperature": 0.4,
    "confidence": 0.8,
    "weight": 1.0,
    "label_smoothing": 0.0,
    "ema": 0.99,
}

TRIALS: dict[str, int] = {}

PRESETS: dict[str, list[tuple[int, dict[str, Any]]]] = {
    # data set -> (up to so many labels, settings), in rising order; the last stands for all above it too
    "digits": [(40, {"steps": 600, "labels": 40, "flip": False, "crop": 1, "validation": 0.0})],
    "shapes": [(40, {"steps": 600, "labels": 40, "optimizer": "muon"})],
    "cifar10": [
        (250, {"minutes": 10.0, "labels": 250, "optimizer": "muon"}),
        (4000, {"minutes": 10.0, "labels": 4000, "optimizer": "muon"}),
    ],
    "cifar100": [(10000, {"minutes": 10.0, "labels": 10000, "optimizer": "muon"})],
    "folder": [(1000, {"minutes": 10.0, "labels": 1000, "optimizer": "muon"})],
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
