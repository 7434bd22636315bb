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


def googles(step, total, warmup, kind, end=0.0):
    """What google-research/vision_transformer computes in vit_jax/utils.py, create_learning_rate_schedule."""
    progress = min(max((step - warmup) / (total - warmup), 0.0), 1.0)
    fall = end + (1 - end) * (1 - progress) if kind == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return fall * min(1.0, step / warmup) if warmup else fall


@pytest.mark.parametrize(("total", "warmup"), [(10_000, 500), (40, 7), (12, 1), (9, 0)])
def test_schedules_are_googles_whose_warm_up_is_a_step_behind(total, warmup):
    for step in range(total + 3):
        theirs = max(step, min(step + 1, warmup))  # the step of theirs that ours is at
        assert warmup_cosine(step, total, warmup) == pytest.approx(googles(theirs, total, warmup, "cosine"), abs=1e-15)
        assert warmup_linear(step, total, warmup, final=1e-5) == pytest.approx(
            googles(theirs, total, warmup, "linear", end=1e-5), abs=1e-15
        )
    if warmup:
        assert googles(0, total, warmup, "cosine") == 0 < warmup_cosine(0, total, warmup)


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
