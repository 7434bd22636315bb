"""Convolution as matrix products over the windows of a few image rows at a time.

Channels lie last in memory here: an array of shape (B, C, H, W) that a kernel returns is a view of one of shape
(B, H, W, C). A window is then kh contiguous runs of kw C numbers, quick to copy; a bias is added along contiguous
memory, max pooling compares contiguous runs, and flattening the result to tokens (B, H W, C) costs nothing. Inputs may
come in either layout.

The transposed convolution is the same computation with forward and backward exchanged.

A 3x3 kernel of stride 1 with many channels goes to `winograd`, which needs less than half of the arithmetic.

With stride 1, the gradient of the input is itself a convolution, of dy with the flipped kernel; and the windows of dy
made for it serve the gradient of the weight too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minivit.backend.cpu import winograd
from minivit.backend.cpu.blocks import Array, channels_first, channels_last, column_sums, floats, padded, pieces
from minivit.backend.pool import empty

Pair = tuple[int, int]

COLUMN_BYTES = 1 << 20
"""Bytes of windows laid out at once: they stay in the cache between the copy and the product."""

keeps = ("x", "weight")


def accepts(x: Array, weight: Array, bias: Array | None, *, stride: Pair, padding: Pair) -> bool:
    """float32 or float64."""
    return floats(x, weight, bias)


def forward(x: Array, weight: Array, bias: Array | None, *, stride: Pair, padding: Pair) -> tuple[Array, None]:
    """y[b] = W columns(x[b]) + bias.   x (B, C, H, W), weight (O, C, kh, kw), bias (O,) or None."""
    outputs, C, kh, kw = weight.shape
    size = output_size((x.shape[2], x.shape[3]), (kh, kw), stride, padding)
    y = empty((x.shape[0], *size, outputs), x.dtype)  # (B, H', W', O)
    if winograd.suits(weight.shape, stride, padding, size):
        winograd.forward(channels_last(x), weight, bias, padding, y)
        return channels_first(y), None
    kernel = np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).reshape(kh * kw * C, outputs)
    for tile, windows in tiles_of_windows(channels_last(x), (kh, kw), stride, padding, at_least=outputs):
        part = as_pixels(y[tile])
        np.matmul(columns(windows), kernel, out=part)
        if bias is not None:
            part += bias
    return channels_first(y), None


def backward(
    dy: Array,
    saved: None,
    x: Array,
    weight: Array,
    bias: Any,
    *,
    wanted: tuple[bool, ...],
    stride: Pair,
    padding: Pair,
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of x, weight and bias."""
    x, dy = channels_last(x), np.ascontiguousarray(channels_last(dy))  # (B, H, W, C), (B, H', W', O)
    kh, kw = weight.shape[2:]
    dbias = column_sums(dy.reshape(-1, dy.shape[-1])) if wanted[2] else None
    if not wanted[0]:
        return None, weight_gradient(dy, x, (kh, kw), stride, padding) if wanted[1] else None, dbias
    if stride == (1, 1) and padding[0] < kh and padding[1] < kw:
        dx, dweight = gradients_from_windows_of_dy(dy, x.shape, weight, padding, x if wanted[1] else None)
    else:
        dweight = weight_gradient(dy, x, (kh, kw), stride, padding) if wanted[1] else None
        dx = input_gradient(dy, x.shape, weight, stride, padding)
    return channels_first(dx), dweight, dbias


def transpose_accepts(
    x: Array, weight: Array, bias: Array | None, *, stride: Pair, padding: Pair, output_padding: Pair
) -> bool:
    """float32 or float64."""
    return floats(x, weight, bias)


