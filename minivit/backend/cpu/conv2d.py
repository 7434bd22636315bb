"""Kernel of conv2d: image by image, so that the windows of one image stay in the cache between copy and product."""

from __future__ import annotations

from typing import Any

import numpy as np

Pair = tuple[int, int]


def accepts(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, *, stride: Pair, padding: Pair) -> bool:  # noqa: ARG001
    """float32 and float64."""
    return x.dtype in (np.float32, np.float64)


def forward(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, *, stride: Pair, padding: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """y[b] = W columns(x[b]) + bias, and the padded images.   x (B, C, H, W), weight (O, C, kh, kw)."""
    padded = _padded(x, padding)
    windows = _windows(padded, weight.shape[2:], stride)  # (B, C, kh, kw, H', W'), a view
    batch, rows, cols = x.shape[0], *windows.shape[4:]
    out_channels = weight.shape[0]
    flat = weight.reshape(out_channels, -1)  # (O, C kh kw)
    columns = np.empty(windows.shape[1:], x.dtype)
    y = np.empty((batch, out_channels, rows, cols), x.dtype)
    for image in range(batch):
        columns[...] = windows[image]
        product = y[image].reshape(out_channels, -1)  # (O, H' W')
        np.matmul(flat, columns.reshape(flat.shape[1], -1), out=product)
        if bias is not None:
            product += bias[:, None]
    return y, padded


def backward(
    dy: np.ndarray,
    saved: np.ndarray,
    x: Any,
    weight: np.ndarray,
    bias: Any,  # noqa: ARG001
    *,
    stride: Pair,
    padding: Pair,
    wanted: tuple[bool, ...],
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Gradients of x, weight and bias."""
    batch, out_channels, rows, cols = dy.shape
    flat = weight.reshape(out_channels, -1)
    windows = _windows(saved, weight.shape[2:], stride)
    dx_padded = np.zeros_like(saved) if wanted[0] else None
    dflat = np.zeros_like(flat) if wanted[1] else None
    dbias = np.zeros(out_channels, dy.dtype) if wanted[2] else None
    columns = np.empty(windows.shape[1:], dy.dtype)  # (C, kh, kw, H', W')
    matrix = columns.reshape(flat.shape[1], rows * cols)
    ones = np.ones(rows * cols, dy.dtype)
    for image in range(batch):
        g = np.ascontiguousarray(dy[image]).reshape(out_channels, -1)  # (O, H' W')
        if dflat is not None:
            columns[...] = windows[image]
            dflat += g @ matrix.T  # y = W columns
        if dbias is not None:
            dbias += g @ ones
        if dx_padded is not None:
            np.matmul(flat.T, g, out=matrix)  # each window's gradient, added back where the window was taken
            _add_windows(dx_padded[image], columns, stride)
    dx = None
    if dx_padded is not None:
        (top, left), (height, width) = padding, x.shape[2:]
        dx = dx_padded if padding == (0, 0) else dx_padded[:, :, top : top + height, left : left + width]
    return dx, None if dflat is None else dflat.reshape(weight.shape), dbias


def _padded(x: np.ndarray, padding: Pair) -> np.ndarray:
    if padding == (0, 0):
        return np.ascontiguousarray(x)
    b, c, h, w = x.shape
    padded = np.zeros((b, c, h + 2 * padding[0], w + 2 * padding[1]), x.dtype)
    padded[:, :, padding[0] : padding[0] + h, padding[1] : padding[1] + w] = x
    return padded


def _windows(x: np.ndarray, kernel_size: tuple[int, ...], stride: Pair) -> np.ndarray:
    """Every window as a view (B, C, kh, kw, H', W')."""
    (kh, kw), (sh, sw) = kernel_size, stride
    b, c, h, w = x.shape
    strides = x.strides
    return np.lib.stride_tricks.as_strided(
        x,
        (b, c, kh, kw, (h - kh) // sh + 1, (w - kw) // sw + 1),
        (*strides[:2], strides[2], strides[3], sh * strides[2], sw * strides[3]),
        writeable=False,
    )


def _add_windows(x: np.ndarray, windows: np.ndarray, stride: Pair) -> None:
    """x (C, H, W) += windows (C, kh, kw, H', W') where they were taken."""
    _, kh, kw, rows, cols = windows.shape
    sh, sw = stride
    for i in range(kh):
        for j in range(kw):
            x[:, i : i + sh * (rows - 1) + 1 : sh, j : j + sw * (cols - 1) + 1 : sw] += windows[:, i, j]
