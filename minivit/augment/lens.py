"""What a simple lens does to a picture: it enlarges one colour a little more than another (chromatic aberration)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivit.backend import Array, array_module


def lens(images: Array, side: int, magnification: Sequence[float], blur: float = 0.8) -> Array:
    """See images through a lens that magnifies each colour channel by a factor of its own about the middle.

    A pixel of the result is a mean of the image's pixels, weighted by a normal distribution around the place that the
    lens shows there. It is as wide everywhere, so that sharpness tells nothing of the place; what tells it is the
    displacement of one channel against another, which grows from the middle to the edge and points outwards.

    Parameters
    ----------
    images : array (B, C, H, H) of uint8
    side : int
        Of the result, in pixels.
    magnification : sequence of C floats
        1 is as large as the image. A channel that is magnified less shows, beyond the image, its edge.
    blur : float
        Standard deviation of the distribution, in pixels of `images`. Below about 0.8 one sees their grid.

    Returns
    -------
    array (B, C, side, side) of uint8

    Raises
    ------
    ValueError
        If the images are not square, there is not one magnification for each channel, or a number is not positive.
    TypeError
        If the images are not uint8.
    """
    if images.dtype != np.uint8:
        raise TypeError(f"expected images of uint8, got {images.dtype}")
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"expected square images (B, C, H, H), got {images.shape}")
    if len(magnification) != images.shape[1]:
        raise ValueError(f"expected a magnification for each of {images.shape[1]} channels, got {len(magnification)}")
    if side < 1 or blur <= 0 or min(magnification) <= 0:
        raise ValueError(f"side, magnification and blur must be positive, got {side}, {magnification} and {blur}")
    xp = array_module(images)
    H = images.shape[2]
    weights = np.stack([lens_matrix(H, side, factor, blur) for factor in magnification])  # (C, side, H)
    matrix = xp.asarray(weights.astype(np.float32))
    seen = xp.matmul(xp.matmul(matrix, images.astype(np.float32)), matrix.swapaxes(1, 2))  # (B, C, side, side)
    return xp.rint(seen).astype(np.uint8)


def lens_matrix(source: int, target: int, magnification: float, blur: float) -> np.ndarray:
    """The weights (target, source) of `source` pixels in a line in each of `target`, which add up to 1."""
    from_middle = (np.arange(target) + 0.5 - target / 2) * source / target / magnification
    place = np.clip(source / 2 + from_middle - 0.5, 0, source - 1)
    weights = np.exp(-0.5 * ((np.arange(source) - place[:, None]) / blur) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
