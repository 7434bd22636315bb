"""From bytes to the floats that models take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivit.backend import Array, array_module


def normalize(images: Array, mean: Sequence[float], std: Sequence[float]) -> Array:
    """``(images / 255 - mean) / std`` for each channel, as float32.

    Parameters
    ----------
    images : array (B, C, H, W) of uint8
    mean, std : C floats
        On the scale where 255 is 1, such as `Dataset.mean` and `Dataset.std`.

    Returns
    -------
    array (B, C, H, W) of float32

    Raises
    ------
    TypeError
        If the images are not uint8.
    ValueError
        If there is not one mean and one std for each channel.
    """
    xp = array_module(images)
    if images.dtype != np.uint8:
        raise TypeError(f"expected images of uint8, got {images.dtype}; they may have been normalised already")
    if images.ndim != 4 or not len(mean) == len(std) == images.shape[1]:
        raise ValueError(
            f"expected images (B, C, H, W) and C means and stds, got {images.shape}, {len(mean)} and {len(std)}"
        )
    scale = 1 / (255 * np.asarray(std, np.float64))
    shift = -np.asarray(mean, np.float64) / np.asarray(std, np.float64)
    normalized = images.astype(xp.float32)
    normalized *= xp.asarray(scale.astype(np.float32))[:, None, None]
    normalized += xp.asarray(shift.astype(np.float32))[:, None, None]
    return normalized
