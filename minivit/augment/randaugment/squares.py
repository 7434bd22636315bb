"""The squares that cutouts blank."""

from __future__ import annotations

import numpy as np

from minivit.backend import Array, array_module


def centered_square(center: Array, size: Array | int, height: int, width: int) -> Array:
    """Squares of ``2 * (size // 2)`` pixels around some pixels, cut off at the image's edges.

    Parameters
    ----------
    center : array (B, 2) of an integer type
        Rows and columns: the pixel is the first one of the square's second half.
    size : array (B,) of int32, or int
    height, width : int

    Returns
    -------
    array (B, 1, height, width) of bool
    """
    xp = array_module(center)
    half = size // 2
    row, column = (xp.arange(side, dtype=np.int32) - center[:, k, None] for k, side in enumerate((height, width)))
    half = half if isinstance(half, int) else half[:, None]
    rows, columns = (row >= -half) & (row < half), (column >= -half) & (column < half)
    return rows[:, None, :, None] & columns[:, None, None, :]  # (B, 1, height, width)
