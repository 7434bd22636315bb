"""Moving pixels: every crop, shift and flip is a choice of source rows and columns, and one gather."""

from __future__ import annotations

from typing import Any

from minivit.backend import Array


def window(xp: Any, offset: Array, size: int, mode: str) -> Array:
    """Where the pixels of a shifted window come from, along one side.

    Parameters
    ----------
    xp : module
    offset : array (B,) of int64
        Position of the window's first pixel in the image; negative or beyond its end where padding is.
    size : int
        Pixels of the side.
    mode : {"reflect", "zero"}
        What lies outside: the image mirrored at its edge pixels (which are not repeated), or nothing.

    Returns
    -------
    array (B, size) of int64
        Source positions; -1 where nothing is.
    """
    source = offset[:, None] + xp.arange(size)  # (B, size)
    if mode == "reflect":
        return (size - 1) - abs((size - 1) - abs(source))
    return xp.where((source >= 0) & (source < size), source, -1)


def gather(images: Array, rows: Array, columns: Array, xp: Any, fill: float | None = None) -> Array:
    """``output[b, c, i, j] = images[b, c, rows[b, i], columns[b, j]]``, and `fill` where either is -1.

    Parameters
    ----------
    images : array (B, C, H, W)
    rows : array (B, H') of int64
    columns : array (B, W') of int64
    xp : module
    fill : float, optional
        Without it, no position may be -1.

    Returns
    -------
    array (B, C, H', W') of the images' dtype
    """
    B, C, H, W = images.shape
    pixel = (rows[:, :, None] * W + columns[:, None, :]).reshape(B, 1, -1)  # (B, 1, H' W')
    plane = (xp.arange(B * C) * (H * W)).reshape(B, C, 1)
    moved = images.reshape(-1).take(plane + pixel).reshape(B, C, rows.shape[1], columns.shape[1])
    if fill is None:
        return moved
    inside = (rows >= 0)[:, None, :, None] & (columns >= 0)[:, None, None, :]  # (B, 1, H', W')
    return xp.where(inside, moved, images.dtype.type(fill))
