"""How far two arrays of the same thing are apart: largest absolute and relative error, and units in the last place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Distance:
    """The largest deviation of one array from another.

    Attributes
    ----------
    absolute : float
        Largest difference of two entries.
    relative : float
        The same over the largest entry of the reference: what a sum whose terms cancel has lost is not held against its
        small results.
    ulps : float
        Largest difference of two entries in units in the last place of the reference's entry, over the entries that are
        at least as large as the root of their mean square.
    """

    absolute: float
    relative: float
    ulps: float


NOTHING = Distance(0.0, 0.0, 0.0)


def distance(ours: Any, theirs: Any) -> Distance:
    """Measure how far an array is from its reference.

    Parameters
    ----------
    ours, theirs : arrays of one shape and one floating-point dtype

    Returns
    -------
    Distance
        Infinite where one is not finite and the other differs; relative to a reference of zeros, infinite or 0.

    Raises
    ------
    ValueError
        If shapes or dtypes differ.
    """
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype or ours.dtype.kind != "f":
        raise ValueError(
            "expected two arrays of one shape and one floating-point dtype, "
            f"got {ours.dtype} {ours.shape} and {theirs.dtype} {theirs.shape}"
        )
    if not ours.size:
        return NOTHING
    same = ours == theirs  # two infinities too
    finite = np.isfinite(ours) & np.isfinite(theirs)
    if not np.all(same | finite):
        return Distance(np.inf, np.inf, np.inf)
    exact = np.where(same, 0.0, theirs).astype(np.float64)
    apart = np.abs(np.where(same, 0.0, ours).astype(np.float64) - exact)
    absolute = float(apart.max())
    if absolute == 0.0:
        return NOTHING
    size = np.abs(np.where(finite, theirs, 0.0))
    largest = float(size.max())
    if largest == 0.0:
        return Distance(absolute, np.inf, np.inf)
    scaled = size.astype(np.float64) / largest
    counted = finite & (scaled >= (1.0 - 1e-6) * np.sqrt(np.mean(scaled * scaled)))
    return Distance(absolute, absolute / largest, float((apart[counted] / np.spacing(size[counted])).max()))


def largest(distances: Iterable[Distance]) -> Distance:
    """The largest of each measure."""
    found = [NOTHING, *distances]
    return Distance(
        max(one.absolute for one in found), max(one.relative for one in found), max(one.ulps for one in found)
    )
