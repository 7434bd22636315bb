"""What the kernels share."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS
from minivit.backend.cpu.blocks import FLAGGED, times_vector, unbuffered
from minivit.backend.cpu.product import matmul


@unbuffered()
def fail():
    raise ZeroDivisionError(np.getbufsize())


def test_a_small_buffer_of_ufuncs_lasts_as_long_as_the_kernel():
    before = np.getbufsize()
    with pytest.raises(ZeroDivisionError, match="512"):
        fail()
    assert np.getbufsize() == before


class OnTheStack(ctypes.Structure):
    """Signalling NaNs of float32; passed by value, they stay on the stack after the call."""

    _fields_ = [("bits", ctypes.c_uint32 * 8192)]


@pytest.fixture
def litter():
    """A function that leaves the stack full of signalling NaNs."""
    if sys.platform != "linux":
        pytest.skip("calls a function of Linux's C library with an argument that it does not read")
    leave = ctypes.CDLL(None).abs
    leave.argtypes, leave.restype = [OnTheStack], None
    value = OnTheStack((ctypes.c_uint32 * 8192)(*[0x7FA00000] * 8192))
    return lambda: leave(value)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 16, 35])
@pytest.mark.parametrize("columns", [1, 3, FLAGGED, 17])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("error:invalid value encountered in matmul:RuntimeWarning")
def test_what_lies_on_the_stack_is_no_warning(rng, litter, rows, columns, dtype):
    x = rng.standard_normal((rows, columns)).astype(dtype)
    one = rng.standard_normal((columns, 1)).astype(dtype)
    rounding = 4 * columns * np.finfo(dtype).eps

    def check(run, expected):
        litter()
        np.testing.assert_allclose(run(), expected, rtol=rounding, atol=rounding)

    check(lambda: times_vector(x, one[:, 0]), x.astype(np.float64) @ one[:, 0])
    check(lambda: matmul(x, one, np.empty((rows, 1), dtype)), x.astype(np.float64) @ one)
    check(lambda: matmul(one.T, x.T, np.empty((1, rows), dtype)), one.T.astype(np.float64) @ x.T)
    check(lambda: matmul(x, np.asfortranarray(one), np.empty((rows, 1), dtype)), x.astype(np.float64) @ one)
    for name in ("softmax", "log_softmax"):
        litter()
        KERNELS[name].forward(x, axis=-1)
    litter()
    y, saved = KERNELS["layer_norm"].forward(x, one[:, 0], one[:, 0], eps=1e-6)
    litter()
    KERNELS["layer_norm"].backward(y, saved, x, one[:, 0], one[:, 0], wanted=(True,) * 3, eps=1e-6)
    litter()
    KERNELS["attention"].evaluate(x[None, None], x[None, None], x[None, None], None, scale=1.0)
