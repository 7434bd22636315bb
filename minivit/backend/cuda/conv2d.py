"""Convolution on a GPU without its windows in memory.

The op's text writes every window of the image out, kh kw copies of it, and multiplies. Here a block of threads picks
the numbers of the windows that it needs out of the image as it goes ("implicit GEMM"): the image is read, the result
written, and nothing else takes memory, but for the partial sums of the weight's gradient (`parts_of`). The index maps
stand at the top of `conv2d.cu`; docs/gpu_convolution.md explains them.

Every sum is taken in an order that the shapes alone decide, so that two runs agree to the bit; that of the bias's
gradient is CuPy's own.

All sizes of kernel, stride and padding take this road, for what it saves in memory is certain. How its speed compares
has not been measured. Where a gain in time is least to be expected: kernels of one pixel, whose windows are the image
itself, so that the text is products by cuBLAS; and where products in TF32 are good enough, which cuBLAS runs on tensor
cores (a sum over the kh kw taps, one product each, would need no copies either). This one computes in full precision.
"""

from __future__ import annotations

import math
from typing import Any

from minivit.backend.cuda.launch import cuda_function
from minivit.backend.device import array_module

Array = Any
Pair = tuple[int, int]

TILE, DEPTH, THREADS = 64, 16, 256
"""As in `conv2d.cu`."""

BLOCKS = 512
"""Blocks that the gradient of the weight is to be spread over: some for each multiprocessor of a large GPU."""

SHORTEST_PART = 256
"""Terms that a partial sum has at least, so that adding up the parts stays a small share of the work."""

LARGEST = 2**31 - 1024
"""What the 32-bit indices of `conv2d.cu` reach, less a tile."""

LARGEST_GRID = 65535
"""CUDA's limit along y and z."""

keeps = ("x", "weight")


def accepts(x: Array, weight: Array, bias: Array | None, *, stride: Pair, padding: Pair) -> bool:
    """float32 or float64, nothing empty, and sizes that 32-bit indices and CUDA's grids can hold.

    An image, all weights, and the pixels of all images must each number less than 2^31; whole arrays may be larger.
    """
    dtypes = {array.dtype for array in (x, weight, bias) if array is not None}
    if len(dtypes) != 1 or dtypes.pop() not in ("float32", "float64") or x.size == 0 or weight.size == 0:
        return False
    (B, C, H, W), outputs, (R, T) = x.shape, weight.shape[0], output_size(x, weight, stride, padding)
    counted = (C * H * W, outputs * R * T, B * H * W, B * R * T, weight.size, H + 2 * padding[0], W + 2 * padding[1])
    return max(counted) <= LARGEST and max(blocks(max(outputs, C), TILE), math.prod(stride)) <= LARGEST_GRID


def forward(x: Array, weight: Array, bias: Array | None, *, stride: Pair, padding: Pair) -> tuple[Array, None]:
    """y = W windows(x) + bias.   x (B, C, H, W), weight (O, C, kh, kw), bias (O,) or None."""
    xp, device = library(x)
    with device:
        x, weight = xp.ascontiguousarray(x), xp.ascontiguousarray(weight)
        sizes = Sizes(xp, x, weight, stride, padding)
        y = xp.empty((sizes.B, sizes.O, sizes.R, sizes.T), x.dtype)
        some = weight if bias is None else xp.ascontiguousarray(bias)
        grid = (blocks(sizes.B * sizes.R * sizes.T, TILE), blocks(sizes.O, TILE), 1)
        sizes.launch("conv2d_forward", grid, x, weight, some, xp.int32(bias is not None), y, *sizes.arguments)
    return y, None


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
    xp, device = library(x)
    with device:
        dy = xp.ascontiguousarray(dy)
        sizes = Sizes(xp, x, weight, stride, padding)
        dx = input_gradient(xp, dy, weight, sizes) if wanted[0] else None
        dweight = weight_gradient(xp, dy, x, sizes) if wanted[1] else None
        dbias = dy.sum(axis=(0, 2, 3)) if wanted[2] else None
    return dx, dweight, dbias


