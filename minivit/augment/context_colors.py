"""What keeps colours from telling where in an image a patch lies (chromatic aberration), and standardised patches."""

from __future__ import annotations

import numpy as np

from minivit.augment.draws import below, unit
from minivit.backend import Array, array_module
from minivit.backend.random import random_bits

COLORS = ("drop", "project", "gray", "none")
GREEN_MAGENTA = (-1.0, 2.0, -1.0)
"""The axis along which chromatic aberration displaces colours, in red, green and blue (the paper's section 4.1)."""
LEVEL = 1 / 255
"""One step of a byte on the scale of 0 to 1."""


def drop_colors(patches: Array, *, seed: int, step: int, image_index: Array, per: str = "patch") -> Array:
    """Keep one random channel, minus its mean over the patch, and put noise of half a grey level into the others.

    As the authors' code does (github.com/cdoersch/deepcontext, train.py, prep_image): with one channel there is no
    displacement of another, and the noise takes from the network any unit that only looks at the others.

    Parameters
    ----------
    patches : array (B, n, C, p, p) of a float type
        On the scale where 1 is 255 grey levels.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    per : {"patch", "image"}
        Draw a channel for each patch, as the authors, or one for all patches of an image.

    Returns
    -------
    array (B, n, C, p, p) of the patches' dtype

    Raises
    ------
    ValueError, TypeError
        If the patches have another shape or type.
    """
    xp = array_module(patches)
    check_patches(patches, image_index)
    n, C, height, width = patches.shape[1:]
    drawn = below(random_bits(xp, seed, step, "context channel", image_index, _draws(per, n)), C)  # (B, n) or (B, 1)
    keeps = (drawn[:, :, None] == xp.arange(C))[..., None, None]  # (B, n or 1, C, 1, 1)
    words = random_bits(xp, seed, step, "context color noise", image_index, n * C * height * width)
    noise = (unit(words).reshape(patches.shape) - np.float32(0.5)) * np.float32(LEVEL)
    centred = patches - patches.mean(axis=(3, 4), keepdims=True)
    return xp.where(keeps, centred, noise.astype(patches.dtype))


def project_colors(patches: Array) -> Array:
    """Take from each pixel its part along the axis from green to magenta, a = (-1, 2, -1): x (I - a^T a / (a a^T)).

    The paper's other defence. What is left of a pixel lies in the plane orthogonal to a.

    Parameters
    ----------
    patches : array (..., 3, p, p) of a float type

    Returns
    -------
    array (..., 3, p, p) of the patches' dtype

    Raises
    ------
    ValueError
        If there are not three channels.
    """
    if patches.ndim < 3 or patches.shape[-3] != 3:
        raise ValueError(f"expected patches (..., 3, p, p) of red, green and blue, got {patches.shape}")
    red, green, blue = (patches[..., channel, :, :] for channel in range(3))
    # a is its own mirror image in red and blue, so both lose the same and green twice as much, the other way.
    along = (2 * green - red - blue) * (1 / 6)  # x a^T / (a a^T)
    return array_module(patches).stack([red + along, green - 2 * along, blue + along], axis=-3)


def gray_colors(
    patches: Array, probability: float = 0.66, *, seed: int, step: int, image_index: Array, per: str = "image"
) -> Array:
    """Replace the channels of some patches by their mean.

    What "Revisiting self-supervised visual representation learning" (Kolesnikov, Zhai & Beyer 2019, arXiv:1901.09005)
    trains context prediction with; its code takes the plain mean, of two images in three. Images left in colour keep
    their aberration.

    Parameters
    ----------
    patches : array (B, n, C, p, p) of a float type
    probability : float
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.
    per : {"patch", "image"}
        Draw for each patch, or for all patches of an image at once, as there.

    Returns
    -------
    array (B, n, C, p, p) of the patches' dtype

    Raises
    ------
    ValueError, TypeError
        If the patches have another shape or type, or the probability is none.
    """
    xp = array_module(patches)
    check_patches(patches, image_index)
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability from 0 to 1, got {probability}")
    drawn = unit(random_bits(xp, seed, step, "context gray", image_index, _draws(per, patches.shape[1])))
    gray = (drawn < probability)[:, :, None, None, None]  # (B, n or 1, 1, 1, 1)
    return xp.where(gray, patches.mean(axis=2, keepdims=True), patches)


def standardize_patches(patches: Array) -> Array:
    """Give each patch mean 0 and deviation 1, over all its channels: brightness and contrast tell no place.

    A patch that varies by less than a grey level is divided by a grey level, so that its rounding does not become its
    content. TensorFlow's `per_image_standardization` does the same with another least deviation.

    Parameters
    ----------
    patches : array (B, n, C, p, p) of a float type
        On the scale where 1 is 255 grey levels.

    Returns
    -------
    array (B, n, C, p, p) of the patches' dtype
    """
    xp = array_module(patches)
    centred = patches - patches.mean(axis=(2, 3, 4), keepdims=True)
    deviation = xp.sqrt((centred * centred).mean(axis=(2, 3, 4), keepdims=True))
    return centred / xp.maximum(deviation, patches.dtype.type(LEVEL))


def check_patches(patches: Array, image_index: Array) -> None:
    """Raise unless there are patches of a float type and an index for each image."""
    if patches.ndim != 5:
        raise ValueError(f"expected patches of shape (B, n, C, p, p), got {patches.shape}")
    if patches.dtype.kind != "f":
        raise TypeError(f"expected patches of a float type, got {patches.dtype}")
    if image_index.shape != patches.shape[:1]:
        raise ValueError(f"expected one image index for each of {patches.shape[0]} images, got {image_index.shape}")


def _draws(per: str, patches: int) -> int:
    if per not in ("patch", "image"):
        raise ValueError(f'expected per to be "patch" or "image", got {per!r}')
    return patches if per == "patch" else 1
