"""Random rotations of the colour space: for data whose classes do not depend on colour."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minivit.augment.checks import check_images
from minivit.backend import Array, array_module
from minivit.backend.random import uniform


def color_rotation(images: Array, *, seed: int, step: int, image_index: Array) -> Array:
    """Rotate each image's colours by an angle and about an axis of its own, and invert half of the images.

    Every colour can become every other as far from the middle, and what is apart stays apart: an outline survives, and
    nothing can be learned from the colours it has. An image of one channel is inverted or not.

    Parameters
    ----------
    images : array (B, C, H, W) of float32
        C is 1 or 3. Normalised: the middle of the colours, which stays in place, is 0.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.

    Returns
    -------
    array (B, C, H, W) of float32

    Raises
    ------
    ValueError
        If the number of channels is neither 1 nor 3.
    TypeError
        If the images are not normalised floats.

    Notes
    -----
    Rotations are drawn evenly: K. Shoemake, Uniform random rotations, Graphics Gems III, 1992.
    """
    xp = array_module(images)
    check_images(images, image_index)
    B, C, H, W = images.shape
    if C not in (1, 3):
        raise ValueError(f"expected images of 1 or 3 channels, got {images.shape}")
    if images.dtype.kind != "f":
        raise TypeError(f"expected normalised images of a float type, got {images.dtype}")
    drawn = uniform(xp, seed, step, "color rotation", image_index, 4)  # (B, 4)
    sign = xp.where(drawn[:, 3] < 0.5, np.float32(-1), np.float32(1))  # (B,)
    if C == 1:
        return images * sign[:, None, None, None]
    matrices = _rotations(xp, drawn) * sign[:, None, None]  # (B, 3, 3)
    return xp.matmul(matrices, images.reshape(B, 3, H * W)).reshape(B, 3, H, W)


def _rotations(xp: Any, drawn: Array) -> Array:
    """Rotation matrices (B, 3, 3), evenly distributed, from three even numbers each (B, 3 or more)."""
    r, two_pi = drawn[:, 0], 2 * math.pi
    small, large = (1 - r) ** 0.5, r**0.5
    x, y = small * xp.sin(two_pi * drawn[:, 1]), small * xp.cos(two_pi * drawn[:, 1])
    z, w = large * xp.sin(two_pi * drawn[:, 2]), large * xp.cos(two_pi * drawn[:, 2])
    # The matrix of the unit quaternion (w, x, y, z).
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return xp.stack([xp.stack(row, -1) for row in rows], -2)
