"""What a line of the log sums up."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from minivit.backend import to_host
from minivit.recipes.step import StepResult


class LogWindow:
    """The steps since the last line of the log, read all at once.

    Parameters
    ----------
    earlier : list of dict
        Values of the steps of this window that an interrupted run made.
    """

    def __init__(self, earlier: Sequence[dict[str, float]] = ()) -> None:
        self._earlier = list(earlier)
        self._results: list[StepResult] = []
        self._begun = time.monotonic()

    def restart_clock(self) -> None:
        """Time from here on."""
        self._begun = time.monotonic()

    def add(self, result: StepResult) -> None:
        """Take in a step."""
        self._results.append(result)

    def entries(self) -> list[dict[str, float]]:
        """The values of each step (waits for the device)."""
        return self._earlier + [
            {name: float(to_host(value)) for name, value in result.values.items()} for result in self._results
        ]

    def read(self) -> dict[str, float]:
        """The mean of each value over the steps, the last gradient norm, the speed."""
        entries = self.entries()
        means = {name: math.fsum(entry[name] for entry in entries) / len(entries) for name in entries[0]}
        timed = sum(result.size for result in self._results)
        return {
            **means,
            "grad_norm": float(to_host(self._results[-1].grad_norm)),
            "examples_per_second": timed / max(time.monotonic() - self._begun, 1e-9),
        }
