"""The fused AdamW step."""

from __future__ import annotations

import numpy as np
import pytest

from minivit.backend.cpu.adamw import adamw


def plain(p, g, m, v, lr, b1, b2, eps, decay, t):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    p = p * (1 - lr * decay) - lr * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return p, m, v


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-14)])
@pytest.mark.parametrize("size", [0, 1, 1003, 200_001])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_ten_steps(rng, dtype, tolerance, size, decay):
    p = rng.standard_normal(size).astype(dtype)
    m, v = np.zeros_like(p), np.zeros_like(p)
    exact = p.astype(np.float64), np.zeros(size), np.zeros(size)
    for t in range(1, 11):
        g = (rng.standard_normal(size) * 10.0 ** rng.uniform(-6, 2, size)).astype(dtype)
        g[::7] = 0
        before = g.copy()
        corrections = 1 - 0.9**t, 1 - 0.99**t
        adamw(
            p,
            g,
            m,
            v,
            learning_rate=1e-2,
            betas=(0.9, 0.99),
            eps=1e-8,
            weight_decay=decay,
            bias_corrections=corrections,
        )
        np.testing.assert_array_equal(g, before)
        exact = plain(exact[0], g.astype(np.float64), *exact[1:], 1e-2, 0.9, 0.99, 1e-8, decay, t)
    np.testing.assert_allclose(p, exact[0], rtol=10 * tolerance, atol=10 * tolerance)
    np.testing.assert_allclose(m, exact[1], rtol=10 * tolerance, atol=300 * tolerance)  # gradients of up to 300 cancel
    np.testing.assert_allclose(v, exact[2], rtol=10 * tolerance)
    assert p.dtype == m.dtype == v.dtype == dtype


def test_a_part_of_a_buffer_is_updated_alone(rng):
    p, g, m, v = rng.random((4, 100))
    copies = [a.copy() for a in (p, m, v)]
    options = {"learning_rate": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
    adamw(p[20:50], g[20:50], m[20:50], v[20:50], bias_corrections=(0.1, 0.001), **options)
    for now, before in zip((p, m, v), copies, strict=True):
        np.testing.assert_array_equal(now[:20], before[:20])
        np.testing.assert_array_equal(now[50:], before[50:])
        assert (now[20:50] != before[20:50]).all()


@pytest.mark.parametrize("broken", [np.zeros((2, 2)), np.zeros(3), np.zeros(4, np.float32)])
def test_buffers_that_do_not_fit_are_refused(broken):
    good = [np.zeros(4) for _ in range(3)]
    options = {"learning_rate": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
    with pytest.raises(ValueError, match="flat, of one size and dtype"):
        adamw(*good, broken, bias_corrections=(0.1, 0.001), **options)


@pytest.mark.reference("torch")
def test_against_pytorch(rng):
    import torch

    p = rng.standard_normal(500)
    m, v = np.zeros_like(p), np.zeros_like(p)
    theirs = torch.nn.Parameter(torch.tensor(p))
    optimiser = torch.optim.AdamW([theirs], lr=3e-3, betas=(0.9, 0.95), eps=1e-7, weight_decay=0.05)
    for t in range(1, 6):
        g = rng.standard_normal(500)
        theirs.grad = torch.tensor(g)
        optimiser.step()
        corrections = 1 - 0.9**t, 1 - 0.95**t
        options = {"learning_rate": 3e-3, "betas": (0.9, 0.95), "eps": 1e-7, "weight_decay": 0.05}
        adamw(p, g, m, v, bias_corrections=corrections, **options)
    np.testing.assert_allclose(p, theirs.detach().numpy(), rtol=1e-13, atol=1e-15)
