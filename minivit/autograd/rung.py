"""A rung of the ladder of proofs: what was compared, how far apart it was, whether that passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

RUNGS = {
    1: "NumPy transcription",
    2: "composed",
    3: "complex step",
    4: "central differences",
    5: "second order",
    6: "linear in dy",
    7: "dtype, shape, inputs kept",
    8: "nothing left alive",
    9: "kernel",
    10: "GPU",
    11: "reference",
}

Found = tuple[float, float, str]
"""Error, tolerance, note."""


@dataclass(frozen=True)
class Rung:
    """One rung of the ladder.

    Attributes
    ----------
    number : int
        Its place in `RUNGS`.
    name : str
    error, tolerance : float or None
        Largest deviation found, relative to the largest entry, and the largest allowed. From one above the tolerance
        what rounding may do at this point is taken off first: see `minivit.autograd.rounding`.
    passed : bool or None
        None where it does not apply, as a kernel for an op that has none.
    note : str
        What was compared, what went wrong, or why it does not apply.
    """

    number: int
    name: str
    error: float | None
    tolerance: float | None
    passed: bool | None
    note: str = ""


class NotApplicableError(Exception):
    """The rung says nothing about this op; the text says why."""


def try_rung(number: int, name: str, step: Callable[[], Found]) -> Rung:
    """Take a step; one that raises has failed."""
    try:
        error, tolerance, note = step()
    except NotApplicableError as reason:
        return Rung(number, name, None, None, None, str(reason))
    except Exception as failure:  # noqa: BLE001 - whatever an op under test raises is the finding
        return Rung(number, name, float("inf"), 0.0, False, f"{type(failure).__name__}: {failure}")
    return Rung(number, name, float(error), float(tolerance), bool(error <= tolerance), note)
