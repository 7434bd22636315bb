"""Batch normalisation: one pass over memory for both moments, one to normalise; two in the backward.

Channels lie last in memory, as in `conv2d`. Sums over rows are products with ones, in cache-sized pieces whose results
are added in float64. Where the batch is split over threads, each thread brings its count, mean and sum of squared
deviations, which combine to those of the whole (Chan, Golub & LeVeque 1979), and in the backward its two sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.backend.cpu.blocks import CHUNK_BYTES, Array, as_rows, column_sums, floats, pieces, unbuffered
from minivit.backend.cpu.rendezvous import BatchPart
from minivit.backend.pool import empty

INNER_LOOP = 2048
"""Numbers for which a ufunc's inner loop should run at a stretch: rows of few channels are laid side by side."""

keeps = ("x", "weight")
evaluation_keeps = ("x", "weight", "mean", "variance")


def accepts(x: Array, weight: Array | None, bias: Array | None, *, eps: float, part: BatchPart | None) -> bool:
    """float32 or float64."""
    return floats(x, weight, bias)


@unbuffered()
def forward(
    x: Array, weight: Array | None, bias: Array | None, *, eps: float, part: BatchPart | None
) -> tuple[Array, tuple[Any, ...]]:
    """y = (x - mean) r weight + bias, r = (variance + eps)^-1/2.   x (B, C, ...); weight, bias (C,) or None."""
    rows = channel_rows(x)  # (R, C)
    own = moments(rows)
    count, mean, squares = own if part is None else combined(part.gather(own, f"the moments of {x.shape[1]} channels"))
    variance = squares / count
    r = (variance + eps) ** -0.5
    y = normalized(rows, mean, r, weight, bias)
    return as_image(y, x.shape), (mean, r, (mean.astype(x.dtype), variance.astype(x.dtype), count))


@unbuffered()
def backward(
    dy: Array,
    saved: tuple[Any, ...],
    x: Array,
    weight: Array | None,
    bias: Any,
    *,
    wanted: tuple[bool, ...],
    eps: float,
    part: BatchPart | None,
) -> tuple[Array | None, Array | None, Array | None]:
    """dx = a (dy - mean(dy) - n mean(dy n)) with a = weight r and n = (x - mean) r: that is a dy + k x + c."""
    mean, r, (_, _, count) = saved
    rows, dy_rows = channel_rows(x), channel_rows(dy)  # (R, C)
    sum_dy, sum_dy_n = gradient_sums(dy_rows, rows, mean, r)
    dweight = sum_dy_n.astype(x.dtype) if wanted[1] else None
    dbias = sum_dy.astype(x.dtype) if wanted[2] else None
    if not wanted[0]:
        return None, dweight, dbias
    if part is not None:
        of_all = part.gather((sum_dy, sum_dy_n), f"the gradient sums of {x.shape[1]} channels")
        sum_dy, sum_dy_n = (sum(sums[1:], start=sums[0]) for sums in zip(*of_all, strict=True))
    a = r if weight is None else r * weight
    k = -a * r * sum_dy_n / count
    c = -a * sum_dy / count - k * mean
    dx = empty(rows.shape, x.dtype)
    dx_wide, dy_wide, x_wide, a, k, c = side_by_side(dx, dy_rows, rows, a, k, c)
    for piece in row_pieces(dx_wide):
        dx_part = dx_wide[piece]
        np.multiply(x_wide[piece], k, out=dx_part)
        dx_part += np.multiply(dy_wide[piece], a, out=empty(dx_part.shape, x.dtype))
        dx_part += c
    return as_image(dx, x.shape), dweight, dbias


def evaluation_accepts(
    x: Array, weight: Array | None, bias: Array | None, mean: Array, variance: Array, *, eps: float
) -> bool:
    """float32 or float64."""
    return floats(x, weight, bias, mean, variance)


@unbuffered()
def evaluation_forward(
    x: Array, weight: Array | None, bias: Array | None, mean: Array, variance: Array, *, eps: float
) -> tuple[Array, None]:
    """The same with a given mean and variance (C,)."""
    r = (variance.astype(np.float64) + eps) ** -0.5
    return as_image(normalized(channel_rows(x), mean.astype(np.float64), r, weight, bias), x.shape), None


