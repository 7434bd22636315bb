"""What a measurement amounts to: times, speeds, memory and losses of all contenders, and ours over the others'."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from minivit.recipes.speed.turns import Measured
from minivit.recipes.speed.work import Work

COMPARED_STEPS = 4
"""Steps whose losses say whether two programs train alike: rounding grows from step to step."""


def summarize_measured(measured: Measured, work: Work) -> dict[str, Any]:
    """What one program took.

    Returns
    -------
    dict
        ``ms``, the median of a step, and ``min_ms``; ``img_s``, examples per second; ``steps_s``; ``gflops``, 10^9
        operations per second; ``rss_mb``, proportional set size in MiB, of all its processes; ``losses`` of the first
        steps.
    """
    times = [seconds for one in measured.rounds for seconds in one]
    median = statistics.median(times)
    return {
        "ms": 1e3 * median,
        "min_ms": 1e3 * min(times),
        "img_s": work.examples / median,
        "steps_s": 1.0 / median,
        "gflops": work.gflop / median,
        "rss_mb": measured.peak_bytes / 2**20,
        "losses": measured.losses[:COMPARED_STEPS],
    }


def speed_ratios(ours: Measured, theirs: Measured) -> list[float]:
    """By round, their median time of a step over ours: above 1 we are faster."""
    pairs = zip(ours.rounds, theirs.rounds, strict=True)
    return [statistics.median(their_times) / statistics.median(our_times) for our_times, their_times in pairs]


def loss_difference(one: Measured, other: Measured) -> float:
    """The largest difference of the losses of the first steps, relative to those of the second."""
    pairs = zip(one.losses[:COMPARED_STEPS], other.losses[:COMPARED_STEPS], strict=True)
    return max(abs(ones - others) / max(abs(others), 1e-30) for ones, others in pairs)


def summarize_speed(work: Work, found: Mapping[str, Measured]) -> dict[str, Any]:
    """The result of a measurement.

    Parameters
    ----------
    work : Work
    found : mapping of str to Measured
        Ours under ``"minivit"``, and a rival's, where there is one, under its name.

    Returns
    -------
    dict
        What was done and, of ours, what `summarize_measured` says. With a rival such as ``"torch"``, the same of it
        under its name; ``speed_over_torch``, the median over the rounds of `speed_ratios`, which are the ``ratios``;
        ``memory_over_torch``; ``loss_difference``, the largest relative difference of the losses of the first steps.
    """
    ours = found["minivit"]
    summary = {**work.told(), **summarize_measured(ours, work)}
    for name, theirs in found.items():
        if name == "minivit":
            continue
        summary[name] = summarize_measured(theirs, work)
        ratios = speed_ratios(ours, theirs)
        summary[f"speed_over_{name}"] = statistics.median(ratios)
        summary["ratios"] = ratios
        summary[f"memory_over_{name}"] = ours.peak_bytes / theirs.peak_bytes if theirs.peak_bytes else None
        summary["loss_difference"] = loss_difference(ours, theirs)
    return summary
