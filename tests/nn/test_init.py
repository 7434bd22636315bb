"""Tests of minivit/nn/init.py: every initialiser draws from the distribution that it names."""

import math

import numpy as np
import pytest

from minivit import nn
from minivit.backend.random import generator
from minivit.nn import init

SHAPE = (48, 40, 3, 3)  # fan_in 360, fan_out 432
FAN_IN, FAN_OUT = 360, 432
TRUNCATED = 0.87962566103423978  # standard deviation of a standard normal cut off at 2


def normal_cdf(x):
    return 0.5 * (1.0 + np.array([math.erf(v / math.sqrt(2.0)) for v in np.ravel(x)]))


def kolmogorov_smirnov(values, cdf):
    """Largest distance between the empirical and the expected distribution, times sqrt(n)."""
    values = np.sort(np.ravel(values).astype(np.float64))
    n = len(values)
    expected = cdf(values)
    return math.sqrt(n) * max(np.max(np.arange(1, n + 1) / n - expected), np.max(expected - np.arange(n) / n))


def normal(std):
    return lambda x: normal_cdf(x / std)


def uniform(limit):
    return lambda x: (x + limit) / (2 * limit)


def truncated(std, cut):
    low, high = normal_cdf([-cut / std])[0], normal_cdf([cut / std])[0]
    return lambda x: (normal_cdf(x / std) - low) / (high - low)


