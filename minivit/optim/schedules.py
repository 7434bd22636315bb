"""Learning rates over a run: warm-up, then a fall to zero."""

from __future__ import annotations

import math


def warmup_cosine(step: int, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine.

    (step + 1) / warmup in the warm-up, after it final + (1 - final) (1 + cos(pi p)) / 2, p from 0 to 1 over the rest.
    Google's ViT (vit_jax/utils.py) has step / warmup, and so learns nothing in its first step; the rest is the same.

    Parameters
    ----------
    step : int
        From 0.
    total_steps, warmup_steps : int
    final : float
        Where the cosine ends, as a fraction of the peak.

    Returns
    -------
    float in [0, 1]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * _progress(step, total_steps, warmup_steps)))


def warmup_linear(step: int, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> float:
    """Factor of the learning rate: linear warm-up, then a straight line down to `final`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 1.0 - (1.0 - final) * _progress(step, total_steps, warmup_steps)


def warmup_constant(step: int, total_steps: int, warmup_steps: int = 0, final: float = 1.0) -> float:  # noqa: ARG001
    """Factor of the learning rate: linear warm-up, then 1."""
    return min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0


def _progress(step: int, total_steps: int, warmup_steps: int) -> float:
    return min(1.0, max(0.0, (step - warmup_steps) / max(1, total_steps - warmup_steps)))


SCHEDULES = {"cosine": warmup_cosine, "linear": warmup_linear, "constant": warmup_constant}
