"""Patches of random resolution: made smaller and larger again, so that sharpness tells nothing."""

from __future__ import annotations

from functools import cache

import numpy as np

from minivit.augment.context_colors import check_patches
from minivit.augment.draws import below, unit
from minivit.backend import Array, array_module
from minivit.backend.random import random_bits

STEPS = 4096
"""Sides are drawn from as many values, which the host computes: then no device's square root decides on one."""


def random_resolution(
    patches: Array,
    probability: float = 0.33,
    fewest_pixels: int | None = None,
    *,
    seed: int,
    step: int,
    image_index: Array,
) -> Array:
    """Make some patches smaller, down to a few pixels in all, and as large as before again.

    The paper's section 4, "robustness to pixelation". The number of pixels is evenly distributed, as in the authors'
    code (github.com/cdoersch/deepcontext, train.py, prep_image), which goes from 96 x 96 down to 10 x 10. Both ways are
    linear interpolation, smaller with averaging (Pillow's bilinear filter).

    Parameters
    ----------
    patches : array (B, n, C, p, p) of a float type
    probability : float
        Of each patch.
    fewest_pixels : int, optional
        Of the smallest in all; by default the authors' share, one of 92, and at least 4.
    seed, step : int
    image_index : array (B,) of an integer type
        What the random numbers are keyed by: the result does not depend on how a batch is split.

    Returns
    -------
    array (B, n, C, p, p) of the patches' dtype

    Raises
    ------
    ValueError, TypeError
        If the patches have another shape or type, or a number is out of range.
    """
    xp = array_module(patches)
    check_patches(patches, image_index)
    B, n, _, size, _ = patches.shape
    if patches.shape[3] != patches.shape[4]:
        raise ValueError(f"expected square patches, got {patches.shape}")
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability from 0 to 1, got {probability}")
    if fewest_pixels is None:
        fewest_pixels = min(max(4, size * size // 92), (size - 1) ** 2)
    if not 1 <= fewest_pixels <= (size - 1) ** 2:
        raise ValueError(
            f"expected a number of pixels from 1 to {(size - 1) ** 2} for patches of {size}x{size}, got {fewest_pixels}"
        )
    words = random_bits(xp, seed, step, "context resolution", image_index, 2 * n)  # (B, 2n)
    sides = xp.asarray(_sides(size, fewest_pixels)).take(below(words[:, n:], STEPS))  # (B, n)
    chosen = xp.where(unit(words[:, :n]) < probability, sides, size)
    table = xp.asarray(_down_and_up(size).astype(patches.dtype))  # (p + 1, p, p)
    matrix = table.reshape(size + 1, -1).take(chosen, axis=0).reshape(B, n, 1, size, size)
    return xp.matmul(xp.matmul(matrix, patches), matrix.swapaxes(3, 4))


@cache
def _sides(size: int, fewest_pixels: int) -> np.ndarray:
    """Sides whose squares are evenly distributed from `fewest_pixels` to (size - 1)^2: array (STEPS,) of int64."""
    middles = (np.arange(STEPS) + 0.5) / STEPS
    return np.sqrt(middles * ((size - 1) ** 2 - fewest_pixels) + fewest_pixels).astype(np.int64)


@cache
def _down_and_up(size: int) -> np.ndarray:
    """For each side s the matrix (p, p) that takes p pixels in a line to s and back: array (p + 1, p, p), [0] unused.

    The last is exactly the identity.
    """
    matrices = [np.zeros((size, size))]
    matrices += [resize_matrix(side, size) @ resize_matrix(size, side) for side in range(1, size + 1)]
    return np.stack(matrices)


def resize_matrix(source: int, target: int) -> np.ndarray:
    """Linear interpolation of `source` pixels in a line at `target` places, as a matrix (target, source).

    A triangle as wide as two pixels of the coarser of the two, sampled at the pixels' middles; its weights add up to 1
    at the edges too.
    """
    scale = source / target
    width = max(scale, 1.0)
    centre = (np.arange(target)[:, None] + 0.5) * scale - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(source) - centre) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights
