"""An exponential moving average of the weights, for evaluation (Polyak & Juditsky 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from minivit.backend import Array, backend_of, to_host
from minivit.nn import FlatParameters
from minivit.nn.state import check_state


class ExponentialMovingAverage:
    """average = d average + (1 - d) parameters after every step, d = min(decay, (1 + t) / (10 + t)).

    The bound on d keeps a short run's average from being mostly the initial weights.

    Buffers are not averaged: the model keeps the running statistics of its batch normalisations, which are averages
    already. PyTorch's `torch.optim.swa_utils.AveragedModel` does the same unless it is told otherwise.

    Parameters
    ----------
    flat : FlatParameters
    decay : float in [0, 1)
    """

    def __init__(self, flat: FlatParameters, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ExponentialMovingAverage: decay must lie in [0, 1), got {decay}")
        self.flat, self.decay = flat, decay
        self.average: Array = self._copy()
        self._segments = flat.segments
        self.steps = 0

    def update(self) -> None:
        """Take one step's parameters into the average."""
        self._follow_layout()
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.average *= d
        self.average += (1.0 - d) * self.flat.data

    def replace_weights(self) -> None:
        """Give the model the averaged weights for good: at the end of a run."""
        self._follow_layout()
        self._set(self.average)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Let the model have the averaged weights inside the block."""
        self._follow_layout()
        own = self.flat.data.copy()
        self._set(self.average)
        try:
            yield
        finally:
            self._set(own)

    def _set(self, values: Array) -> None:
        self.flat.data[...] = values
        self.flat.touch()

    def _copy(self) -> Array:
        values = self.flat.zeros()
        values[...] = self.flat.data
        return values

    def _follow_layout(self) -> None:
        """Where the parameters were laid out anew: those that stayed keep their average, new ones start from now."""
        self.flat.refresh()
        if self._segments is self.flat.segments:
            return
        average = self._copy()
        self.flat.carry_over(self.average, self._segments, into=average)
        self.average, self._segments = average, self.flat.segments

    def state_dict(self) -> dict[str, np.ndarray]:
        """The average by parameter name, and the number of steps."""
        self._follow_layout()
        arrays = {name: np.array(to_host(view)) for name, view in self.flat.by_name(self.average).items()}
        return {**arrays, "steps": np.array(self.steps, np.int64)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Write what `state_dict` gave.

        Raises
        ------
        StateError
            Listing every missing, unexpected and mis-shaped name; nothing is written then.
        """
        self._follow_layout()
        check_state(type(self).__name__, {**self.flat.shapes, "steps": ()}, state)
        for name, view in self.flat.by_name(self.average).items():
            host = np.asarray(state[name], dtype=view.dtype, order="C")
            view[...] = backend_of(view).from_host(host, self.flat.device)
        self.steps = int(state["steps"])