def transpose_forward(
    x: Array, weight: Array, bias: Array | None, *, stride: Pair, padding: Pair, output_padding: Pair
) -> tuple[Array, None]:
    """y = what a convolution's backward makes of dy = x.   x (B, C, H, W), weight (C, O, kh, kw), bias (O,) or None."""
    dy = np.ascontiguousarray(channels_last(x))  # (B, H, W, C)
    outputs, kh, kw = weight.shape[1:]
    (height, width), (sh, sw), (top, left), (below, right) = dy.shape[1:3], stride, padding, output_padding
    rows = sh * (height - 1) + kh - 2 * top + below
    cols = sw * (width - 1) + kw - 2 * left + right
    if stride == (1, 1) and top < kh and left < kw:
        y, _ = gradients_from_windows_of_dy(dy, (x.shape[0], rows, cols, outputs), weight, padding)
    else:
        y = input_gradient(dy, (x.shape[0], rows, cols, outputs), weight, stride, padding)  # (B, H', W', O)
    if bias is not None:
        for piece in pieces(rows, max(1, x.shape[0] * cols * outputs * y.itemsize)):
            y[:, piece] += bias
    return channels_first(y), None


def transpose_backward(
    dy: Array,
    saved: None,
    x: Array,
    weight: Array,
    bias: Any,
    *,
    wanted: tuple[bool, ...],
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
) -> tuple[Array | None, Array | None, Array | None]:
    """dx = the convolution of dy; dweight = a convolution's with x and dy in exchanged places."""
    dy_last = np.ascontiguousarray(channels_last(dy))  # (B, H', W', O)
    dx = dweight = dbias = None
    if wanted[0]:
        dx, _ = forward(channels_first(dy_last), weight, None, stride=stride, padding=padding)
    if wanted[1]:
        x_last = np.ascontiguousarray(channels_last(x))
        dweight = weight_gradient(x_last, dy_last, weight.shape[2:], stride, padding)
    if wanted[2]:
        dbias = column_sums(dy_last.reshape(-1, dy_last.shape[-1]))
    return dx, dweight, dbias


def gradients_from_windows_of_dy(
    dy: Array, shape: tuple[int, ...], weight: Array, padding: Pair, x: Array | None = None
) -> tuple[Array, Array | None]:
    """Stride 1: dx = the convolution of dy with the flipped kernel, dweight = x^T (windows of dy), flipped.

    y[p] = sum_t x[p + t - padding] w[t], so dx[q] = sum_t dy[q + padding - t] w[t] and
    dw[t] = sum_q x[q] dy[q + padding - t]. With t = k - 1 - u, dy[q + u - (k - 1 - padding)] is place u of a window of
    dy at q.
    """
    outputs, C, kh, kw = weight.shape
    if winograd.suits(weight.shape, (1, 1), padding, (shape[1], shape[2])):
        dx = empty(shape, dy.dtype)  # (B, H, W, C)
        return dx, winograd.backward(dy, weight, padding, dx, x)
    flipped = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)).reshape(kh * kw * outputs, C)
    dx = empty(shape, dy.dtype)  # (B, H, W, C)
    dflipped = None if x is None else np.zeros((C, kh * kw * outputs), dy.dtype)
    product = empty((C, kh * kw * outputs), dy.dtype)
    missing = (kh - 1 - padding[0], kw - 1 - padding[1])
    for tile, windows in tiles_of_windows(dy, (kh, kw), (1, 1), missing, at_least=C):
        cols = columns(windows)
        np.matmul(cols, flipped, out=as_pixels(dx[tile]))
        if x is not None:
            dflipped += np.matmul(as_pixels(x[tile]).T, cols, out=product)
    if dflipped is None:
        return dx, None
    return dx, dflipped.reshape(C, kh, kw, outputs)[:, ::-1, ::-1].transpose(3, 0, 1, 2)  # (O, C, kh, kw)


def weight_gradient(dy: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Pair) -> Array:
    """dW = columns(x)^T dy."""
    (kh, kw), C, outputs = kernel_size, x.shape[-1], dy.shape[-1]
    total = np.zeros((kh * kw * C, outputs), x.dtype)
    product = empty(total.shape, x.dtype)
    for tile, windows in tiles_of_windows(x, kernel_size, stride, padding, at_least=outputs):
        total += np.matmul(columns(windows).T, as_pixels(dy[tile]), out=product)
    return total.reshape(kh, kw, C, outputs).transpose(3, 2, 0, 1)  # (O, C, kh, kw)


