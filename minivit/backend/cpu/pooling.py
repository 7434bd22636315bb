"""Max and average pooling, with channels last in memory (see `conv2d`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minivit.backend.cpu.blocks import Array, channels_first, channels_last, floats, padded, pieces
from minivit.backend.pool import empty

Pair = tuple[int, int]


def accepts(x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair) -> bool:
    """float32 or float64."""
    return floats(x) and kernel_size[0] * kernel_size[1] < 256


def max_forward(x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """y = the largest of each window; saved: which of the window's places it came from, the first among equals.

    x (B, C, H, W) -> y (B, C, H', W'); the padding counts as -infinity.
    """
    (_, first), *others = places(padded(channels_last(x), padding, -np.inf), kernel_size, stride)
    y = empty(first.shape, x.dtype)  # (B, H', W', C)
    winner = empty(first.shape, np.uint8)
    for part in images(y):
        best, place = y[part], winner[part]
        larger, number = empty(best.shape, np.bool_), empty(best.shape, np.uint8)
        best[...] = first[part]
        place[...] = 0
        for t, view in others:
            np.greater(view[part], best, out=larger)
            np.maximum(view[part], best, out=best)
            np.multiply(larger.view(np.uint8), np.uint8(t), out=number)
            np.maximum(place, number, out=place)  # places come in ascending order
    return channels_first(y), winner


def max_backward(
    dy: Array, saved: Array, x: Any, *, wanted: tuple[bool, ...], kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[Array]:
    """dx = dy where the maximum was taken, 0 elsewhere."""
    dy, winner = channels_last(dy), saved  # (B, H', W', C)

    def share(part: slice, t: int, out: Array) -> None:
        np.multiply(dy[part], np.equal(winner[part], np.uint8(t)), out=out)

    return (spread(share, dy, x.shape, kernel_size, stride, padding),)


def avg_forward(x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair) -> tuple[Array, None]:
    """y = the mean of each window, zeros of the padding included.   (B, C, H, W) -> (B, C, H', W')."""
    (_, first), *others = places(padded(channels_last(x), padding), kernel_size, stride)
    y = empty(first.shape, x.dtype)  # (B, H', W', C)
    for part in images(y):
        total = y[part]
        total[...] = first[part]
        for _, view in others:
            total += view[part]
        total *= 1 / (kernel_size[0] * kernel_size[1])
    return channels_first(y), None


def avg_backward(
    dy: Array, saved: None, x: Any, *, wanted: tuple[bool, ...], kernel_size: Pair, stride: Pair, padding: Pair
) -> tuple[Array]:
    """dx = dy / (kh kw), for each window that a pixel lies in."""
    dy = channels_last(dy)

    def share(part: slice, t: int, out: Array) -> None:
        np.multiply(dy[part], 1 / (kernel_size[0] * kernel_size[1]), out=out)

    return (spread(share, dy, x.shape, kernel_size, stride, padding),)


def spread(
    share: Callable[[slice, int, Array], None],
    dy: Array,
    shape: tuple[int, ...],
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
) -> Array:
    """dx (B, C, H, W), where place t of every window gets what `share(images, t, out)` writes to `out`."""
    B, C, H, W = shape
    (kh, kw), (sh, sw), (top, left) = kernel_size, stride, padding
    dx = empty((B, H + 2 * top, W + 2 * left, C), dy.dtype)
    apart = kh <= sh and kw <= sw  # no pixel lies in two windows
    if not (apart and stride == kernel_size and dx.shape[1] % sh == dx.shape[2] % sw == 0):
        dx.fill(0)
    views = list(places(dx, kernel_size, stride))
    for part in images(dy):
        for t, view in views:
            if apart:
                share(part, t, view[part])
            else:
                scratch = empty(view[part].shape, dy.dtype)
                share(part, t, scratch)
                view[part] += scratch
    return channels_first(dx[:, top : top + H, left : left + W])


def places(x: Array, kernel_size: Pair, stride: Pair) -> Iterator[tuple[int, Array]]:
    """The places of a window in reading order: their number, and the pixel there of every window (B, H', W', C)."""
    (kh, kw), (sh, sw) = kernel_size, stride
    rows, cols = (x.shape[1] - kh) // sh + 1, (x.shape[2] - kw) // sw + 1
    for t in range(kh * kw):
        i, j = divmod(t, kw)
        yield t, x[:, i : i + sh * (rows - 1) + 1 : sh, j : j + sw * (cols - 1) + 1 : sw]


def images(y: Array) -> Iterator[slice]:
    """A few images at a time, so that a pass finds in the cache what the last one left."""
    return pieces(y.shape[0], y[:1].nbytes)
