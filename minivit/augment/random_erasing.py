"""Random erasing: a box of any proportions is overwritten."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np

from minivit.augment.assign import assign
from minivit.augment.checks import check_images
from minivit.augment.draws import below, unit
from minivit.backend import Array, array_module
from minivit.backend.random import random_bits

ATTEMPTS = 10
STEPS = 4096
"""Areas, proportions and normal numbers are drawn from as many values, which the host computes: then no device's
logarithm decides on a pixel."""


def random_erasing(
    images: Array,
    *,
    seed: int,
    step: int,
    image_index: Array,
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
    mode: str = "const",
    fill: float = 0.0,
) -> Array:
    """Overwrite a box of some images with a constant or with noise.

    Z. Zhong, L. Zheng, G. Kang, S. Li, Y. Yang: Random erasing data augmentation. AAAI 2020, arXiv:1708.04896,
    algorithm 1. The defaults and the modes are timm's (timm/data/random_erasing.py); the paper's largest area is 0.4
    and it fills with uniform noise. A box that does not fit into the image is drawn anew, ten times in all.

    Parameters
    ----------
    images : array (B, C, H, W) of a float type
        Normalised: their mean is about 0 and their deviation about 1.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    probability : float
        Of each image to lose a box.
    area : (float, float)
        Smallest and largest share of the image, evenly distributed.
    aspect : (float, float)
        Smallest and largest height by width; its logarithm is evenly distributed.
    mode : {"const", "pixel"}
        The box becomes `fill`, or normal noise of its own in each channel of each pixel.
    fill : float

    Returns
    -------
    array (B, C, H, W) of the images' dtype

    Raises
    ------
    ValueError
        If a range is none, the probability is out of range or the mode unknown.
    TypeError
        If the images are not floats.
    """
    xp = array_module(images)
    check_images(images, image_index)
    if images.dtype.kind != "f":
        raise TypeError(f"expected images of a float type, got {images.dtype}; normalise them first")
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability from 0 to 1, got {probability}")
    if not 0 < area[0] <= area[1] <= 1 or not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f"expected areas from above 0 to 1 and positive aspects, smallest first, got {area}, {aspect}")
    if mode not in ("const", "pixel"):
        raise ValueError(f'expected mode "const" or "pixel", got {mode!r}')
    C, H, W = images.shape[1:]
    words = random_bits(xp, seed, step, "random erasing", image_index, 2 * ATTEMPTS + 3)
    middles = (np.arange(STEPS) + 0.5) / STEPS
    sides = np.sqrt((area[0] + (area[1] - area[0]) * middles) * (H * W)).astype(np.float32)
    roots = np.exp((math.log(aspect[0]) + math.log(aspect[1] / aspect[0]) * middles) / 2)
    side = xp.asarray(sides).take(below(words[:, :ATTEMPTS], STEPS))  # (B, ATTEMPTS)
    proportion = below(words[:, ATTEMPTS : 2 * ATTEMPTS], STEPS)
    heights = xp.rint(side * xp.asarray(roots.astype(np.float32)).take(proportion)).astype(np.int32)
    widths = xp.rint(side * xp.asarray((1 / roots).astype(np.float32)).take(proportion)).astype(np.int32)
    fits = (heights < H) & (widths < W)
    first = fits.astype(np.int8).argmax(axis=1)[:, None]
    height, width = (xp.take_along_axis(lengths, first, axis=1)[:, 0] for lengths in (heights, widths))
    applied, top, left = (words[:, 2 * ATTEMPTS + k] for k in range(3))
    chosen = (unit(applied) < probability) & fits.any(axis=1)
    spans = []
    for start, length, whole in ((top, height, H), (left, width, W)):
        # Where no box fits, a length beyond the image must not give a negative number of places.
        offset = xp.arange(whole) - below(start, xp.maximum(whole - length + 1, 1))[:, None]  # (B, whole)
        spans.append((offset >= 0) & (offset < length[:, None]))
    box = spans[0][:, None, :, None] & spans[1][:, None, None, :]  # (B, 1, H, W)
    erased = images.copy()

    def overwritten(part: Any) -> Array:
        if mode == "const":
            return xp.where(box[part], images.dtype.type(fill), images[part])
        drawn = random_bits(xp, seed, step, "random erasing noise", image_index[part], C * H * W)
        noise = xp.asarray(_normal_values().astype(images.dtype)).take(below(drawn, STEPS)).reshape(-1, C, H, W)
        return xp.where(box[part], noise, images[part])

    assign(erased, chosen, overwritten)
    return erased


@cache
def _normal_values() -> np.ndarray:
    """The normal distribution's quantiles in the middle of equal parts: array (STEPS,) of float64."""
    return np.array([NormalDist().inv_cdf((k + 0.5) / STEPS) for k in range(STEPS)])
