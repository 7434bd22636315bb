"""Computing only what is wanted, where that is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minivit.backend import Array, array_module


def assign(target: Array, chosen: Array, compute: Callable[[Any], Array]) -> None:
    """``target[chosen] = compute(chosen)``, for an array `chosen` (B,) of bool, in the way that is best for the device.

    On the host the chosen images alone are computed. On a GPU a look at which ones they are would make the host wait
    for the device: all are computed, and the chosen ones taken.
    """
    xp = array_module(target)
    if xp is np:
        index = np.flatnonzero(chosen)
        if len(index):
            target[index] = compute(index)
    else:
        everything = slice(None)
        target[...] = xp.where(chosen.reshape(-1, *(1,) * (target.ndim - 1)), compute(everything), target)
