"""Random mirror images."""

from __future__ import annotations

from typing import Any

from minivit.augment.checks import check_images
from minivit.backend import Array, array_module
from minivit.backend.random import uniform


def random_flip(images: Array, *, seed: int, step: int, image_index: Array, probability: float = 0.5) -> Array:
    """Exchange left and right in some of the images.

    Parameters
    ----------
    images : array (B, C, H, W)
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    probability : float
        Of each image to be flipped.

    Returns
    -------
    array (B, C, H, W) of the images' dtype
    """
    xp = array_module(images)
    check_images(images, image_index)
    flipped = flip_choice(xp, seed=seed, step=step, image_index=image_index, probability=probability)
    return xp.where(flipped[:, None, None, None], images[:, :, :, ::-1], images)


def flip_choice(xp: Any, *, seed: int, step: int, image_index: Array, probability: float = 0.5) -> Array:
    """Which images `random_flip` flips: array (B,) of bool."""
    return uniform(xp, seed, step, "flip", image_index, 1)[:, 0] < probability
