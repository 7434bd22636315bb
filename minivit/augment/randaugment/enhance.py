"""Blends of an image with a poorer one, in the arithmetic of Pillow's `ImageEnhance`.

A factor of 0 gives the poorer image, 1 the image itself, and one beyond 1 moves further away from the poorer image.
"""

from __future__ import annotations

import numpy as np

from minivit.backend import Array


def blend(poorer: Array, images: Array, factor: Array) -> Array:
    """``poorer + factor * (images - poorer)`` in float32, cut off to an integer from 0 to 255 (`Image.blend`).

    Parameters
    ----------
    poorer, images : arrays of an integer type
        Their shapes broadcast.
    factor : array or scalar of float32

    Returns
    -------
    array of uint8
    """
    start = poorer.astype(np.float32)
    values = (images.astype(np.float32) - start) * factor
    values += start
    return values.clip(0, 255).astype(np.uint8)


def luma(images: Array) -> Array:
    """Brightness by the weights of ITU-R 601-2, rounded as Pillow converts RGB to L.

    Parameters
    ----------
    images : array (N, C, H, W) of uint8
        Of one channel, which is its own luma, or three.

    Returns
    -------
    array (N, 1, H, W) of uint8
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, channel : channel + 1].astype(np.int32) for channel in range(3))
    # The weights .299, .587 and .114 in units of 2**-16; they add up to one.
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)


def smooth(images: Array) -> Array:
    """Each inner pixel becomes a mean of its 3x3 neighbourhood where its own weight is 5 (`ImageFilter.SMOOTH`).

    Parameters
    ----------
    images : array (N, C, H, W) of uint8

    Returns
    -------
    array (N, C, H, W) of uint8
        The outermost pixels are those of the images.
    """
    wide = images.astype(np.uint16)
    rows = wide[:, :, :, :-2] + wide[:, :, :, 1:-1] + wide[:, :, :, 2:]  # (N, C, H, W-2)
    total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * wide[:, :, 1:-1, 1:-1]  # (N, C, H-2, W-2)
    smoothed = images.copy()
    # Rounded: total / 13 never ends in one half, so the integer division agrees with Pillow's sum in float32.
    smoothed[:, :, 1:-1, 1:-1] = (2 * total + 13) // 26
    return smoothed


def color(images: Array, factor: Array) -> Array:
    """A blend with the grey image (`ImageEnhance.Color`): array (N, C, H, W) of uint8, factor (N,) of float32."""
    return images if images.shape[1] == 1 else blend(luma(images), images, factor[:, None, None, None])


def sharpness(images: Array, factor: Array) -> Array:
    """A blend with the smoothed image (`ImageEnhance.Sharpness`): array (N, C, H, W) of uint8."""
    return blend(smooth(images), images, factor[:, None, None, None])
