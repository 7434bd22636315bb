"""A colour where a mask is."""

from __future__ import annotations

import numpy as np

from minivit.backend import Array


def paint(images: Array, mask: Array, color: Array) -> None:
    """``images[n, c, i, j] = color[c]`` where ``mask[n, 0, i, j]``, in place.

    By bits: many times faster than `numpy.where` on bytes.

    Parameters
    ----------
    images : array (N, C, H, W) of uint8
    mask : array (N, 1, H, W) of bool
    color : array (C,) of uint8
    """
    ones = mask.astype(np.uint8) * np.uint8(255)
    images &= ~ones
    images |= color[:, None, None] & ones
