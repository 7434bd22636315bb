"""Fillings of holes that nothing was learned for: what a model's have to be better than."""

from __future__ import annotations

import numpy as np

ROUNDS_PER_PIXEL = 8  # of diffusion, for each pixel of the image's longer side


def fill_mean(images: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Fill with the mean colour of the data set, which is 0 after normalisation.

    Parameters
    ----------
    images : ndarray (B, C, H, W)
        Normalised.
    hidden : ndarray (B, 1, H, W) of bool

    Returns
    -------
    ndarray (B, C, H, W)
    """
    return np.where(hidden, images.dtype.type(0), images)


def fill_diffusion(images: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Let the known pixels spread: each hidden pixel becomes the mean of its four neighbours, again and again.

    That goes towards the smoothest filling, the harmonic one (Jacobi's iteration of Laplace's equation). It begins at
    the mean of the image's known pixels; at the edge of the image a pixel has fewer neighbours.

    Parameters
    ----------
    images : ndarray (B, C, H, W)
    hidden : ndarray (B, 1, H, W) of bool

    Returns
    -------
    ndarray (B, C, H, W) of the images' dtype
    """
    H, W = images.shape[2:]
    known = ~hidden
    start = (images * known).sum((2, 3), keepdims=True) / np.maximum(known.sum((2, 3), keepdims=True), 1)
    filled = np.where(hidden, start, images)
    neighbours = _sum_of_neighbours(np.ones((1, 1, H, W), images.dtype))
    for _ in range(ROUNDS_PER_PIXEL * max(H, W)):
        filled = np.where(hidden, _sum_of_neighbours(filled) / np.maximum(neighbours, 1), images)
    return filled.astype(images.dtype, copy=False)


def _sum_of_neighbours(values: np.ndarray) -> np.ndarray:
    total = np.zeros_like(values)
    total[:, :, 1:] += values[:, :, :-1]
    total[:, :, :-1] += values[:, :, 1:]
    total[:, :, :, 1:] += values[:, :, :, :-1]
    total[:, :, :, :-1] += values[:, :, :, 1:]
    return total


FILLINGS = {"mean_colour": fill_mean, "diffusion": fill_diffusion}
