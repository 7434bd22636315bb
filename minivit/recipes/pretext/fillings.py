"""Fillings of holes that nothing was learned for: what a model's have to be better than."""

from __future__ import annotations

import numpy as np

ROUNDS = 64  # of diffusion, at each size of the image


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

    That goes towards the smoothest filling, the harmonic one (Jacobi's iteration of Laplace's equation), but takes its
    time to cross a wide hole. So it begins at the filling of the image at half the size, where that has even sides, and
    else at the mean of the known pixels. At the edge of the image a pixel has fewer neighbours.

    Parameters
    ----------
    images : ndarray (B, C, H, W)
    hidden : ndarray (B, 1, H, W) of bool

    Returns
    -------
    ndarray (B, C, H, W) of the images' dtype
    """
    H, W = images.shape[2:]
    if H % 2 == W % 2 == 0:
        coarse = fill_diffusion(*_halved(images, hidden))
        start = coarse.repeat(2, axis=2).repeat(2, axis=3)
    else:
        start = _mean_of_known(images, hidden, (2, 3))
    filled = np.where(hidden, start, images)
    neighbours = np.maximum(_sum_of_neighbours(np.ones((1, 1, H, W), images.dtype)), 1)
    for _ in range(ROUNDS):
        filled = np.where(hidden, _sum_of_neighbours(filled) / neighbours, images)
    return filled.astype(images.dtype, copy=False)


def _halved(images: np.ndarray, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squares of 2 x 2 pixels as one, the mean of those that are known; hidden where none is."""
    B, C, H, W = images.shape
    squares, holes = (array.reshape(B, -1, H // 2, 2, W // 2, 2) for array in (images, hidden))
    return _mean_of_known(squares, holes, (3, 5)).reshape(B, C, H // 2, W // 2), np.asarray(holes.all((3, 5)))


def _mean_of_known(images: np.ndarray, hidden: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    known = ~hidden
    total = np.where(hidden, images.dtype.type(0), images).sum(axis, keepdims=True)
    return total / np.maximum(known.sum(axis, keepdims=True), 1).astype(images.dtype)  # type: ignore[no-any-return]


def _sum_of_neighbours(values: np.ndarray) -> np.ndarray:
    total = np.zeros_like(values)
    total[:, :, 1:] += values[:, :, :-1]
    total[:, :, :-1] += values[:, :, 1:]
    total[:, :, :, 1:] += values[:, :, :, :-1]
    total[:, :, :, :-1] += values[:, :, :, 1:]
    return total


FILLINGS = {"mean_colour": fill_mean, "diffusion": fill_diffusion}
