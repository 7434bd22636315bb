"""What the CPU kernels share: cache-sized pieces, matrix views, and which arrays they take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from minivit.backend.pool import empty

Array: TypeAlias = Any

CHUNK_BYTES = 1 << 18
"""Bytes of one array worked on at once: small enough for the cache, large enough for the calls to cost little."""

FLAGGED = 5
"""Columns of a float32 matrix whose product with a vector may warn for nothing. OpenBLAS (0.3.31, on AVX-512) computes
on whatever lies beside its numbers on the stack, and drops it: the product is right, but a signalling NaN there leaves
the processor's flag for invalid values, of which NumPy then warns. `numpy.vecdot` goes another way."""

FLOATS = {np.dtype(np.float32), np.dtype(np.float64)}


def floats(*arrays: Array | None) -> bool:
    """Whether the arrays (None is left out) are NumPy's and all float32 or all float64."""
    dtype = None
    for array in arrays:
        if array is None:
            continue
        if type(array) is not np.ndarray or (dtype is not None and array.dtype != dtype):
            return False
        dtype = array.dtype
    return dtype in FLOATS


@contextmanager
def unbuffered() -> Iterator[None]:
    """Let ufuncs work on rows of hundreds of numbers where they lie, in this thread.

    NumPy (2.4) copies rows that do not follow each other in memory, and those that are broadcast, through a buffer of
    8192 numbers if several of them fit into it. Rows of 1024 then take twice as long as with a buffer that is smaller
    than they are; on contiguous arrays it makes no difference.
    """
    before = np.setbufsize(512)
    try:
        yield
    finally:
        np.setbufsize(before)


def as_rows(x: Array) -> Array:
    """(..., D) -> (R, D), C-contiguous."""
    return np.ascontiguousarray(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])


def pieces(length: int, bytes_each: int, chunk_bytes: int = CHUNK_BYTES) -> Iterator[slice]:
    """Slices of `length` things of `bytes_each` bytes, together about `chunk_bytes`."""
    step = max(1, chunk_bytes // max(1, bytes_each))
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def column_sums(x: Array) -> Array:
    """(R, D) -> (D,), as a product with ones: the matrix-vector product runs at the speed of memory."""
    return np.ones(x.shape[0], x.dtype) @ x


def times_vector(x: Array, v: Array) -> Array:
    """(R, D) (D,) -> (R,). With a v of ones, it takes less time than sums over short rows."""
    return np.vecdot(x, v) if len(v) == FLAGGED else x @ v


def scalars(dtype: np.dtype[Any], *values: float) -> tuple[Array, ...]:
    """Numbers as 0-d arrays of a dtype: a ufunc takes them twice as quickly as Python's floats or NumPy's scalars."""
    made = tuple(np.array(value, dtype) for value in values)
    for scalar in made:
        scalar.flags.writeable = False
    return made


constants = cache(scalars)
"""`scalars`, made once: for numbers that are written in the program."""


def exp2(u: Array) -> None:
    """2^u, in place. Where NumPy has float32 exp2 in vector instructions, it takes half the time of exp."""
    if u.dtype == np.float32 and not _exp2_is_vectorised():
        u *= constants(u.dtype, math.log(2.0))[0]
        np.exp(u, out=u)
    else:
        np.exp2(u, out=u)


@cache
def _exp2_is_vectorised() -> bool:
    targets = np.lib.introspect.opt_func_info(func_name="^exp2$").get("exp2", {}).get("ff", {})
    return not targets.get("current", "baseline").startswith("baseline")


def channels_last(x: Array) -> Array:
    """(B, C, H, W) -> (B, H, W, C): the view in which the image kernels work, and write their results."""
    return x.transpose(0, 2, 3, 1)


def channels_first(x: Array) -> Array:
    """(B, H, W, C) -> (B, C, H, W), a view."""
    return x.transpose(0, 3, 1, 2)


def padded(x: Array, padding: tuple[int, int], value: float = 0.0) -> Array:
    """(B, H, W, C) with a border of `value`, C-contiguous; `x` itself where nothing is to do."""
    top, left = padding
    if top == left == 0 and x.flags.c_contiguous:
        return x
    B, H, W, C = x.shape
    out = empty((B, H + 2 * top, W + 2 * left, C), x.dtype)
    out[:, top : top + H, left : left + W] = x
    out[:, :top] = out[:, top + H :] = value
    out[:, top : top + H, :left] = out[:, top : top + H, left + W :] = value
    return out


def empty_as(x: Array) -> Array:
    """An uninitialised array of the pool with the shape, the dtype and the order of axes in memory of another."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    out = empty(tuple(x.shape[axis] for axis in order), x.dtype)
    return out.transpose([order.index(axis) for axis in range(x.ndim)])


def flat_pieces(*arrays: Array, chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[Array, ...]]:
    """Cache-sized flat pieces of arrays that lie alike in memory; the whole arrays where they do not."""
    first = arrays[0]
    order = sorted(range(first.ndim), key=lambda axis: -abs(first.strides[axis]))
    in_order = [array.transpose(order) for array in arrays]
    if not all(array.flags.c_contiguous for array in in_order):
        yield arrays
        return
    flat = [array.reshape(-1) for array in in_order]
    for part in pieces(first.size, first.itemsize, chunk_bytes):
        yield tuple(array[part] for array in flat)
