"""Classification by the nearest training images in feature space: what features are worth with nothing trained."""

from __future__ import annotations

import numpy as np

from minivit.backend import Array, array_module

VOTES = ("majority", "weighted")


def nearest(queries: Array, bank: Array, k: int, at_once: int = 256) -> tuple[Array, Array]:
    """The rows of a bank that are most like each query, by the cosine of their angle.

    Parameters
    ----------
    queries : array (Q, D)
    bank : array (N, D)
    k : int
        From 1 to N.
    at_once : int
        Queries whose similarities are held at once: the memory taken is `at_once` times N numbers, whatever Q.

    Returns
    -------
    index : array (Q, k) of int64
        Most similar first.
    similarity : array (Q, k)
        From -1 to 1.

    Raises
    ------
    ValueError
        If `k` is out of range, or the features are of different lengths.
    """
    if queries.ndim != 2 or bank.ndim != 2 or queries.shape[1] != bank.shape[1]:
        raise ValueError(f"nearest: expected features (Q, D) and (N, D), got {queries.shape} and {bank.shape}")
    if not 1 <= k <= len(bank):
        raise ValueError(f"nearest: expected from 1 to {len(bank)} neighbours, as many as there are, got {k}")
    xp = array_module(bank)
    bank = unit_rows(bank)
    found = []
    for start in range(0, len(queries), at_once):
        similarity = unit_rows(queries[start : start + at_once]) @ bank.T  # (q, N)
        chosen = xp.argpartition(-similarity, k - 1, axis=1)[:, :k]  # (q, k), in no order
        values = xp.take_along_axis(similarity, chosen, axis=1)
        order = xp.argsort(-values, axis=1)
        found.append(tuple(xp.take_along_axis(array, order, axis=1) for array in (chosen, values)))
    if not found:
        return xp.zeros((0, k), xp.int64), xp.zeros((0, k), bank.dtype)
    index, similarity = (xp.concatenate(arrays) for arrays in zip(*found, strict=True))
    return index.astype(xp.int64), similarity


def unit_rows(features: Array) -> Array:
    """Rows divided by their length; a row of zeros stays one."""
    xp = array_module(features)
    length = xp.sqrt((features * features).sum(1, keepdims=True))  # (N, 1)
    return features / xp.where(length > 0, length, xp.ones_like(length))


def votes(
    labels: Array, similarity: Array, num_classes: int, kind: str = "majority", temperature: float = 0.07
) -> Array:
    """What the neighbours say: one row of scores for each query, whose largest is the answer.

    Parameters
    ----------
    labels : array (Q, k) of int64
        Of the neighbours.
    similarity : array (Q, k)
    num_classes : int
    kind : {"majority", "weighted"}
        A neighbour's vote counts 1; or exp(similarity / temperature), as in DINO (Caron et al. 2021, arXiv:2104.14294,
        appendix F, after Wu et al. 2018, arXiv:1805.01978).
    temperature : float

    Returns
    -------
    array (Q, num_classes) of float64
        Of a tie, the first class is the largest to `argmax`.

    Raises
    ------
    ValueError
        For another kind, or a temperature of 0 or less.
    """
    if kind not in VOTES:
        raise ValueError(f"neighbours vote by {' or '.join(VOTES)}; got {kind!r}")
    if not temperature > 0.0:
        raise ValueError(f"votes: expected a temperature above 0, got {temperature}")
    xp = array_module(labels)
    weight = xp.ones(labels.shape, np.float64)
    if kind == "weighted":
        weight = xp.exp(similarity.astype(np.float64) / temperature)
    scores = xp.zeros((len(labels), num_classes), np.float64)
    rows = xp.arange(len(labels))
    for neighbour in range(labels.shape[1]):  # one of each row at a time, so that no place is written to twice
        scores[rows, labels[:, neighbour]] += weight[:, neighbour]
    return scores
