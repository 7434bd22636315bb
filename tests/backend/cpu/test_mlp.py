"""The two-layer perceptron in one node."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minivit.backend.erf import erf

pytestmark = pytest.mark.usefixtures("library")


def gelu(x, approximate):
    if approximate == "none":
        cdf = 0.5 * (1 + erf(x / math.sqrt(2)))
        return x * cdf, cdf + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    k, c = math.sqrt(2 / math.pi), 0.044715
    t = np.tanh(k * (x + c * x**3))
    return 0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * c * x**2)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("lead", [(4,), (2, 3), (0, 3), (130, 11)])
def test_formula(rng, agree, lead, approximate):
    def mlp(x, w1, b1, w2, b2):
        a, slope = gelu(x @ w1.T + b1, approximate)

        def gradients(dy):
            dy_rows, rows = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
            dh = (dy @ w2) * slope
            dh_rows = dh.reshape(-1, dh.shape[-1])
            a_rows = a.reshape(-1, a.shape[-1])
            return dh @ w1, dh_rows.T @ rows, dh_rows.sum(0), dy_rows.T @ a_rows, dy_rows.sum(0)

        return a @ w2.T + b2, gradients

    inputs = [
        rng.standard_normal((*lead, 6)),
        rng.standard_normal((50, 6)) / 2,
        rng.standard_normal(50),
        rng.standard_normal((5, 50)) / 7,
        rng.standard_normal(5),
    ]
    agree("mlp", inputs, mlp, approximate=approximate)
