"""Choices out of random words, which are the same bits on every device."""

from __future__ import annotations

import numpy as np

from minivit.backend import Array


def below(words: Array, high: int | Array) -> Array:
    """Integers from 0 to high - 1, as `minivit.backend.random.integers` makes them: int32, of the words' shape.

    `high` may be an array of their shape.
    """
    high = high if isinstance(high, int) else high.astype(np.uint64)
    return ((words.astype(np.uint64) * high) >> 32).astype(np.int32)


def unit(words: Array) -> Array:
    """Numbers from [0, 1), as `minivit.backend.random.uniform` makes them: float32, of the words' shape."""
    return (words >> 8).astype(np.float32) * 2.0**-24
