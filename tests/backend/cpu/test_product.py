"""The kernels' matrix product, NumPy's and MKL's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minivit.backend import load_mkl, use_mkl
from minivit.backend.cpu import product
from minivit.backend.cpu.product import matmul
from minivit.backend.cpu.threads import blas_threads

pytestmark = pytest.mark.usefixtures("library")

ORDERS = {
    "rows": np.ascontiguousarray,
    "columns": np.asfortranarray,
    "part of wider rows": lambda x: np.concatenate([x, x], 1)[:, : x.shape[1]],
    "part of longer columns": lambda x: np.concatenate([x, x])[: x.shape[0]].copy(order="F")[: x.shape[0]],
    "every second number": lambda x: np.repeat(x, 2, 1)[:, ::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "repeated rows": lambda x: np.broadcast_to(x[:1], x.shape),
}


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 1, 1), (1, 9, 4), (6, 1, 5), (8, 2, 1), (0, 3, 2), (3, 0, 2)])
def test_every_layout(rng, dtype, shape):
    n, k, m = shape
    x, w = rng.standard_normal((n, k)).astype(dtype), rng.standard_normal((k, m)).astype(dtype)
    for of_x, of_w in itertools.product(ORDERS, ORDERS):
        a, b = ORDERS[of_x](x), ORDERS[of_w](w)
        out = np.full((n, m), np.nan, dtype)
        assert matmul(a, b, out) is out
        np.testing.assert_allclose(out, a.astype(np.float64) @ b, rtol=1e-5, atol=1e-5, err_msg=f"{of_x} by {of_w}")


@pytest.mark.parametrize("lead", [(2,), (3, 2)])
def test_stacks(rng, dtype, lead):
    a, b = rng.standard_normal((*lead, 4, 5)).astype(dtype), rng.standard_normal((*lead, 5, 3)).astype(dtype)
    np.testing.assert_allclose(matmul(a, b, np.empty((*lead, 4, 3), dtype)), a @ b, rtol=1e-5, atol=1e-5)


def test_out_with_gaps(rng, dtype):
    a, b = rng.standard_normal((4, 5)).astype(dtype), rng.standard_normal((5, 3)).astype(dtype)
    wide = np.zeros((4, 6), dtype)
    matmul(a, b, wide[:, ::2])
    np.testing.assert_allclose(wide[:, ::2], a @ b, rtol=1e-5, atol=1e-5)
    assert not wide[:, 1::2].any()


@pytest.fixture
def mkl(library):
    if library != "mkl":
        pytest.skip("about MKL alone")
    return load_mkl()


def test_mkl_takes_rows_and_columns_and_leaves_the_rest_to_numpy(mkl, rng, dtype):
    x = rng.standard_normal((4, 4)).astype(dtype)
    out = np.zeros((4, 4), dtype)
    taken = {name: mkl.matmul(order(x), x, out) for name, order in ORDERS.items()}
    assert [name for name, was in taken.items() if not was] == ["every second number", "backwards", "repeated rows"]
    assert not mkl.matmul(x, x.astype(np.float16), out)
    assert not mkl.matmul(x[None], x[None], out[None])


def test_mkl_leaves_products_to_a_numpy_with_several_threads(mkl, rng):
    x = rng.standard_normal((4, 4))
    with blas_threads(2):
        assert not mkl.matmul(x, x, np.empty((4, 4)))
    assert mkl.matmul(x, x, np.empty((4, 4)))


def test_only_large_products_go_to_mkl(mkl, monkeypatch):
    sizes = []
    monkeypatch.setattr(type(mkl), "matmul", lambda self, a, b, out: sizes.append(out.size))
    monkeypatch.setattr(product, "WORTH", 1000)
    for n in (9, 10):
        matmul(np.ones((n, n)), np.ones((n, n)), np.empty((n, n)))
    assert sizes == [100]
    with use_mkl(False):
        matmul(np.ones((n, n)), np.ones((n, n)), np.empty((n, n)))
    assert sizes == [100]
