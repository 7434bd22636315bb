"""Tests of minivit/optim/adamw.py."""

from contextlib import nullcontext

import numpy as np
import pytest

from minivit import nn, optim
from minivit.backend import kernels_disabled
from minivit.backend.cpu.adamw import adamw


class Model(nn.Module):
    """A matrix that decays, a vector that does not, and gaps between them."""

    def __init__(self, dtype=np.float64):
        rng = np.random.default_rng(0)
        self.weight = nn.Parameter(rng.standard_normal((3, 5)).astype(dtype))
        self.bias = nn.Parameter(rng.standard_normal(7).astype(dtype))


def gradients(step, dtype=np.float64):
    rng = np.random.default_rng(100 + step)
    return {"weight": rng.standard_normal((3, 5)).astype(dtype), "bias": rng.standard_normal(7).astype(dtype)}


def reference(p, g, m, v, t, learning_rate, betas, eps, decay):
    """The algorithm box of Loshchilov & Hutter 2019 (algorithm 2), the decay multiplied by the rate as in PyTorch."""
    b1, b2 = betas
    p = p * (1 - learning_rate * decay)
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    return p - learning_rate * m_hat / (np.sqrt(v_hat) + eps), m, v


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.95), (0.0, 0.5)])
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("by", ["kernel", "text"])
def test_twenty_steps_follow_the_algorithm(betas, decay, by):
    with kernels_disabled() if by == "text" else nullcontext():
        follow(betas, decay)


def follow(betas, decay):
    model = Model()
    optimizer = optim.AdamW(model, 1e-2, betas=betas, eps=1e-6, weight_decay=decay)
    expected = {name: (p.data.copy(), 0.0, 0.0) for name, p in model.named_parameters()}
    for t in range(1, 21):
        optimizer.learning_rate = 1e-2 / t
        for name, g in gradients(t).items():
            getattr(model, name).grad = g
            p, m, v = expected[name]
            expected[name] = reference(p, g, m, v, t, 1e-2 / t, betas, 1e-6, decay if name == "weight" else 0.0)
        optimizer.step()
    state = optimizer.state_dict()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.data, expected[name][0], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(state[f"m.{name}"], expected[name][1], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(state[f"v.{name}"], expected[name][2], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_the_kernel_and_the_text_give_the_same_bits(dtype, decay, monkeypatch):
    calls = []
    monkeypatch.setattr("minivit.backend.cpu.adamw.adamw", lambda *a, f=adamw, **o: calls.append(f(*a, **o)))

    def run():
        model = Model(dtype)
        optimizer = optim.AdamW(model, 1e-2, betas=(0.8, 0.95), eps=1e-7, weight_decay=decay)
        for step in range(10):
            for name, g in gradients(step, dtype).items():
                getattr(model, name).grad = g
            optimizer.step()
        return optimizer.flat.data, optimizer.state

    weights, state = run()
    assert len(calls) == (10 if decay == 0.0 else 20)
    with kernels_disabled():
        text, text_state = run()
    assert len(calls) == (10 if decay == 0.0 else 20)
    np.testing.assert_array_equal(weights, text)
    for name in ("m", "v"):
        np.testing.assert_array_equal(state[name], text_state[name])


def test_the_first_step_is_as_long_as_the_learning_rate():
    model = Model()
    optimizer = optim.AdamW(model, 1e-3, weight_decay=0.0)
    before = model.state_dict()
    for name, g in gradients(0).items():
        getattr(model, name).grad = g
    optimizer.step()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.data, before[name] - 1e-3 * np.sign(gradients(0)[name]), rtol=1e-6)


def test_float32_follows_float64():
    models = {dtype: Model(dtype) for dtype in (np.float32, np.float64)}
    for dtype, model in models.items():
        optimizer = optim.AdamW(model, 1e-2, weight_decay=0.1)
        for step in range(30):
            for name, g in gradients(step, dtype).items():
                getattr(model, name).grad = g
            optimizer.step()
        assert model.weight.dtype == dtype
        assert all(buffer.dtype == dtype for buffer in optimizer.state.values())
    np.testing.assert_allclose(models[np.float32].weight.data, models[np.float64].weight.data, rtol=1e-4, atol=1e-5)


def test_bias_correction_counts_each_parameters_own_updates():
    """A layer that is unfrozen late starts as one that is new, not with steps three times too long."""
    model = Model()
    optimizer = optim.AdamW(model, 1e-3, weight_decay=0.0)
    for step in range(10):
        optimizer.zero_grad()
        model.weight.grad = gradients(step)["weight"]
        optimizer.step()
    before = model.bias.data.copy()
    optimizer.zero_grad()
    model.bias.grad = gradients(0)["bias"]
    optimizer.step()
    np.testing.assert_allclose(np.abs(model.bias.data - before), 1e-3, rtol=1e-5)
    assert optimizer.updates == {"weight": 10, "bias": 1}
    assert optimizer.steps == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": (1.0, 0.9)}, r"betas must lie in \[0, 1\), got \(1.0, 0.9\)"),
        ({"betas": (0.9, -0.1)}, r"betas must lie in \[0, 1\)"),
        ({"eps": 0.0}, "eps must be positive, got 0.0"),
        ({"learning_rate": -1.0}, "learning_rate must not be negative, got -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate must not be negative, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
    ],
)
def test_settings_outside_their_range_are_refused(options, message):
    with pytest.raises(ValueError, match=f"AdamW: {message}"):
        optim.AdamW(Model(), **options)


def test_a_quadratic_is_minimised():
    model = Model()
    optimizer = optim.AdamW(model, 0.05, weight_decay=0.0)
    for _ in range(400):
        optimizer.zero_grad()
        ((model.weight - 1.0) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(model.weight.data, 1.0, atol=1e-3)
