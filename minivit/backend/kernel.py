"""What a kernel is: the faster twin of an op's text for one array library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kernel:
    """Forward and backward of an op on the arrays of one library.

    Attributes
    ----------
    forward : callable
        (*arrays, **attributes) -> (output, saved).
    backward : callable
        (dy, saved, *inputs, wanted, **attributes) -> one gradient an input, None where not wanted.
    accepts : callable
        (*arrays, **attributes) -> bool: whether it can run on these arrays.
    keeps : tuple of str
        Names of the inputs whose arrays its backward needs; the others come as placeholders.
    evaluate : callable or None
        (*arrays, **attributes) -> output: the forward where no backward will follow, with the same bits. None where
        there would be nothing to leave out.
    """

    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., tuple[Any, ...]]
    accepts: Callable[..., bool]
    keeps: tuple[str, ...] = ()
    evaluate: Callable[..., Any] | None = None
