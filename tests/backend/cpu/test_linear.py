"""Linear layer."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.cpu import KERNELS

pytestmark = pytest.mark.usefixtures("library")


def linear(x, weight, bias):
    y = np.einsum("...i,oi->...o", x, weight) + (0 if bias is None else bias)
    rows = x.reshape(-1, x.shape[-1])

    def gradients(dy):
        dy_rows = dy.reshape(-1, dy.shape[-1])
        return dy @ weight, dy_rows.T @ rows, dy_rows.sum(0)

    return y, gradients


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5), (130, 97, 5)])
def test_formula(rng, agree, shape, with_bias):
    weight, bias = rng.standard_normal((7, 5)), rng.standard_normal(7) if with_bias else None
    agree("linear", [rng.standard_normal(shape), weight, bias], linear)


def test_integers_and_complex_numbers_are_left_to_the_text():
    accepts = KERNELS["linear"].accepts
    w = np.ones((2, 3))
    assert not accepts(np.ones((4, 3), np.int64), w, None)
    assert not accepts(np.ones((4, 3), complex), w.astype(complex), None)
    assert not accepts(np.ones((4, 3), np.float32), w, None)
