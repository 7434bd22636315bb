"""Tests of minivit/optim/sgd.py."""

import numpy as np
import pytest

from minivit import nn, optim


class Model(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.weight = nn.Parameter(rng.standard_normal((3, 5)))
        self.bias = nn.Parameter(rng.standard_normal(7))


def gradients(step):
    rng = np.random.default_rng(100 + step)
    return {"weight": rng.standard_normal((3, 5)), "bias": rng.standard_normal(7)}


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_twenty_steps_follow_the_formula(momentum, nesterov, decay):
    model = Model()
    optimizer = optim.SGD(model, 0.1, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    expected = {name: [p.data.copy(), np.zeros(p.shape)] for name, p in model.named_parameters()}
    for step in range(20):
        optimizer.learning_rate = 0.1 / (step + 1)
        for name, g in gradients(step).items():
            getattr(model, name).grad = g
            p, b = expected[name]
            g = g + (decay if name == "weight" else 0.0) * p
            b = momentum * b + g
            expected[name] = [p - 0.1 / (step + 1) * (g + momentum * b if nesterov else b), b]
        optimizer.step()
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.data, expected[name][0], rtol=1e-12, atol=1e-14)
        buffer = expected[name][1] if momentum else np.zeros(parameter.shape)  # without momentum nothing is remembered
        np.testing.assert_allclose(optimizer.state_dict()[f"momentum.{name}"], buffer, rtol=1e-12)


def test_the_gradient_is_left_as_it_was():
    model = Model()
    optimizer = optim.SGD(model, 0.1, weight_decay=0.5, nesterov=True)
    model.weight.grad = gradients(0)["weight"]
    optimizer.step()
    np.testing.assert_array_equal(model.weight.grad, gradients(0)["weight"])


@pytest.mark.parametrize("options", [{"momentum": 1.0}, {"momentum": -0.1}, {"momentum": 0.0, "nesterov": True}])
def test_momentum_outside_its_range_is_refused(options):
    with pytest.raises(ValueError, match=r"SGD: momentum must lie in \[0, 1\), above 0 with nesterov"):
        optim.SGD(Model(), **options)
