"""Operations that map each value by itself: one table of 256 entries for each image and channel, and one gather.

The tables are those of Pillow's `ImageOps` and `ImageEnhance`.
"""

from __future__ import annotations

import numpy as np

from minivit.augment.randaugment.enhance import blend, luma
from minivit.backend import Array, array_module

VALUES = np.arange(256)


def look_up(images: Array, tables: Array) -> Array:
    """``tables[n, c, images[n, c, i, j]]``: array (N, C, H, W) of uint8 from tables (N, C, 256) of uint8."""
    xp = array_module(images)
    N, C, H, W = images.shape
    start = (xp.arange(N * C) * 256).reshape(N, C, 1)
    return tables.reshape(-1).take(start + images.reshape(N, C, H * W)).reshape(N, C, H, W)


# Tables that do not depend on the image: array (256,) of uint8, made once on the host


def inverted() -> np.ndarray:
    """``255 - v``."""
    return (255 - VALUES).astype(np.uint8)


def solarized(threshold: float) -> np.ndarray:
    """``255 - v`` from the threshold on."""
    return np.where(threshold > VALUES, VALUES, 255 - VALUES).astype(np.uint8)


def solarized_after_adding(addend: int) -> np.ndarray:
    """The darker half of the values grows by `addend`, to at most 255."""
    return np.where(VALUES < 128, np.minimum(VALUES + addend, 255), VALUES).astype(np.uint8)


def posterized(bits: int) -> np.ndarray:
    """Only the highest `bits` of the 8 bits are kept; 0 leaves black."""
    return VALUES.astype(np.uint8) & np.uint8(256 - (1 << (8 - bits)))


def brightened(factor: float) -> np.ndarray:
    """``factor * v``: a blend with black."""
    table: np.ndarray = blend(np.zeros(256, np.uint8), VALUES, np.float32(factor))
    return table


# Tables that do: array (N, C, 256) of uint8


def autocontrast_tables(images: Array) -> Array:
    """Each channel is stretched from 0 to 255, `ImageOps.autocontrast`; one of a single value stays as it is."""
    xp = array_module(images)
    flat = images.reshape(*images.shape[:2], -1)
    low, high = flat.min(axis=2)[:, :, None].astype(np.float64), flat.max(axis=2)[:, :, None].astype(np.float64)
    # In float64 as there: where 255 (v - low) / (high - low) is whole, rounding decides which level it is cut off to.
    scale = 255.0 / xp.maximum(high - low, 1.0)
    values = xp.arange(256)
    stretched = xp.where(high > low, values * scale + -low * scale, values)
    return stretched.clip(0, 255).astype(np.uint8)


def equalize_tables(images: Array) -> Array:
    """Each channel's values are spread so that all are about as frequent, `ImageOps.equalize`.

    The steps are counted without the brightest value, and a channel with fewer pixels than steps stays as it is.
    """
    xp = array_module(images)
    N, C, H, W = images.shape
    histogram = xp.zeros(N * C * 256, np.int32)
    start = (xp.arange(N * C) * 256).reshape(N, C, 1)
    xp.add.at(histogram, (start + images.reshape(N, C, H * W)).reshape(-1), np.int32(1))
    histogram = histogram.reshape(N, C, 256)
    brightest = images.reshape(N, C, -1).max(axis=2)[:, :, None]
    step = (H * W - xp.where(xp.arange(256) == brightest, histogram, 0).sum(axis=2)[:, :, None]) // 255  # (N, C, 1)
    below = histogram.cumsum(axis=2) - histogram
    spread = (below + step // 2) // xp.maximum(step, 1)
    return xp.where(step > 0, spread, xp.arange(256)).clip(0, 255).astype(np.uint8)


def contrast_tables(images: Array, factor: Array) -> Array:
    """A blend with the mean luma of the image, `ImageEnhance.Contrast`: array (N, 1, 256), the same in all channels."""
    xp = array_module(images)
    pixels = images.shape[2] * images.shape[3]
    total = luma(images).sum(axis=(1, 2, 3), dtype=np.int64)
    mean = (2 * total + pixels) // (2 * pixels)  # rounded, halves up
    return blend(mean[:, None, None], xp.arange(256), factor[:, None, None])
