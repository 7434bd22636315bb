"""How many images each augmentation makes in a second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minivit.augment import TrainAugmentation
from minivit.augment.randaugment import DIALECTS, randaugment
from minivit.backend import Array
from minivit.data import Dataset


def measure_augmentations(train: Dataset, count: int, *, steps: int, rounds: int) -> dict[str, Any]:
    """Images per second of crop and flip, and of each dialect of RandAugment with them.

    Parameters
    ----------
    train : Dataset
        Whose first images are augmented.
    count : int
        Images in a batch.
    steps, rounds : int
        As for `augmentation_speeds`.

    Returns
    -------
    dict
        JSON-able: ``crop_flip``, and by dialect ``randaugment``, each with its ``images_per_second``.
    """
    images, size = train.images[:count], train.image_shape[1]

    def augmentation(policy: Any = None) -> TrainAugmentation:
        return TrainAugmentation(train.mean, train.std, seed=0, policy=policy)

    styles = {style: augmentation(randaugment(style, seed=0, image_size=size)) for style in DIALECTS}
    speeds = augmentation_speeds({"crop_flip": augmentation(), **styles}, images, steps=steps, rounds=rounds)
    rows = {name: {"images_per_second": speed} for name, speed in speeds.items()}
    return {
        "dataset": train.name,
        "images": len(images),
        "image_shape": images.shape[1:],
        "crop_flip": rows.pop("crop_flip"),
        "randaugment": rows,
    }


def augmentation_speeds(
    augmentations: Mapping[str, Callable[[Array, int, Array], Array]], images: Array, *, steps: int, rounds: int
) -> dict[str, float]:
    """Images per second of several augmentations, which take turns, in one thread.

    The seconds are the thread's own, in which it runs: what else the machine does hardly changes them.

    Parameters
    ----------
    augmentations : mapping of str to callable
        Such as `minivit.augment.TrainAugmentation`: (images, step, image_index) -> images.
    images : array (B, C, H, W) of uint8
        In host memory.
    steps, rounds : int
        Calls in a round, each of a step of its own, and rounds.

    Returns
    -------
    dict of str to float
        The median over the rounds.

    Raises
    ------
    ValueError
        If there is no step or no round.
    """
    if steps < 1 or rounds < 1:
        raise ValueError(f"expected a step and a round at least; got {steps} and {rounds}")
    index = np.arange(len(images))
    seconds: dict[str, list[float]] = {name: [] for name in augmentations}
    for augment in augmentations.values():  # tables are made, memory is laid out
        augment(images, 0, index)
    for number in range(rounds):
        for name, augment in augmentations.items():
            begun = time.thread_time()
            for step in range(number * steps, (number + 1) * steps):
                augment(images, step, index)
            seconds[name].append((time.thread_time() - begun) / steps)
    return {name: len(images) / statistics.median(measured) for name, measured in seconds.items()}
