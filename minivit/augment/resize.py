"""Resizing as two products with a matrix: one along the columns, one along the rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from minivit.backend import Array, array_module

INTERPOLATIONS = ("bilinear", "bicubic")


def resize(images: Array, size: int, interpolation: str = "bicubic") -> Array:
    """Resize images to squares as Pillow does, and as torchvision does with antialias.

    Images that get smaller are smoothed first: the kernel is as wide as an output pixel.

    Parameters
    ----------
    images : array (B, C, H, W)
        Bytes are rounded, and kept within 0..255, after the columns and after the rows, as in Pillow (whose fixed-point
        numbers round some halves differently); floats are interpolated as they are.
    size : int
        Pixels.
    interpolation : {"bicubic", "bilinear"}
        Bicubic is Keys' kernel with a = -1/2.

    Returns
    -------
    array (B, C, size, size) of the images' dtype

    Raises
    ------
    ValueError
        For another interpolation, a size below 1, or something other than images.
    """
    if images.ndim != 4:
        raise ValueError(f"resize: expected images (B, C, H, W), got {images.shape}")
    height, width = images.shape[2:]
    if height == width == size:
        return images
    options: dict[str, Any] = {"interpolation": interpolation, "a": -0.5, "antialias": True}
    rows, columns = (interpolation_matrix(old, size, **options) for old in (height, width))  # (S, H), (S, W)
    xp = array_module(images)
    if images.dtype != np.uint8:
        left, right = xp.asarray(rows.astype(images.dtype)), xp.asarray(columns.T.astype(images.dtype))
        return left @ (images @ right)  # (B, C, H, S) -> (B, C, S, S)
    left, right = xp.asarray(rows.astype(np.float32)), xp.asarray(columns.T.astype(np.float32))
    wide = xp.clip(xp.floor(images.astype(np.float32) @ right + 0.5), 0, 255)  # (B, C, H, S)
    return xp.clip(xp.floor(left @ wide + 0.5), 0, 255).astype(np.uint8)  # (B, C, S, S)


@cache
def interpolation_matrix(
    old: int,
    new: int,
    interpolation: str = "bilinear",
    *,
    align_corners: bool = False,
    antialias: bool = False,
    a: float = -0.75,
) -> np.ndarray:
    """What interpolation along one axis multiplies by, under the conventions of ``torch.nn.functional.interpolate``.

    Output i looks at the input coordinate ``(i + 1/2) old / new - 1/2``, so that both have the same borders; with
    `align_corners` at ``i (old - 1) / (new - 1)``, so that both have the same first and last sample.

    Parameters
    ----------
    old, new : int
        Samples before and after.
    interpolation : {"bilinear", "bicubic"}
        A triangle, or Keys' cubic kernel (1981, "Cubic convolution interpolation for digital image processing").
    align_corners : bool
        Not together with `antialias`.
    antialias : bool
        Where there are fewer samples afterwards, stretch the kernel to the width of a new one. At the border the
        weights inside are scaled up to a sum of 1; without it, the edge sample is repeated outside.
    a : float
        Slope of the cubic kernel at 1. PyTorch takes -3/4, with antialias -1/2, as Pillow.

    Returns
    -------
    ndarray of shape (new, old), float64, not to be written to
        Rows that sum to 1.

    Raises
    ------
    ValueError
        For another interpolation, sizes below 1, or two options that exclude each other.
    """
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"expected an interpolation of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")
    if old < 1 or new < 1:
        raise ValueError(f"resizing: expected sizes of at least 1, got {old} and {new}")
    if align_corners and antialias:
        raise ValueError("resizing: align_corners and antialias are conventions of different libraries; take one")
    kernel: Callable[[np.ndarray], np.ndarray] = triangle if interpolation == "bilinear" else lambda x: cubic(x, a)
    reach = 1 if interpolation == "bilinear" else 2
    if align_corners:
        centres = np.arange(new) * ((old - 1) / max(new - 1, 1))  # (new,)
    else:
        centres = (np.arange(new) + 0.5) * (old / new) - 0.5
    matrix = np.zeros((new, old))
    if antialias:
        stretch = max(1.0, old / new)
        matrix = kernel((np.arange(old) - centres[:, None]) / stretch)  # (new, old)
        matrix /= matrix.sum(1, keepdims=True)
    else:
        nearest = np.floor(centres).astype(np.int64)
        for offset in range(1 - reach, reach + 1):
            tap = nearest + offset
            np.add.at(matrix, (np.arange(new), np.clip(tap, 0, old - 1)), kernel(tap - centres))
    matrix.setflags(write=False)
    return matrix


def triangle(x: np.ndarray) -> np.ndarray:
    """1 - |x| where that is positive."""
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(x)))


def cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel: 1 at 0, 0 at the other whole numbers and from 2 on, with slope `a` at 1."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
