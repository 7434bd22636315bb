"""An exponential moving average of the weights, for evaluation (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from minivit.backend import Array, backend_of, device_of, to_host
from minivit.nn import FlatParameters


class ExponentialMovingAverage:
    """average = d average + (1 - d) parameters after every step, d = min(decay, (1 + t) / (10 + t)).

    The bound on d keeps a short run's average from being mostly the initial weights.

    Parameters
    ----------
    flat : FlatParameters
    decay : float in [0, 1)
    """

    def __init__(self, flat: FlatParameters, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ExponentialMovingAverage: decay must lie in [0, 1), got {decay}")
        self.flat, self.decay = flat, decay
        self.average: Array = flat.data.copy()
        self.steps = 0

    def update(self) -> None:
        """Take one step's parameters into the average."""
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.average *= d
        self.average += (1.0 - d) * self.flat.data

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Let the model have the averaged weights inside the block."""
        own = self.flat.data.copy()
        self._set(self.average)
        try:
            yield
        finally:
            self._set(own)

    def _set(self, values: Array) -> None:
        self.flat.data[...] = values
        self.flat.touch()

    def state_dict(self) -> dict[str, np.ndarray]:
        """The average by parameter name, and the number of steps."""
        arrays = {name: np.array(to_host(view)) for name, view in self.flat.by_name(self.average).items()}
        return {**arrays, "steps": np.array(self.steps, np.int64)}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        """Write what `state_dict` gave."""
        self.steps = int(state["steps"])
        backend = backend_of(self.average)
        for name, view in self.flat.by_name(self.average).items():
            view[...] = backend.from_host(np.ascontiguousarray(state[name]), device_of(self.average))
