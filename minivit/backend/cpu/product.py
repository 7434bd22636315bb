"""The matrix product of the kernels: NumPy's, or MKL's where that is in use."""

from __future__ import annotations

import numpy as np

from minivit.backend.cpu.blocks import Array
from minivit.backend.mkl import mkl_in_use

WORTH = 1 << 22
"""Multiply-adds from which MKL is asked: calling it takes some microseconds longer than calling NumPy."""


def matmul(a: Array, b: Array, out: Array) -> Array:
    """Write a b to `out`, which overlaps neither, and return it."""
    mkl = mkl_in_use()
    if mkl is None or out.size * a.shape[-1] < WORTH or not mkl.matmul(a, b, out):
        np.matmul(a, b, out=out)
    return out
