"""The squares that cutouts leave out."""

from __future__ import annotations

import numpy as np

from minivit.augment.draws import below
from minivit.backend import Array, array_module


def centered_square(words: Array, size: Array | int, height: int, width: int) -> Array:
    """UDA's: ``2 * (size // 2)`` pixels around a pixel of the image, cut off at its edges.

    Parameters
    ----------
    words : array (B, 2) of uint32
        Random words, for the row and the column of the pixel: the first of the square's second half.
    size : array (B,) of int32, or int
    height, width : int

    Returns
    -------
    array (B, 1, height, width) of bool
    """
    half = size // 2
    spans = [_span(below(words[:, k], side) - half, 2 * half, side) for k, side in enumerate((height, width))]
    return spans[0][:, None, :, None] & spans[1][:, None, None, :]


def filled_square(words: Array, size: int, height: int, width: int) -> Array:
    """FixMatch's, as `PIL.ImageDraw` fills it: one pixel more than `size`.

    Drawn around a place of the image and pushed in at the top and the left, cut off at the bottom and the right.

    Parameters
    ----------
    words : array (B, 2) of uint32
    size, height, width : int

    Returns
    -------
    array (B, 1, height, width) of bool
    """
    spans = []
    for k, side in enumerate((height, width)):
        # The place is any number from 0 to the side. Only the half pixel it falls into matters: first is the whole
        # number below place - size / 2.
        first = (below(words[:, k], 2 * side) - size) // 2
        spans.append(_span(first * (first > 0), size + 1, side))
    return spans[0][:, None, :, None] & spans[1][:, None, None, :]


def _span(first: Array, length: Array | int, side: int) -> Array:
    """Where a stretch of `length` pixels from `first` on is: array (B, side) of bool."""
    xp = array_module(first)
    offset = xp.arange(side, dtype=np.int32) - first[:, None]
    return (offset >= 0) & (offset < (length if isinstance(length, int) else length[:, None]))
