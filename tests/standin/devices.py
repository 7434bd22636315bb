"""What the tests share that run on the stand-in, and on a GPU where there is one."""

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import standin

from minivit.backend import to_host

DEVICES = ["standin", pytest.param("cuda", marks=pytest.mark.gpu)]

# Largest error on a GPU, relative to the largest value: it sums in another order, and its exp and tanh round otherwise.
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-13}


@contextlib.contextmanager
def watched(device: str, uploads: bool = False) -> Iterator[standin.Seen]:
    """A block that does not wait for the device. On a GPU it is CuPy that raises, where it knows that it waits."""
    if device.startswith("standin"):
        with standin.no_synchronisation(uploads) as seen:
            yield seen
        return
    if not device.startswith("cuda"):
        yield standin.Seen()
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "cupyx.allow_synchronize will be removed", UserWarning)
        declared = importlib.import_module("cupyx").allow_synchronize(False)
        declared.__enter__()
    try:
        yield standin.Seen()
    finally:
        declared.__exit__(None, None, None)


def assert_same(found: Any, expected: Any, device: str, drift: float = 0.0) -> None:
    """Bit for bit on the stand-in, which computes with NumPy; to rounding on a GPU.

    `drift` is what half of the values may differ by on a GPU: an optimiser that divides by the gradient's size makes
    a whole step out of a gradient that is zero but for rounding.
    """
    found, expected = (np.asarray(to_host(array)) for array in (found, expected))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if device.startswith("standin") or found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    scale = max(1.0, float(np.abs(expected).max(initial=0.0, where=np.isfinite(expected))))
    tolerance = TOLERANCE[found.dtype] * scale
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=max(tolerance, drift))
    if drift and found.size > 1:
        assert np.median(np.abs(found - expected)) <= 20 * tolerance
