"""CutMix: a box of each image is replaced by that of another, and the target by a share that is the box's area."""

from __future__ import annotations

import numpy as np

from minivit.augment.mixup import check_mixable
from minivit.backend import Array, array_module
from minivit.backend.random import generator


def cutmix(
    images: Array, targets: Array, *, alpha: float, seed: int, step: int, per_image: bool = False
) -> tuple[Array, Array]:
    """A box of about ``1 - lam`` of the area comes from a partner, lam from Beta(alpha, alpha).

    S. Yun, D. Han, S. Oh, S. Chun, J. Choe, Y. Yoo: CutMix: Regularization strategy to train strong classifiers with
    localizable features. ICCV 2019, equations 1 and 2.

    The box has the image's proportions and lies around a random pixel; what reaches over the edge is cut off. As in
    the authors' code, the targets are mixed by the area that is left of it.

    Partners are a random permutation of the batch, so a batch has to be mixed before it is split. All is drawn on the
    host, keyed by seed and step.

    Parameters
    ----------
    images : array (B, C, H, W)
        Of any dtype.
    targets : array (B, K) of a float type
        Probabilities, such as `one_hot(labels, K)`.
    alpha : float
        0 leaves everything as it is; 1, the paper's choice, draws lam evenly from 0 to 1.
    seed, step : int
    per_image : bool
        Whether each image has a box of its own, or the batch has one.

    Returns
    -------
    images : array (B, C, H, W)
    targets : array (B, K)

    Raises
    ------
    ValueError
        If alpha is negative or the shapes do not fit together.
    TypeError
        If the targets are not floats.
    """
    check_mixable(images, targets, alpha)
    if alpha == 0:
        return images, targets
    xp = array_module(images, targets)
    B, _, H, W = images.shape
    host = generator(seed, "cutmix", step)
    partner = xp.asarray(host.permutation(B))
    count = B if per_image else 1
    root = np.sqrt(1 - host.beta(alpha, alpha, count))
    spans = []
    for side in (H, W):
        half = (side * root).astype(np.int64) // 2
        offset = np.arange(side) - host.integers(side, size=count)[:, None]  # (count, side)
        spans.append((offset >= -half[:, None]) & (offset < half[:, None]))
    rows, columns = spans
    share = (rows.sum(1) * columns.sum(1) / (H * W)).astype(targets.dtype)[:, None]  # (count, 1)
    box = xp.asarray(rows[:, None, :, None] & columns[:, None, None, :])  # (count, 1, H, W)
    kept, taken = xp.asarray(1 - share), xp.asarray(share)
    return xp.where(box, images[partner], images), kept * targets + taken * targets[partner]