def input_gradient(dy: Array, shape: tuple[int, ...], weight: Array, stride: Pair, padding: Pair) -> Array:
    """dcolumns = dy W, each window's part added back where the window was taken.   Any stride."""
    (_, H, W, C), (outputs, _, kh, kw), (sh, sw), (top, left) = shape, weight.shape, stride, padding
    kernel = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(outputs, kh * kw * C)
    dx = empty(shape, dy.dtype)
    windows = (*dy.shape[:3], kh, kw * C)
    for images, parts in tiles(windows, dy.itemsize, at_least=outputs):
        with_border = empty((dx[images].shape[0], H + 2 * top, W + 2 * left, C), dy.dtype)
        with_border.fill(0)
        for rows in parts:
            part = dy[images, rows]  # (b, r, W', O)
            dcolumns = np.matmul(as_pixels(part), kernel).reshape(*part.shape[:3], kh, kw, C)
            first, count, width = rows.start * sh, part.shape[1], part.shape[2]
            for i in range(kh):
                for j in range(kw):
                    place = with_border[:, first + i :, j:][:, : sh * count : sh, : sw * width : sw]
                    place += dcolumns[:, :, :, i, j]
        dx[images] = with_border[:, top : top + H, left : left + W]
    return dx


def output_size(size: Pair, kernel_size: Pair, stride: Pair, padding: Pair) -> Pair:
    """(H, W) -> (H', W')."""
    rows, cols = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(size, kernel_size, stride, padding, strict=True))
    return rows, cols


def windows_of(x: Array, kernel_size: tuple[int, ...], stride: Pair) -> Array:
    """Every window of x (B, H, W, C), C-contiguous, as a view (B, H', W', kh, kw C)."""
    (kh, kw), (sh, sw) = kernel_size, stride
    B, H, W, C = x.shape
    number, pixel, row = x.itemsize, C * x.itemsize, W * C * x.itemsize  # NumPy's own are any, along an axis of one
    image = H * row
    shape = (B, (H - kh) // sh + 1, (W - kw) // sw + 1, kh, kw * C)
    return np.lib.stride_tricks.as_strided(x, shape, (image, sh * row, sw * pixel, row, number), writeable=False)


def columns(windows: Array) -> Array:
    """(b, r, W', kh, kw C) -> (b r W', kh kw C), C-contiguous."""
    b, r, w, kh, run = windows.shape
    if kh == 1 and windows.flags.c_contiguous:
        return windows.reshape(b * r * w, run)
    out = empty(windows.shape, windows.dtype)
    np.copyto(out, windows)
    return out.reshape(b * r * w, kh * run)


def as_pixels(x: Array) -> Array:
    """(b, r, w, C) -> (b r w, C), C-contiguous: a view of a tile of a contiguous array."""
    b, r, w, C = x.shape
    return np.ascontiguousarray(x).reshape(b * r * w, C)


def tiles_of_windows(
    x: Array, kernel_size: Pair, stride: Pair, padding: Pair, at_least: int
) -> Iterator[tuple[tuple[slice, slice], Array]]:
    """The tiles of an output, and the windows of x (B, H, W, C) for each: (b, r, W', kh, kw C).

    A few images at a time get their border, which stays in the cache.
    """
    rows, cols = output_size((x.shape[1], x.shape[2]), kernel_size, stride, padding)
    shape = (x.shape[0], rows, cols, kernel_size[0], kernel_size[1] * x.shape[3])
    for images, parts in tiles(shape, x.itemsize, at_least):
        windows = windows_of(padded(x[images], padding), kernel_size, stride)
        for part in parts:
            yield (images, part), windows[:, part]


def tiles(shape: tuple[int, ...], itemsize: int, at_least: int) -> Iterator[tuple[slice, list[slice]]]:
    """Slices of images, each with slices of output rows, whose windows (B, H', W', kh, kw C) take about COLUMN_BYTES.

    But at least so many windows, if there are: a product of few rows spends its time on packing a large kernel.
    """
    B, rows, width, kh, run = shape
    per_row = max(1, width * kh * run * itemsize)
    target = max(COLUMN_BYTES, at_least * kh * run * itemsize)
    parts = list(pieces(rows, per_row, target))
    for images in pieces(B, per_row * rows, target):
        yield images, parts
