"""Tests of minivit/optim/schedules.py."""

import math

import pytest

from minivit.optim import SCHEDULES, warmup_constant, warmup_cosine, warmup_linear


def test_cosine_entry_by_entry():
    factors = [warmup_cosine(step, 10, 4) for step in range(12)]
    half = [0.5 * (1 + math.cos(math.pi * p / 6)) for p in range(6)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1.0, *half, 0.0, 0.0], abs=1e-15)


def test_linear_entry_by_entry():
    assert [warmup_linear(step, 6, 2) for step in range(8)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_constant_entry_by_entry():
    assert [warmup_constant(step, 6, 2) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert warmup_constant(0, 6) == 1.0


@pytest.mark.parametrize("schedule", [warmup_cosine, warmup_linear])
def test_the_fall_ends_at_the_final_fraction(schedule):
    assert schedule(0, 10, final=0.1) == 1.0
    assert schedule(10, 10, final=0.1) == pytest.approx(0.1)
    assert schedule(10**9, 10, final=0.1) == pytest.approx(0.1)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("total", "warmup"), [(1, 0), (1, 1), (5, 5), (100, 7), (3, 10)])
def test_a_factor_is_positive_until_the_end_and_never_above_one(name, total, warmup):
    factors = [SCHEDULES[name](step, total, warmup) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    rising = factors[: min(warmup, total)]
    assert rising == sorted(rising)
    falling = factors[warmup:]
    assert falling == sorted(falling, reverse=True)
