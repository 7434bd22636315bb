"""The matrix product of the kernels: NumPy's, MKL's where that is in use, or oneDNN's where bfloat16 is asked for."""

from __future__ import annotations

import numpy as np

from minivit.backend.cpu.blocks import FLAGGED, Array
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
    mkl, inner = mkl_in_use(), a.shape[-1]
    if mkl is not None and out.size * inner >= WORTH and mkl.matmul(a, b, out):
        return out
    if inner == FLAGGED and 1 in out.shape[-2:]:
        np.vecdot(a[..., :, None, :], b.swapaxes(-1, -2)[..., None, :, :], out=out)
    else:
        np.matmul(a, b, out=out)
    return out
