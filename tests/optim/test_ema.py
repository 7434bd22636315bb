"""Tests of minivit/optim/ema.py."""

import numpy as np
import pytest

from minivit import Tensor, nn, optim
from minivit.optim import ExponentialMovingAverage


class Model(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.weight = nn.Parameter(rng.standard_normal((3, 5)))
        self.bias = nn.Parameter(rng.standard_normal(7))


def wander(model, step):
    rng = np.random.default_rng(100 + step)
    for parameter in model.parameters():
        parameter.assign(parameter.data + rng.standard_normal(parameter.shape))


def averages(average):
    return {name: np.array(view) for name, view in average.flat.by_name(average.average).items()}


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.99])
def test_the_average_follows_the_formula(decay):
    model = Model()
    average = ExponentialMovingAverage(nn.FlatParameters(model), decay)
    expected = model.state_dict()
    for step in range(1, 31):
        wander(model, step)
        average.update()
        d = min(decay, (1 + step) / (10 + step))
        expected = {name: d * e + (1 - d) * model.state_dict()[name] for name, e in expected.items()}
        for name, values in averages(average).items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-12, atol=1e-14)


def test_the_average_of_what_stays_is_what_stays():
    model = Model()
    average = ExponentialMovingAverage(nn.FlatParameters(model), 0.9)
    for _ in range(5):
        average.update()
    for name, values in averages(average).items():
        np.testing.assert_allclose(values, model.state_dict()[name], rtol=1e-14)


def test_the_model_has_the_average_inside_the_block_and_its_own_afterwards():
    model = Model()
    average = ExponentialMovingAverage(nn.FlatParameters(model), 0.9)
    wander(model, 1)
    average.update()
    own, expected, version = model.state_dict(), averages(average), model.weight.version
    with average.swapped_in():
        for name, values in model.state_dict().items():
            np.testing.assert_array_equal(values, expected[name])
        assert model.weight.version > version
    for name, values in model.state_dict().items():
        np.testing.assert_array_equal(values, own[name])


def test_the_own_weights_come_back_after_an_error():
    model = Model()
    average = ExponentialMovingAverage(nn.FlatParameters(model), 0.9)
    wander(model, 1)
    own = model.state_dict()
    with pytest.raises(KeyError), average.swapped_in():
        raise KeyError
    np.testing.assert_array_equal(model.weight.data, own["weight"])


def test_a_saved_average_goes_on_with_the_same_bits():
    def run(interrupted):
        model = Model()
        average = ExponentialMovingAverage(nn.FlatParameters(model), 0.9)
        for step in range(20):
            if interrupted and step == 7:
                state = average.state_dict()
                average = ExponentialMovingAverage(nn.FlatParameters(model), 0.9)
                average.load_state_dict(state)
            wander(model, step)
            average.update()
        return averages(average)

    one, other = run(False), run(True)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_a_state_that_does_not_fit_is_refused_and_nothing_written():
    average = ExponentialMovingAverage(nn.FlatParameters(Model()), 0.9)
    before, state = averages(average), average.state_dict()
    state["weight"] = state["weight"] + 1
    state["bias"] = np.zeros(3)
    del state["steps"]
    with pytest.raises(nn.StateError, match=r"shape of bias: expected \(7,\), got \(3,\)\n  missing steps"):
        average.load_state_dict(state)
    np.testing.assert_array_equal(averages(average)["weight"], before["weight"])


def test_it_follows_a_change_of_the_tree():
    model = Model()
    optimizer = optim.SGD(model, 1.0)
    average = ExponentialMovingAverage(optimizer.flat, 0.9)
    wander(model, 1)
    average.update()
    before = averages(average)
    model.extra = nn.Parameter(np.full((2, 2), 5.0))
    model.bias.requires_grad = False
    optimizer.step()  # lays out anew
    average.update()
    now = averages(average)
    assert set(now) == {"weight", "extra"}
    d = 3 / 12
    np.testing.assert_allclose(now["weight"], d * before["weight"] + (1 - d) * model.weight.data, rtol=1e-12)
    np.testing.assert_array_equal(now["extra"], 5.0)
    model.astype(np.float32)
    average.update()
    assert average.average.dtype == np.float32
    np.testing.assert_array_equal(averages(average)["extra"], 5.0)


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\), got"):
        ExponentialMovingAverage(nn.FlatParameters(Model()), decay)


def test_buffers_stay_as_they_are():
    model = nn.BatchNorm2d(3).astype(np.float64)
    average = ExponentialMovingAverage(nn.FlatParameters(model), 0.5)
    rng = np.random.default_rng(0)
    for _ in range(3):
        model(Tensor(rng.standard_normal((4, 3, 2, 2))))
        model.weight.assign(rng.standard_normal(3))
        average.update()
    own = model.state_dict()
    assert set(average.state_dict()) == {"weight", "bias", "steps"}
    with average.swapped_in():
        swapped = model.state_dict()
    assert np.any(swapped["weight"] != own["weight"])
    for name, buffer in model.named_buffers():
        np.testing.assert_array_equal(swapped[name], own[name])
        np.testing.assert_array_equal(buffer.data, own[name])
