"""Clipping the gradient's norm (Pascanu et al. 2013)."""

from __future__ import annotations

from minivit.backend import Array, array_module
from minivit.nn import FlatParameters


def grad_norm(flat: FlatParameters) -> Array:
    """Euclidean norm over all gradients, as a 0-d array on their device; NaN or infinite if one of them is."""
    flat.refresh()
    xp = array_module(flat.data)
    total = xp.zeros((), dtype=flat.data.dtype)
    for start, stop, _ in flat.runs():
        part = flat.grad[start:stop]
        total = total + xp.dot(part, part)
    return xp.asarray(xp.sqrt(total))


def clip_grad_norm(flat: FlatParameters, max_norm: float) -> Array:
    """Scale all gradients so that their common norm is at most `max_norm`.

    The factor is min(1, max_norm / (norm + 1e-6)), as in PyTorch. Nothing waits for the device.

    Parameters
    ----------
    flat : FlatParameters
    max_norm : float

    Returns
    -------
    0-d array
        The norm before clipping.
    """
    if not max_norm > 0.0:
        raise ValueError(f"clip_grad_norm: max_norm must be positive, got {max_norm}")
    norm = grad_norm(flat)
    xp = array_module(flat.data)
    factor = xp.minimum(max_norm / (norm + 1e-6), xp.ones_like(norm))
    for start, stop, _ in flat.runs():
        flat.grad[start:stop] *= factor
    flat.clear_gaps()  # a NaN between the segments would outlive this step's gradients
    return norm
