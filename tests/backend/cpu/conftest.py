"""How a kernel is tested: against a plain float64 transcription of its formulas, forward and backward."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from minivit.backend import mkl_found, use_mkl
from minivit.backend.cpu import KERNELS, product
from minivit.backend.cpu.threads import blas_threads

TOLERANCE = {np.float32: 4e-6, np.float64: 1e-13}  # relative to the largest entry


class Placeholder(NamedTuple):
    shape: tuple[int, ...]
    dtype: Any


def strided(array: np.ndarray) -> np.ndarray:
    """The same numbers, no axis contiguous and the order of the axes reversed in memory."""
    padded = np.zeros([2 * n for n in array.shape[::-1]], array.dtype)
    view = padded[(..., *(slice(None, None, 2) for _ in array.shape))].T
    view[...] = array
    return view


def assert_close(actual: np.ndarray, expected: np.ndarray, what: str, factor: float = 1.0) -> None:
    tolerance = factor * TOLERANCE[actual.dtype.type]
    size = np.max(np.abs(expected), initial=0)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * size + 1e-40, err_msg=what)


@pytest.fixture(params=["contiguous", "strided"])
def layout(request) -> Callable[[np.ndarray], np.ndarray]:
    return np.array if request.param == "contiguous" else strided


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request) -> type:
    return request.param


@pytest.fixture(params=["numpy", "mkl"])
def library(request, monkeypatch) -> Iterator[str]:
    """Run the test with NumPy's functions and with MKL's: `pytestmark = pytest.mark.usefixtures("library")`."""
    if request.param == "mkl":
        if mkl_found() is None:
            pytest.skip("needs MKL: pip install 'minivit[mkl]'")
        monkeypatch.setattr(product, "WORTH", 0)
    with blas_threads(1), use_mkl(request.param == "mkl"):
        yield request.param


@pytest.fixture
def agree(rng, layout, dtype):
    """Hold a kernel to a reference.

    reference(*float64 inputs) -> (y, gradients), where gradients(dy) gives one array an input. The kernel sees the
    inputs in the dtype and memory layout of the test; it must keep dtype and shape, leave inputs, cotangent and saved
    arrays alone, and give the same gradient whichever others are wanted, and the same output where none is.
    """

    def check(
        name: str,
        inputs: list[np.ndarray | None],
        reference: Callable[..., Any],
        factor: float = 1.0,
        **attributes: Any,
    ) -> None:
        kernel = KERNELS[name]
        arrays = [None if x is None else layout(np.asarray(x, dtype)) for x in inputs]
        before = [None if x is None else x.copy() for x in arrays]
        exact = [None if x is None else x.astype(np.float64) for x in arrays]
        assert kernel.accepts(*arrays, **attributes)
        y, saved = kernel.forward(*arrays, **attributes)
        expected, gradients = reference(*exact)
        assert y.dtype == dtype
        assert y.shape == expected.shape
        assert_close(y, expected, "output", factor)
        if kernel.evaluate is not None:
            np.testing.assert_array_equal(kernel.evaluate(*arrays, **attributes), y, err_msg="without a gradient")

        dy = layout(rng.standard_normal(y.shape).astype(dtype))
        dy_before, y_before = dy.copy(), y.copy()
        expected_gradients = gradients(dy.astype(np.float64))
        names = [p.name for p in inspect.signature(kernel.forward).parameters.values()]
        kept = [
            x if x is None or name in kernel.keeps else Placeholder(x.shape, x.dtype)
            for x, name in zip(arrays, names, strict=False)
        ]
        present = [x is not None for x in arrays]
        masks = [tuple(present)] + [tuple(i == j for j in range(len(arrays))) for i, p in enumerate(present) if p]
        for wanted in masks + masks[:1]:
            results = kernel.backward(dy, saved, *kept, wanted=wanted, **attributes)
            assert len(results) == len(arrays)
            for position, (want, result, x) in enumerate(zip(wanted, results, arrays, strict=True)):
                if want:
                    assert result.dtype == dtype
                    assert result.shape == x.shape
                    assert_close(result, expected_gradients[position], f"gradient {position} of {wanted}", factor)
        for x, copy in zip([*arrays, dy, y], [*before, dy_before, y_before], strict=True):
            if x is not None:
                np.testing.assert_array_equal(x, copy, err_msg="a kernel wrote into an array that is not its own")

    return check
