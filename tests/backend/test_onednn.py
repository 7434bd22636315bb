"""oneDNN's products of bfloat16 numbers, and who is refused them."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minivit.backend import onednn
from minivit.backend.cpu.threads import blas_threads
from minivit.backend.onednn import load_onednn, onednn_found

ROUNDING = 2.0**-8  # of bfloat16: half of the distance from 1 to the next number


@pytest.fixture
def library():
    try:
        return load_onednn()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def fresh():
    """Load anew in the test, and after it."""
    load_onednn.cache_clear()
    yield
    load_onednn.cache_clear()


def to_bfloat16(x):
    """The upper halves of float32 numbers, rounded to the nearest, ties to even: by integer arithmetic."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def test_rounding_is_to_nearest_ties_to_even(rng, library):
    few = np.arange(1 << 16, dtype=np.uint32) << 16  # every bfloat16 number, and what lies between each and the next
    bits = np.concatenate([few, few + 1, few + 0x7FFF, few + 0x8000, few + 0x8001, few + 0xFFFF])
    x = np.concatenate([bits.view(np.float32), rng.standard_normal(999).astype(np.float32)])
    tiny = np.finfo(np.float32).tiny
    x = x[np.isfinite(x) & ((np.abs(x) >= tiny) | (x == 0))]  # numbers below are taken for 0 or not, as oneDNN likes
    np.testing.assert_array_equal(library.to_bfloat16(x), to_bfloat16(x))


def test_what_is_not_finite_stays_so(library):
    x = np.array([np.inf, -np.inf, np.nan, np.finfo(np.float32).max], np.float32)
    rounded = (library.to_bfloat16(x).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(rounded, np.array([np.inf, -np.inf, np.nan, np.inf], np.float32))


ORDERS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "part of wider rows": lambda x: np.concatenate([x, x], 1)[:, : x.shape[1]],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "repeated rows": lambda x: np.broadcast_to(x[:1], x.shape),
}
SHAPES = [(5, 7, 3), (1, 1, 1), (1, 9, 4), (6, 1, 5), (8, 2, 1), (0, 3, 2), (3, 0, 2), (130, 48, 192), (64, 200, 33)]


@pytest.mark.parametrize("of_b", ORDERS)
@pytest.mark.parametrize("of_a", ORDERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_products_are_as_exact_as_rounded_operands_allow(rng, library, shape, of_a, of_b):
    """Each operand is off by ROUNDING of itself at most; float32 sums add 2^-24 of each term for each addition."""
    n, k, m = shape
    a = ORDERS[of_a](rng.standard_normal((n, k)).astype(np.float32))
    b = ORDERS[of_b](rng.standard_normal((k, m)).astype(np.float32))
    before = a.copy(), b.copy()
    out = np.full((n, m), np.nan, np.float32)
    library.matmul(a, b, out)
    exact, size = a.astype(np.float64) @ b, np.abs(a).astype(np.float64) @ np.abs(b)
    assert np.all(np.abs(out - exact) <= (2 * ROUNDING + ROUNDING**2 + k * 2.0**-24) * size)
    np.testing.assert_array_equal((a, b)[0], before[0])
    np.testing.assert_array_equal((a, b)[1], before[1])


def test_products_of_bfloat16_numbers_are_summed_in_float32(rng, library):
    """Small integers are bfloat16 numbers, and their sums far more than bfloat16 can hold apart."""
    a, b = rng.integers(-9, 9, (40, 500)).astype(np.float32), rng.integers(-9, 9, (500, 30)).astype(np.float32)
    out = np.empty((40, 30), np.float32)
    library.matmul(a, b, out)
    np.testing.assert_array_equal(out, a @ b)


def test_out_with_gaps(rng, library):
    a, b = rng.standard_normal((4, 5)).astype(np.float32), rng.standard_normal((5, 3)).astype(np.float32)
    wide, out = np.zeros((4, 6), np.float32), np.empty((4, 3), np.float32)
    library.matmul(a, b, out)
    library.matmul(a, b, wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], out)
    assert not wide[:, 1::2].any()


