"""Every fault of `faults`, planted in a random block of a small model and looked for by a trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivit.compare.faults import FAULTS, plant
from minivit.compare.modules import randomise
from minivit.compare.trace import Trace, trace
from minivit.models import VisionTransformer


@dataclass(frozen=True)
class Found:
    """A planted fault.

    Attributes
    ----------
    fault : str
    planted, named : str
        The guilty module, and the one that the trace names.
    output, gradient : float
        Relative deviation of what that module makes, and of the gradient that it hands back.
    model : float
        Relative deviation of the logits.
    """

    fault: str
    planted: str
    named: str
    output: float
    gradient: float
    model: float

    @property
    def passed(self) -> bool:
        """Whether the trace names the guilty module."""
        return self.planted == self.named


def small_model(seed: int = 0) -> VisionTransformer:
    """A Vision Transformer of 6 narrow blocks in double precision, with random weights."""
    model = VisionTransformer(32, 8, 24, 6, 3, 96, 10, seed=seed)
    randomise(model, seed).astype(np.float64).eval()
    return model


def find_faults(seed: int = 0) -> list[Found]:
    """Plant and find each fault. Needs PyTorch.

    Parameters
    ----------
    seed : int
        Of weights, images and blocks.
    """
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((2, 3, 32, 32))
    found = []
    for fault in FAULTS:
        model = small_model(seed)
        planted = plant(model, fault, int(rng.integers(len(model.blocks))))
        found.append(_found(fault, planted, trace(model, images, small_model(seed), seed)))
    return found


def _found(fault: str, planted: str, traced: Trace) -> Found:
    steps = {step.name: step for step in traced.steps}
    named = traced.guilty.name if traced.guilty else "nothing"
    at = steps[planted]
    return Found(fault, planted, named, at.made.relative, at.gradient_made.relative, steps[""].made.relative)
