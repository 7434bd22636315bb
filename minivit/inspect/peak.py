"""The speed that matrix products reach at best on this machine: what a model's products are measured by."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from minivit.backend import backend_for_device
from minivit.backend.cpu import product


def matrix_product_speed(
    device: str = "cpu", dtype: Any = np.float32, side: int | None = None, seconds: float = 0.3
) -> float:
    """FLOP in a second of one large product, the best of those that fit into the time, with BLAS as it is set.

    It is made as the ops make theirs: by MKL where that is in use.

    Parameters
    ----------
    device : str
    dtype : dtype
        Of floats.
    side : int, optional
        Of the square matrices: 1024 by default, 8192 on a GPU.
    seconds : float
        One product is made to warm up and one is measured, however long they take.
    """
    backend = backend_for_device(device)
    side = side or (8192 if backend.name == "cuda" else 1024)
    multiply = backend.module.matmul if backend.name == "cuda" else product.matmul
    values = np.random.default_rng(0).random((side, side), np.float32).astype(dtype)
    a = backend.from_host(values, device)
    result = a @ a
    backend.wait()
    best, end = np.inf, time.perf_counter() + seconds
    while best == np.inf or time.perf_counter() < end:
        begun = time.perf_counter()
        multiply(a, a, out=result)
        backend.wait()
        best = min(best, time.perf_counter() - begun)
    return float(2 * side**3 / best)