def test_threads_have_their_own_and_get_the_same(rng, library):
    pairs = [
        (rng.standard_normal((n, 65)).astype(np.float32), rng.standard_normal((65, 48)).astype(np.float32))
        for n in range(1, 60)
    ]

    def product(pair):
        out = np.empty((len(pair[0]), 48), np.float32)
        library.matmul(*pair, out)
        return out

    with blas_threads(1):
        alone = [product(pair) for pair in pairs]
        with ThreadPoolExecutor(3) as pool:
            for one, other in zip(alone, pool.map(product, pairs * 3), strict=False):
                np.testing.assert_array_equal(one, other)
    with blas_threads(2):
        for one, pair in zip(alone, pairs, strict=True):
            np.testing.assert_allclose(product(pair), one, rtol=1e-5, atol=1e-5)


def test_what_is_no_longer_kept_is_made_anew(rng, library, monkeypatch):
    monkeypatch.setattr(onednn, "KEPT", 2)
    small = onednn.OneDnn(library.path)
    for n in [*range(1, 8), *range(1, 8)]:
        ones, out = np.ones((n, n), np.float32), np.empty((n, n), np.float32)
        small.matmul(ones, ones, out)
        assert (out == n).all()
    assert small._of_thread.product.cache_info().currsize == 2


AFTER_A_FORK = """
import os, signal, sys
import numpy as np
from minivit.backend.cpu.threads import blas_threads
from minivit.backend.onednn import load_onednn

def product(n):
    out = np.empty((n, n), np.float32)
    with blas_threads(2):
        load_onednn().matmul(np.ones((n, n), np.float32), np.ones((n, n), np.float32), out)
    return (out == n).all()

assert product(512)
child = os.fork()
if not child:
    signal.alarm(60)  # or, if it waits for threads that are not there, it would do so for ever
    os._exit(0 if product(512) and product(300) else 1)
assert os.waitpid(child, 0)[1] == 0
assert product(300)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork processes")
def test_a_forked_process_does_not_wait_for_threads_that_stayed_behind(library):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AFTER_A_FORK], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


def test_without_the_library_it_says_how_to_get_it(monkeypatch, fresh):
    monkeypatch.setattr(onednn, "onednn_found", lambda: None)
    with pytest.raises(RuntimeError, match=r'bfloat16 needs oneDNN.*pip install "minivit\[bf16\]".*float32'):
        load_onednn()


def test_a_library_that_is_none_says_so(monkeypatch, fresh, tmp_path):
    broken = tmp_path / "libdnnl.so.3"
    broken.write_text("not a library")
    monkeypatch.setattr(onednn, "onednn_found", lambda: broken)
    with pytest.raises(RuntimeError, match=r"bfloat16 is not to be had here: .*libdnnl.*float32"):
        load_onednn()


@pytest.mark.parametrize("instructions", [0x1, 0x7, 0x27, 0x67])  # SSE4.1, AVX2, AVX-512, AVX-512 with VNNI
def test_a_processor_without_bfloat16_is_refused(monkeypatch, fresh, tmp_path, instructions):
    class Version(ctypes.Structure):
        _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]

    class Library:
        def __init__(self, path):
            self.dnnl_version = self.version

        def dnnl_get_effective_cpu_isa(self):
            return instructions

        class version:  # noqa: N801
            @property
            def contents(self):
                return Version(3, 2, 0)

    monkeypatch.setattr(onednn.ctypes, "CDLL", Library)
    monkeypatch.setattr(onednn, "onednn_found", lambda: tmp_path)
    with pytest.raises(RuntimeError, match="this processor has neither AMX nor AVX512_BF16; stay with float32"):
        load_onednn()


def test_the_library_is_looked_for_in_this_environment(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_path", lambda *arguments: str(tmp_path))
    assert onednn_found() is None
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libdnnl.so.3").touch()
    assert onednn_found() == tmp_path / "lib" / "libdnnl.so.3"
