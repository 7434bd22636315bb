"""Cutout: a square of each image is blanked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivit.augment.checks import check_images
from minivit.backend import Array, array_module
from minivit.backend.random import integers


def cutout(
    images: Array,
    size: int,
    *,
    seed: int,
    step: int,
    image_index: Array,
    fill: float | Sequence[float] = 0.0,
) -> Array:
    """Blank a square around a random pixel of each image; what reaches over the edge is cut off.

    T. DeVries, G. Taylor: Improved regularization of convolutional neural networks with Cutout. arXiv:1708.04552.

    Parameters
    ----------
    images : array (B, C, H, W)
        Of any dtype: uint8, or normalised floats, whose mean is 0.
    size : int
        Side of the square in pixels. An even square reaches one pixel further up and left of its pixel than down and
        right.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    fill : float, or one for each channel
        Such as the mean of the training images.

    Returns
    -------
    array (B, C, H, W) of the images' dtype

    Raises
    ------
    ValueError
        If the size is negative or the number of fill values is not 1 or C.
    """
    xp = array_module(images)
    check_images(images, image_index)
    C, H, W = images.shape[1:]
    values = np.asarray(fill, np.float64).reshape(-1, 1, 1)
    if size < 0:
        raise ValueError(f"expected a size of at least 0 pixels, got {size}")
    if len(values) not in (1, C):
        raise ValueError(f"expected 1 or {C} fill values, got {len(values)}")
    if images.dtype.kind in "iu":
        values = np.rint(values)
    pixel = integers(xp, seed, step, "cutout", image_index, 1, H * W)  # (B, 1)
    top, left = pixel // W - size // 2, pixel % W - size // 2
    row, column = xp.arange(H), xp.arange(W)
    rows = (row >= top) & (row < top + size)  # (B, H)
    columns = (column >= left) & (column < left + size)  # (B, W)
    square = rows[:, None, :, None] & columns[:, None, None, :]  # (B, 1, H, W)
    return xp.where(square, xp.asarray(values.astype(images.dtype)), images)