@unbuffered()
def evaluation_backward(
    dy: Array,
    saved: None,
    x: Array,
    weight: Array | None,
    bias: Any,
    mean: Array,
    variance: Array,
    *,
    wanted: tuple[bool, ...],
    eps: float,
) -> tuple[Array | None, ...]:
    """dx = dy weight r."""
    r = (variance.astype(np.float64) + eps) ** -0.5
    dy_rows = channel_rows(dy)  # (R, C)
    dx = dweight = dbias = None
    if wanted[0]:
        no_shift = np.zeros(r.shape)
        dx = as_image(normalized(dy_rows, no_shift, r, weight, None), x.shape)
    if wanted[1]:
        sum_dy, sum_dy_n = gradient_sums(dy_rows, channel_rows(x), mean.astype(np.float64), r)
        dweight, dbias = sum_dy_n.astype(x.dtype), sum_dy.astype(x.dtype)
    elif wanted[2]:
        dbias = column_sums(dy_rows)
    return dx, dweight, dbias if wanted[2] else None, None, None


def channel_rows(x: Array) -> Array:
    """(B, C, ...) -> (R, C), C-contiguous: no copy where the channels lie last in memory."""
    return as_rows(np.moveaxis(x, 1, -1))


def as_image(rows: Array, shape: tuple[int, ...]) -> Array:
    """(R, C) -> (B, C, ...), a view."""
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def side_by_side(*arrays: Array) -> list[Array]:
    """Rows (R, C) as (R / s, s C), s of them beside each other; numbers for each channel (C,) repeated to (s C,)."""
    rows, channels = arrays[0].shape
    s = 1
    while s * channels < INNER_LOOP and rows % (2 * s) == 0:
        s *= 2
    dtype = arrays[0].dtype
    return [
        array.reshape(rows // s, s * channels) if array.ndim == 2 else np.tile(array, s).astype(dtype)
        for array in arrays
    ]


def row_pieces(rows: Array) -> Any:
    """Slices of rows that fit the cache."""
    return pieces(rows.shape[0], rows.shape[1] * rows.itemsize, CHUNK_BYTES)


def moments(rows: Array) -> tuple[int, Array, Array]:
    """R, the mean (C,) and the sum of squared deviations (C,) of rows (R, C), in float64.

    In one pass, as the sums of d and d^2, d = x - center. A center that is near the mean keeps the difference of the
    two from cancelling: it is the mean of some rows from all over.
    """
    count, channels = rows.shape
    center = rows[:: max(1, count // 256)].mean(axis=0, dtype=np.float64).astype(rows.dtype)
    wide, center_wide = side_by_side(rows, center)
    sums = np.zeros((2, wide.shape[1]))
    for piece in row_pieces(wide):
        part = wide[piece]
        d = np.subtract(part, center_wide, out=empty(part.shape, rows.dtype))
        sums[0] += column_sums(d)
        sums[1] += column_sums(np.multiply(d, d, out=d))
    first, second = sums.reshape(2, -1, channels).sum(axis=1)  # (C,)
    return count, center + first / count, second - first * first / count


def combined(parts: list[tuple[int, Array, Array]]) -> tuple[int, Array, Array]:
    """The moments of several sets of rows together, from those of each."""
    count = sum(number for number, _, _ in parts)
    mean = sum((number * own for number, own, _ in parts[1:]), start=parts[0][0] * parts[0][1]) / count
    squares = np.zeros_like(mean)
    for number, own, own_squares in parts:
        squares += own_squares + number * (own - mean) ** 2
    return count, mean, squares


def normalized(rows: Array, mean: Array, r: Array, weight: Array | None, bias: Array | None) -> Array:
    """(x - mean) r weight + bias, as x scale + shift."""
    scale = r if weight is None else r * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    y = empty(rows.shape, rows.dtype)
    y_wide, x_wide, scale, shift = side_by_side(y, rows, scale, shift)
    for piece in row_pieces(y_wide):
        y_part = y_wide[piece]
        np.multiply(x_wide[piece], scale, out=y_part)
        y_part += shift
    return y


def gradient_sums(dy: Array, rows: Array, mean: Array, r: Array) -> tuple[Array, Array]:
    """Each channel's sums of dy and of dy n, n = (x - mean) r, in float64."""
    channels = rows.shape[1]
    x_wide, dy_wide, mean_wide = side_by_side(rows, dy, mean)
    sums = np.zeros((2, x_wide.shape[1]))
    for piece in row_pieces(x_wide):
        x_part, dy_part = x_wide[piece], dy_wide[piece]
        product = np.subtract(x_part, mean_wide, out=empty(x_part.shape, rows.dtype))
        product *= dy_part
        sums[0] += column_sums(dy_part)
        sums[1] += column_sums(product)
    sum_dy, sum_dy_centered = sums.reshape(2, -1, channels).sum(axis=1)  # (C,)
    return sum_dy, sum_dy_centered * r