DISTRIBUTIONS = {
    "normal": (init.normal(0.3), normal(0.3), 0.3),
    "uniform": (init.uniform(0.3), uniform(0.3), 0.3 / math.sqrt(3)),
    "truncated_normal, bounds far away": (init.truncated_normal(0.02), normal(0.02), 0.02),
    "truncated_normal, bounds near": (init.truncated_normal(1.0, -2.0, 2.0), truncated(1.0, 2.0), TRUNCATED),
    "lecun_normal": (
        init.lecun_normal,
        truncated(FAN_IN**-0.5 / TRUNCATED, 2 * FAN_IN**-0.5 / TRUNCATED),
        FAN_IN**-0.5,
    ),
    "xavier_uniform": (
        init.xavier_uniform,
        uniform(math.sqrt(6 / (FAN_IN + FAN_OUT))),
        math.sqrt(2 / (FAN_IN + FAN_OUT)),
    ),
    "xavier_normal": (
        init.xavier_normal,
        normal(math.sqrt(2 / (FAN_IN + FAN_OUT))),
        math.sqrt(2 / (FAN_IN + FAN_OUT)),
    ),
    "fan_in_normal": (init.fan_in_normal, normal(FAN_IN**-0.5), FAN_IN**-0.5),
    "kaiming_normal": (init.kaiming_normal, normal(math.sqrt(2 / FAN_OUT)), math.sqrt(2 / FAN_OUT)),
    "kaiming_normal_fan_in": (init.kaiming_normal_fan_in, normal(math.sqrt(2 / FAN_IN)), math.sqrt(2 / FAN_IN)),
    "kaiming_uniform": (init.kaiming_uniform, uniform(FAN_IN**-0.5), FAN_IN**-0.5 / math.sqrt(3)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_numbers_have_the_distribution_that_is_named(name):
    draw, cdf, std = DISTRIBUTIONS[name]
    values = draw(generator(7, name), SHAPE)
    assert values.shape == SHAPE
    assert values.dtype == np.float32
    assert kolmogorov_smirnov(values, cdf) < 1.95  # exceeded by 1 in 1000 true samples
    assert abs(values.std(dtype=np.float64) / std - 1) < 0.01
    assert abs(values.mean(dtype=np.float64)) < 4 * std / math.sqrt(values.size)


def test_the_distance_tells_neighbouring_distributions_apart():
    values = init.normal(0.3)(generator(0, "x"), SHAPE)
    assert kolmogorov_smirnov(values, normal(0.33)) > 1.95
    assert kolmogorov_smirnov(values, uniform(0.3 * math.sqrt(3))) > 1.95


LIMITS = {
    "truncated_normal, bounds near": 2.0,
    "lecun_normal": 2 * FAN_IN**-0.5 / TRUNCATED,
    "uniform": 0.3,
    "xavier_uniform": math.sqrt(6 / (FAN_IN + FAN_OUT)),
    "kaiming_uniform": FAN_IN**-0.5,
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_numbers_fill_their_interval_and_never_leave_it(name):
    values = DISTRIBUTIONS[name][0](generator(7, name), SHAPE)
    limit = np.float32(LIMITS[name])
    assert 0.99 * limit < values.max() <= limit
    assert 0.99 * limit < -values.min() <= limit


def of_one_distribution(a, b):
    """Two-sample Kolmogorov-Smirnov: whether the largest distance is one that 999 of 1000 true pairs stay below."""
    a, b = np.sort(np.ravel(a)), np.sort(np.ravel(b))
    both = np.concatenate([a, b])
    apart = np.searchsorted(a, both, side="right") / len(a) - np.searchsorted(b, both, side="right") / len(b)
    return math.sqrt(len(a) * len(b) / (len(a) + len(b))) * np.abs(apart).max() < 1.95


PYTORCHS = {
    "normal": ("normal_", {"std": 0.3}),
    "uniform": ("uniform_", {"a": -0.3, "b": 0.3}),
    "truncated_normal, bounds far away": ("trunc_normal_", {"std": 0.02}),
    "truncated_normal, bounds near": ("trunc_normal_", {}),
    "xavier_uniform": ("xavier_uniform_", {}),
    "xavier_normal": ("xavier_normal_", {}),
    "kaiming_normal": ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}),
    "kaiming_normal_fan_in": ("kaiming_normal_", {"nonlinearity": "relu"}),
    "kaiming_uniform": ("kaiming_uniform_", {"a": math.sqrt(5)}),
}


@pytest.mark.reference
@pytest.mark.parametrize("name", PYTORCHS)
def test_pytorch_draws_from_the_same_distribution(name):
    import torch

    function, options = PYTORCHS[name]
    theirs = getattr(torch.nn.init, function)(
        torch.empty(SHAPE), **options, generator=torch.Generator().manual_seed(1)
    ).numpy()
    draw = DISTRIBUTIONS[name][0]
    assert of_one_distribution(draw(generator(8, name), SHAPE), theirs)
    assert not of_one_distribution(1.1 * draw(generator(8, name), SHAPE), theirs)


@pytest.mark.reference("jax")
@pytest.mark.parametrize(("name", "function"), [("lecun_normal", "lecun_normal"), ("xavier_uniform", "glorot_uniform")])
def test_jax_draws_from_the_same_distribution(name, function):
    import jax

    draw = getattr(jax.nn.initializers, function)(in_axis=1, out_axis=0)
    theirs = np.asarray(draw(jax.random.key(1), SHAPE))
    assert of_one_distribution(DISTRIBUTIONS[name][0](generator(8, name), SHAPE), theirs)
    assert not of_one_distribution(1.1 * DISTRIBUTIONS[name][0](generator(8, name), SHAPE), theirs)


def test_a_truncated_normal_stays_within_its_bounds():
    values = init.truncated_normal(1.0, -0.5, 0.25)(generator(0, "x"), (40_000,))
    assert -0.5 <= values.min() < -0.49
    assert 0.24 < values.max() <= 0.25


def test_bounds_that_are_never_reached_change_no_bit():
    np.testing.assert_array_equal(
        init.truncated_normal(0.02)(generator(3, "x"), (1000,)), init.normal(0.02)(generator(3, "x"), (1000,))
    )


def test_matrices_and_kernels_count_their_fans_alike():
    matrix = init.xavier_uniform(generator(0, "x"), (30, 20))
    assert 0.99 < np.abs(matrix).max() / math.sqrt(6 / 50) <= 1
    kernel = init.lecun_normal(generator(0, "x"), (64, 3, 16, 16))
    assert abs(kernel.std() / (3 * 16 * 16) ** -0.5 - 1) < 0.02


def test_zeros_and_ones():
    assert not init.zeros(generator(0), (3, 2)).any()
    assert (init.ones(generator(0), (3, 2)) == 1).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_empty_parameter_is_no_special_case(shape):
    assert init.truncated_normal(0.02)(generator(0), shape).shape == shape


@pytest.mark.parametrize("allowed", [59, 60])
def test_no_more_parameters_are_made_than_are_allowed(allowed: int) -> None:
    if allowed == 60:
        with init.at_most(allowed):
            nn.Linear(5, 10)  # 50 weights, 10 biases
    else:
        with pytest.raises(init.TooManyParametersError, match=r"shape \(10,\) is more than the 9 values that are left"):
            with init.at_most(allowed):
                nn.Linear(5, 10)
    nn.Linear(5, 10)  # outside, there is no limit


def test_what_is_not_allowed_is_not_allocated() -> None:
    with init.at_most(1000):
        for make in (
            lambda: nn.Linear(10**7, 10**7),
            lambda: nn.LayerNorm(10**12),
            lambda: nn.PatchEmbedding(3, 10**12, 1),
            lambda: nn.Conv2d(10**7, 10**7, 1),
        ):
            with pytest.raises(init.TooManyParametersError):
                make()
