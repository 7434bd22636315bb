"""Affine transforms of batches of bytes, in the arithmetic of Pillow.

A matrix (a, b, c, d, e, f) says where an output pixel comes from: the one in column x and row y from column
``a x + b y + c`` and row ``d x + e y + f``, in coordinates where a pixel's centre lies at its number plus one half
(`Image.transform` with `Transform.AFFINE`; src/libImaging/Geometry.c).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minivit.augment.randaugment.paint import paint
from minivit.backend import Array, array_module

Matrix = tuple[float, float, float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def rotation(degrees: float, height: int, width: int) -> Matrix:
    """The matrix of a rotation about the centre, counter-clockwise, as `Image.rotate` computes it."""
    angle = -math.radians(degrees % 360.0)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    x, y = width / 2, height / 2
    return cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y


def fixed_point(matrices: np.ndarray) -> np.ndarray:
    """Matrices (R, 6) in units of 2**-16, with the half pixels added to c and f: array (R, 6) of int32."""
    a, b, c, d, e, f = np.asarray(matrices, np.float64).T
    parts = a, b, c + a * 0.5 + b * 0.5, d, e, f + d * 0.5 + e * 0.5
    return np.floor(np.stack(parts, axis=-1) * 65536.0 + 0.5).astype(np.int32)


def nearest(images: Array, matrices: Array, fill: Array) -> Array:
    """Each output pixel is the input pixel that its centre falls into.

    Parameters
    ----------
    images : array (N, C, H, W) of uint8
    matrices : array (N, 6) of int32
        Rows of `fixed_point`. Pillow steps through the image in this fixed-point arithmetic, so the result is its, bit
        for bit.
    fill : array (C,) of uint8
        What comes from outside the image.

    Returns
    -------
    array (N, C, H, W) of uint8
    """
    xp = array_module(images)
    N, C, H, W = images.shape
    x, y = xp.arange(W, dtype=np.int32), xp.arange(H, dtype=np.int32)[:, None]
    a, b, c, d, e, f = (matrices[:, k, None, None] for k in range(6))
    column = (a * x + (b * y + c)) >> 16  # (N, H, W)
    row = (d * x + (e * y + f)) >> 16
    inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
    pixel = xp.where(inside, row * np.int32(W) + column, np.int32(0)).reshape(N, 1, H * W)
    plane = (xp.arange(N * C) * (H * W)).reshape(N, C, 1)
    moved = images.reshape(-1).take(plane + pixel).reshape(N, C, H, W)
    paint(moved, ~inside[:, None], fill)
    return moved


def interpolated(images: Array, matrices: Array, fill: Array, *, cubic: bool) -> Array:
    """Each output pixel is interpolated between the 2x2 or 4x4 input pixels around the place it comes from.

    Parameters
    ----------
    images : array (N, C, H, W) of uint8
    matrices : array (N, 6) of float64
        Pillow keeps the places and the weights in float64 and cuts the result off to an integer, and so does this:
        float32 would often land one level lower.
    fill : array (C,) of uint8
        What comes from outside the image.
    cubic : bool
        Bicubic (the cubic convolution whose free parameter is -1) instead of bilinear.

    Returns
    -------
    array (N, C, H, W) of uint8
    """
    xp = array_module(images)
    N, C, H, W = images.shape
    x, y = xp.arange(W) + 0.5, (xp.arange(H) + 0.5)[:, None]
    a, b, c, d, e, f = (matrices[:, k, None, None] for k in range(6))
    column, row = a * x + b * y + c, d * x + e * y + f  # (N, H, W)
    inside = (column >= 0) & (column < W) & (row >= 0) & (row < H)
    column, row = xp.where(inside, column, 0.5) - 0.5, xp.where(inside, row, 0.5) - 0.5
    left, top = xp.floor(column), xp.floor(row)
    dx, dy = (column - left).reshape(N, 1, H * W), (row - top).reshape(N, 1, H * W)
    left, top = left.astype(np.int64).reshape(N, 1, H * W), top.astype(np.int64).reshape(N, 1, H * W)
    plane = (xp.arange(N * C) * (H * W)).reshape(N, C, 1)
    pixels = images.reshape(-1)
    offsets = range(-1, 3) if cubic else range(2)
    blend = _cubic if cubic else _linear

    def along_row(offset: int) -> Array:
        start = plane + (top + offset).clip(0, H - 1) * W  # (N, C, H W)
        return blend([pixels.take(start + (left + k).clip(0, W - 1)).astype(np.float64) for k in offsets], dx)

    values = blend([along_row(k) for k in offsets], dy).clip(0, 255).astype(np.uint8).reshape(N, C, H, W)
    paint(values, ~inside[:, None], fill)
    return values


def _linear(points: Sequence[Array], t: Array) -> Array:
    before, after = points
    return before + (after - before) * t


def _cubic(points: Sequence[Array], t: Array) -> Array:
    p, q, r, s = points
    return q + t * (-p + r + t * (2 * (p - q) + r - s + t * (-p + q - r + s)))
