"""Resizing one photo in the two ways that TensorFlow has and Pillow has not."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from minivit.data.dataset import Images

Floats = npt.NDArray[np.floating[Any]]


def resize_bilinear(pixels: Images, height: int, width: int) -> Floats:
    """Two neighbours along each side, however much the photo shrinks: what lies between them is not looked at.

    ``tf.image.resize(pixels, (height, width))``, whose pixels are squares with their centres at half-integers.

    Parameters
    ----------
    pixels : array (H, W, C) of uint8
    height, width : int

    Returns
    -------
    array (height, width, C) of float32
        From 0 to 255, not rounded.
    """
    above, below, down = _neighbours(pixels.shape[0], height)
    left, right, across = _neighbours(pixels.shape[1], width)
    across = across[:, None]  # (width, 1)
    rows = [  # the rows wanted of the photo, each as wide as the result
        (1 - across) * pixels[row][:, left] + across * pixels[row][:, right] for row in (above, below)
    ]  # (height, width, C) each
    resized: Floats = (1 - down[:, None, None]) * rows[0] + down[:, None, None] * rows[1]
    return resized


def _neighbours(size: int, wanted: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """Along one side: the pixel before each place that is wanted, the one after it, and how far it is to the latter."""
    scale = np.float32(size / wanted)
    place = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    before = np.floor(place)
    first = np.clip(before.astype(np.int64), 0, size - 1)
    second = np.clip(before.astype(np.int64) + 1, 0, size - 1)
    return first, second, (place - before).astype(np.float32)


def resize_area(pixels: Images, height: int, width: int) -> Floats:
    """The mean over the rectangle that a new pixel covers in the photo, pixels that it covers in part in proportion.

    ``tf.image.resize(pixels, (height, width), method="area")``.

    Parameters
    ----------
    pixels : array (H, W, C) of uint8
    height, width : int

    Returns
    -------
    array (height, width, C) of float64
        From 0 to 255, not rounded.
    """
    means = _means(pixels.astype(np.float64), height)  # (height, W, C)
    return _means(means.swapaxes(0, 1), width).swapaxes(0, 1)  # (height, width, C)


def _means(values: npt.NDArray[np.float64], wanted: int) -> npt.NDArray[np.float64]:
    """Means over `wanted` equal stretches of the first axis: the differences of the integral at their edges."""
    size = len(values)
    integral = np.zeros((size + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=integral[1:])
    edges = np.arange(wanted + 1) * (size / wanted)
    whole = np.minimum(edges.astype(np.int64), size - 1)
    part = (edges - whole)[:, None, None]
    at_edges = integral[whole] + part * values[whole]  # (wanted + 1, ...)
    return np.asarray(np.diff(at_edges, axis=0) * (wanted / size))
