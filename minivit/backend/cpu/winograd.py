"""3x3 convolution of stride 1 with 4 multiplications for 9: Lavin & Gray 2016 (arXiv:1509.09308), F(2x2, 3x3).

A tile of 2x2 outputs looks at 4x4 inputs d. Their section 4.1: Y = A^T [(G g G^T) * (B^T d B)] A, where * goes entry by
entry; summed over channels that makes a matrix product for each of the 16 entries. B and A hold 0, 1 and -1 alone, so
the transforms are sums of slices, and the products take 16/36 of the arithmetic of a product with windows.

Both gradients use the transformed tiles of dy: that of the input is a convolution of dy with the flipped kernel, and
that of the kernel is the adjoint of the same formula, dg = G^T [sum over tiles of (B^T dy B) * (A x A^T)] G, flipped.

Arrays are (B, H, W, C), C-contiguous, as everywhere in `conv2d`; transformed tiles are (4, 4, b, H'/2, W'/2, C).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minivit.backend.cpu.blocks import Array, unbuffered
from minivit.backend.pool import empty

Pair = tuple[int, int]

CHANNELS = 32
"""With fewer, the transforms cost more than the products save."""

TILES = 256
"""At least so many in a product, if there are: it then spends little of its time on packing the kernel."""

G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
"""Of the kernel. Flipping the kernel exchanges the first and the last row of G g."""

DIFFERENCES = ((np.subtract, 0, 2), (np.add, 1, 2), (np.subtract, 2, 1), (np.subtract, 1, 3))
"""The rows of B^T: d0 - d2, d1 + d2, d2 - d1, d1 - d3."""


def suits(weight_shape: tuple[int, ...], stride: Pair, padding: Pair, output_size: Pair) -> bool:
    """Whether a convolution with weight (O, C, kh, kw) to (B, O, H', W') falls into tiles."""
    outputs, C, kh, kw = weight_shape
    return (
        (kh, kw, stride) == (3, 3, (1, 1))
        and max(padding) <= 2
        and min(outputs, C) >= CHANNELS
        and all(n > 0 and n % 2 == 0 for n in output_size)
    )


@unbuffered()
def forward(x: Array, weight: Array, bias: Array | None, padding: Pair, y: Array) -> None:
    """y = convolution of x (B, H, W, C) with weight (O, C, 3, 3), plus bias (O,), into y (B, H', W', O)."""
    kernel = kernel_tiles(weight).transpose(0, 1, 3, 2)  # (4, 4, C, O)
    for images in pieces_of(y):
        product_to_pixels(input_tiles(x[images], padding), kernel, y[images])
        if bias is not None:
            y[images] += bias


@unbuffered()
def backward(dy: Array, weight: Array, padding: Pair, dx: Array, x: Array | None) -> Array | None:
    """dx into an array (B, H, W, C); returns dweight (O, C, 3, 3), or None if there is no x."""
    outputs, C = weight.shape[:2]
    flipped = kernel_tiles(weight, flip=True)  # (4, 4, O, C)
    dkernel = None if x is None else empty((4, 4, outputs, C), dy.dtype)
    for images in pieces_of(dx):
        windows = input_tiles(dy[images], (2 - padding[0], 2 - padding[1]))  # (4, 4, b, H/2, W/2, O)
        if x is not None:
            add_product(windows, output_tiles(x[images]), dkernel, first=images.start == 0)
        product_to_pixels(windows, flipped, dx[images])
    if dkernel is None:
        return None
    return np.matmul(dkernel.reshape(16, -1).T, transform_of_kernels(dy.dtype, flip=True)).reshape(weight.shape)


def kernel_tiles(weight: Array, flip: bool = False) -> Array:
    """G g G^T of every kernel, or of its mirror image: (O, C, 3, 3) -> (4, 4, O, C)."""
    outputs, C = weight.shape[:2]
    out = empty((16, outputs * C), weight.dtype)
    np.matmul(transform_of_kernels(weight.dtype, flip), weight.reshape(-1, 9).T, out=out)
    return out.reshape(4, 4, outputs, C)


def transform_of_kernels(dtype: np.dtype[Any], flip: bool = False) -> Array:
    """The Kronecker product of G and G, which takes the 9 numbers of a kernel to the 16 of G g G^T."""
    rows = G[[3, 1, 2, 0]] if flip else G
    return np.kron(rows, rows).astype(dtype)  # (16, 9)


def input_tiles(x: Array, padding: Pair) -> Array:
    """B^T d B of all 4x4 windows: (b, H, W, C) -> (4, 4, b, H'/2, W'/2, C)."""
    columns = padded_columns(x, padding)  # (b, H' + 2, 2, W'/2 + 1, C)
    b, height, _, width, C = columns.shape
    H, W = height // 2 - 1, width - 1  # in tiles
    rows = [columns[:, k : k + 2 * H - 1 : 2] for k in range(4)]  # of the windows: (b, H, 2, W + 1, C)
    tiles = empty((4, 4, b, H, W, C), x.dtype)
    row = empty(rows[0].shape, x.dtype)
    for out, (combine, p, q) in zip(tiles, DIFFERENCES, strict=True):
        combine(rows[p], rows[q], out=row)
        even, odd = row[:, :, 0], row[:, :, 1]
        window = even[:, :, :W], odd[:, :, :W], even[:, :, 1:], odd[:, :, 1:]  # its columns: (b, H, W, C)
        for entry, (combine, p, q) in zip(out, DIFFERENCES, strict=True):
            combine(window[p], window[q], out=entry)
    return tiles


def padded_columns(x: Array, padding: Pair) -> Array:
    """x with its border of zeros, even columns before odd ones: (b, H, W, C) -> (b, H + 2 top, 2, W/2 + left, C).

    Neighbouring tiles lie two columns apart; so the first columns of all of them lie side by side.
    """
    (b, H, W, C), (top, left) = x.shape, padding
    out = empty((b, H + 2 * top, 2, W // 2 + left, C), x.dtype)
    out[:, :top] = out[:, top + H :] = 0
    inside = out[:, top : top + H]
    for parity in range(2):
        first = (parity - left) % 2  # column of x that comes first at this parity
        start = (first + left) // 2
        count = (W - first + 1) // 2
        inside[:, :, parity, :start] = inside[:, :, parity, start + count :] = 0
        inside[:, :, parity, start : start + count] = x[:, :, first::2]
    return out


def output_tiles(x: Array) -> Array:
    """A x A^T, with A^T = [[1, 1, 1, 0], [0, 1, -1, -1]], of all 2x2 tiles: (b, H, W, C) -> (4, 4, b, H/2, W/2, C)."""
    b, H, W, C = x.shape
    by_columns = empty((4, b, H, W // 2, C), x.dtype)
    sum_tiles(x[:, :, ::2], x[:, :, 1::2], *by_columns)
    tiles = empty((4, 4, b, H // 2, W // 2, C), x.dtype)
    sum_tiles(by_columns[:, :, ::2], by_columns[:, :, 1::2], *tiles)
    return tiles


def sum_tiles(x0: Array, x1: Array, r0: Array, r1: Array, r2: Array, r3: Array) -> None:
    """r = A x, along one axis."""
    np.copyto(r0, x0)
    np.add(x0, x1, out=r1)
    np.subtract(x0, x1, out=r2)
    np.negative(x1, out=r3)


def product_to_pixels(tiles: Array, kernel: Array, y: Array) -> None:
    """y = A^T (tiles kernel) A.   tiles (4, 4, b, H/2, W/2, C), kernel (4, 4, C, O) -> y (b, H, W, O)."""
    _, _, b, H, W, C = tiles.shape
    outputs = kernel.shape[-1]
    m = empty((4, 4, b * H * W, outputs), y.dtype)
    np.matmul(tiles.reshape(4, 4, b * H * W, C), kernel, out=m)
    m = m.reshape(4, 4, b, H, W, outputs)
    pixels = y.reshape(b, H, 2, W, 2, outputs).transpose(2, 4, 0, 1, 3, 5)  # (2, 2, b, H, W, O)
    scratch = empty(m.shape[1:], y.dtype)
    collapse(m, m[:2], scratch)
    collapse(m[:2].swapaxes(0, 1), pixels.swapaxes(0, 1), scratch[:2])


def collapse(m: Array, y: Array, scratch: Array) -> None:
    """y (2, ...) = A^T m (4, ...); m is written over, and y may lie in it."""
    np.add(m[1], m[2], out=scratch)
    np.subtract(m[1], m[2], out=m[1])
    np.add(m[0], scratch, out=y[0])
    np.subtract(m[1], m[3], out=y[1])


def add_product(windows: Array, tiles: Array, total: Array, first: bool) -> None:
    """total (4, 4, O, C) += windows^T tiles, of windows (4, 4, ..., O) and tiles (4, 4, ..., C)."""
    count = math.prod(tiles.shape[2:5])
    left = windows.reshape(4, 4, count, windows.shape[-1]).swapaxes(2, 3)  # (4, 4, O, M)
    right = tiles.reshape(4, 4, count, tiles.shape[-1])  # (4, 4, M, C)
    if first:
        np.matmul(left, right, out=total)
    else:
        total += np.matmul(left, right, out=empty(total.shape, total.dtype))


def pieces_of(y: Array) -> Iterator[slice]:
    """Slices of images with about TILES tiles."""
    B, H, W, _ = y.shape
    step = max(1, TILES * 4 // (H * W))
    for start in range(0, max(B, 1), step):  # no image is a piece too, whose products are zero
        yield slice(start, min(start + step, B))
