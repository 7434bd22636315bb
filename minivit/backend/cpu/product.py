"""The matrix product of the kernels: NumPy's, MKL's where that is in use, or oneDNN's where bfloat16 is asked for."""

from __future__ import annotations

import numpy as np

from minivit.backend.cpu.blocks import Array
from minivit.backend.mkl import mkl_in_use
from minivit.backend.precision import bf16_products

WORTH = 1 << 22
"""Multiply-adds from which MKL is asked: calling it takes some microseconds longer than calling NumPy."""


def matmul(a: Array, b: Array, out: Array) -> Array:
    """Write a b to `out`, which overlaps neither, and return it."""
    onednn = bf16_products()
    if onednn is not None and out.ndim == 2 and a.dtype == b.dtype == out.dtype == np.float32:
        onednn.matmul(a, b, out)
        return out
    mkl = mkl_in_use()
    if mkl is None or out.size * a.shape[-1] < WORTH or not mkl.matmul(a, b, out):
        np.matmul(a, b, out=out)
    return out
