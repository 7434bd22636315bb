"""What a run tells the person who watches: a progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO


class Console:
    """Progress of a run.

    Parameters
    ----------
    stream : text stream, optional
        Standard error by default.
    interval : float
        Seconds between lines where the stream is no terminal (or tqdm is not installed).
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 10.0) -> None:
        self.stream = stream or sys.stderr
        self.interval = interval
        self._bar: Any = None
        self._last_line = -math.inf

    def message(self, text: str) -> None:
        """Print a line without disturbing the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def start(self, total: int, done: int) -> None:
        """Begin a run of `total` steps, of which `done` are behind."""
        self._total = total
        if self.stream.isatty():
            try:
                from tqdm import tqdm
            except ImportError:
                return
            self._bar = tqdm(total=total, initial=done, unit="step", file=self.stream, dynamic_ncols=True)

    def step(self, step: int, values: dict[str, Any], seconds_left: float) -> None:
        """Show the state after `step` steps."""
        if self._bar is not None:
            self._bar.n = step
            self._bar.set_postfix(values, refresh=False)
            self._bar.refresh()
            return
        now = time.monotonic()
        if now - self._last_line >= self.interval or step == self._total:
            self._last_line = now
            described = "  ".join(f"{name} {value}" for name, value in values.items())
            self.message(f"step {step}/{self._total}  {described}  {_duration(seconds_left)} left")

    def finish(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def measured_in_words(values: Mapping[str, float]) -> str:
    """Measured values as text: ``accuracy 71.30 %, loss 0.8123``."""
    return ", ".join(
        f"{name} {100 * value:.2f} %" if name == "accuracy" else f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in values.items()
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes}:{rest:02d}"
