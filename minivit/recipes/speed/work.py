"""What can be timed: each kind of work knows what is done, and does it as minivit does.

What a framework does of the same is in `minivit.compare.rivals`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from minivit.recipes.speed.turns import Step


class Work(Protocol):
    """A kind of work, as small picklable settings."""

    @property
    def examples(self) -> int:
        """That one step takes in."""

    @property
    def gflop(self) -> float:
        """Floating-point operations of matrix products and convolutions in a step, in 10^9; a backward is two
        forwards' worth.
        """

    def start(self) -> AbstractContextManager[Step]:
        """The step as minivit makes it, with the threads that it needs until the context is left."""

    def told(self) -> dict[str, Any]:
        """JSON-able: what a result says of the work."""
