"""mixup: each image and its target are blended with those of another."""

from __future__ import annotations

import numpy as np

from minivit.backend import Array, array_module
from minivit.backend.random import generator


def mixup(
    images: Array, targets: Array, *, alpha: float, seed: int, step: int, per_image: bool = False
) -> tuple[Array, Array]:
    """``lam * x + (1 - lam) * x[partner]`` for the images and their targets alike, lam from Beta(alpha, alpha).

    H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz: mixup: Beyond empirical risk minimization. ICLR 2018.

    Partners are a random permutation of the batch, so a batch has to be mixed before it is split. The permutation and
    lam are drawn on the host, keyed by seed and step.

    Parameters
    ----------
    images : array (B, C, H, W) of a float type
    targets : array (B, K) of a float type
        Probabilities, such as `one_hot(labels, K)`.
    alpha : float
        0 leaves everything as it is; 1 draws lam evenly from 0 to 1.
    seed, step : int
    per_image : bool
        Whether each image has a lam of its own, or the batch has one.

    Returns
    -------
    images : array (B, C, H, W)
    targets : array (B, K)

    Raises
    ------
    ValueError
        If alpha is negative or the shapes do not fit together.
    TypeError
        If images or targets are not floats.
    """
    check_mixable(images, targets, alpha)
    if images.dtype.kind != "f":
        raise TypeError(f"expected images of a float type, got {images.dtype}; normalise them first")
    if alpha == 0:
        return images, targets
    xp = array_module(images, targets)
    host = generator(seed, "mixup", step)
    partner = xp.asarray(host.permutation(images.shape[0]))
    drawn = host.beta(alpha, alpha, images.shape[0] if per_image else 1)

    def blend(x: Array) -> Array:
        lam = xp.asarray(drawn.astype(x.dtype)).reshape((-1,) + (1,) * (x.ndim - 1))
        return x * lam + x[partner] * (1 - lam)

    return blend(images), blend(targets)


def check_mixable(images: Array, targets: Array, alpha: float) -> None:
    """Raise unless these are images and the probabilities of their classes, and alpha can be Beta's."""
    if alpha < 0:
        raise ValueError(f"expected alpha of at least 0, got {alpha}")
    if images.ndim != 4 or targets.ndim != 2 or images.shape[0] != targets.shape[0]:
        raise ValueError(f"expected images (B, C, H, W) and targets (B, K), got {images.shape} and {targets.shape}")
    if targets.dtype.kind != "f":
        raise TypeError(f"expected targets of a float type, got {targets.dtype}; one_hot labels")


def one_hot(labels: Array, num_classes: int) -> Array:
    """Labels as probabilities.

    Parameters
    ----------
    labels : array (B,) of an integer type
    num_classes : int

    Returns
    -------
    array (B, num_classes) of float32
        1 at the label, else 0; a label out of range gives a row of zeros.
    """
    xp = array_module(labels)
    probabilities: Array = (labels[:, None] == xp.arange(num_classes)).astype(np.float32)
    return probabilities