def input_gradient(xp: Any, dy: Array, weight: Array, sizes: Sizes) -> Array:
    """dx = W^T dy, each number added where its tap met the image: read from dy pixel by pixel, so without a scatter."""
    sh, sw = sizes.stride
    dx = xp.empty((sizes.B, sizes.C, sizes.H, sizes.W), dy.dtype)
    largest_phase = sizes.B * blocks(sizes.H, sh) * blocks(sizes.W, sw)
    grid = (blocks(largest_phase, TILE), blocks(sizes.C, TILE), sh * sw)
    sizes.launch("conv2d_input_gradient", grid, dy, xp.ascontiguousarray(weight), dx, *sizes.arguments)
    return dx


def weight_gradient(xp: Any, dy: Array, x: Array, sizes: Sizes) -> Array:
    """dW = sum over images and pixels of dy windows(x)^T: in parts, which are then added in a fixed order."""
    shape = (sizes.O, sizes.C, *sizes.kernel_size)
    columns = math.prod(shape[1:])
    tiles = (blocks(columns, TILE), blocks(sizes.O, TILE))
    count, part = parts_of(sizes.B * sizes.R * sizes.T, math.prod(tiles))
    parts = xp.empty((count, *shape), dy.dtype)
    x = xp.ascontiguousarray(x)
    sizes.launch("conv2d_weight_gradient", (*tiles, count), x, dy, parts, xp.int32(part), *sizes.arguments)
    if count == 1:
        return parts[0]
    dweight = xp.empty(shape, dy.dtype)
    size = sizes.O * columns
    sizes.launch("conv2d_add_parts", (blocks(size, THREADS), 1, 1), parts, dweight, xp.int32(count), xp.int32(size))
    return dweight


def parts_of(terms: int, tiles: int) -> tuple[int, int]:
    """How many parts a sum of `terms` is taken in for each of `tiles` blocks, and the terms of a part.

    A product with few rows and columns, but as many terms as the batch has pixels, would occupy few multiprocessors.
    The partial sums take less memory than BLOCKS tiles, 16 MiB in float64, and the weight once more.
    """
    wanted = max(1, min(blocks(BLOCKS, tiles), terms // SHORTEST_PART))
    part = blocks(blocks(terms, wanted), DEPTH) * DEPTH
    return blocks(terms, part), part


class Sizes:
    """The sizes of one convolution, as names, as arguments and as options of the compiler.

    Attributes
    ----------
    B, C, H, W, O, R, T : int
        x (B, C, H, W), weight (O, C, kh, kw), y (B, O, R, T).
    arguments : tuple of numpy.int32
        These and the padding, as the functions of `conv2d.cu` take them.
    """

    def __init__(self, xp: Any, x: Array, weight: Array, stride: Pair, padding: Pair) -> None:
        self.B, self.C, self.H, self.W = x.shape
        self.O = weight.shape[0]
        self.R, self.T = output_size(x, weight, stride, padding)
        self.stride, self.kernel_size = stride, weight.shape[2:]
        numbers = (self.B, self.C, self.H, self.W, self.O, self.R, self.T, *padding)
        self.arguments = tuple(xp.int32(number) for number in numbers)
        (kh, kw), (sh, sw) = self.kernel_size, stride
        real = {"float32": "float", "float64": "double"}[x.dtype.name]
        self._xp, self._options = xp, (f"-DREAL={real}", f"-DKH={kh}", f"-DKW={kw}", f"-DSH={sh}", f"-DSW={sw}")

    def launch(self, name: str, grid: tuple[int, int, int], *arguments: Any) -> None:
        """Run a function of `conv2d.cu` on the current device."""
        cuda_function(self._xp, "conv2d.cu", name, self._options)(grid, (THREADS, 1, 1), arguments)


def output_size(x: Array, weight: Array, stride: Pair, padding: Pair) -> Pair:
    """Rows and columns of y."""
    rows, columns = (
        (x.shape[axis] + 2 * padding[axis - 2] - weight.shape[axis]) // stride[axis - 2] + 1 for axis in (2, 3)
    )
    return rows, columns


def blocks(length: int, size: int) -> int:
    """How many pieces of a size cover a length."""
    return -(-length // size)


def library(x: Array) -> tuple[Any, Any]:
    """The array module of x, and x's device as a context: results are to lie there, whichever is the current one."""
    return array_module(x), x.device
