"""Seeded, stratified splits: every part has the same share of each class, as nearly as whole images allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from minivit.backend.random import generator
from minivit.data.dataset import Dataset, Indices, Labels


def stratified_split(labels: Labels, shares: Sequence[float], seed: int = 0) -> tuple[Indices, ...]:
    """Split image indices into parts that each hold their share of every class.

    Parameters
    ----------
    labels : array (N,) of int64
    shares : sequence of floats
        Each at least 0; their sum is 1.
    seed : int
        The same seed gives the same split everywhere.

    Returns
    -------
    tuple of arrays of int64
        Sorted indices, one array a share; together every index once. A class's images are divided by largest remainder,
        but no part with a share above 0 is left without one.

    Raises
    ------
    ValueError
        If the shares are negative or do not add up to 1, or a class has too few images to be in every part.
    """
    wanted = np.asarray(shares, np.float64)
    if wanted.min() < 0 or abs(wanted.sum() - 1) > 1e-9:
        raise ValueError(f"expected shares of at least 0 that add up to 1, got {list(shares)}")
    parts: list[list[Indices]] = [[] for _ in shares]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < np.count_nonzero(wanted):
            raise ValueError(
                f"class {int(label)} has {len(members)} image(s), too few for one in each of "
                f"{np.count_nonzero(wanted)} parts; add images or split into fewer parts"
            )
        members = generator(seed, "split", int(label)).permutation(members)
        ends = np.cumsum(_counts(len(members), wanted))
        for part, chosen in zip(parts, np.split(members, ends[:-1]), strict=True):
            part.append(chosen)
    return tuple(np.sort(np.concatenate(part)) if part else np.zeros(0, np.int64) for part in parts)


def _counts(total: int, wanted: npt.NDArray[np.float64]) -> Indices:
    """`total` divided in proportion to `wanted`, in whole numbers by largest remainder, at least 1 where above 0."""
    exact = total * wanted
    counts = np.floor(exact + 1e-9).astype(np.int64)
    largest_first = np.argsort(counts - exact, kind="stable")
    counts[largest_first[: total - counts.sum()]] += 1
    while (empty := (counts == 0) & (wanted > 0)).any():
        counts[np.argmax(counts)] -= 1
        counts[np.argmax(empty)] += 1
    return counts


def hold_out(dataset: Dataset, share: float = 0.1, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Hold a share of every class out of a training set, to choose settings on.

    Parameters
    ----------
    dataset : Dataset
        Training images. Their mean and std stay as they are.
    share : float
        Between 0 and 1, both excluded.
    seed : int

    Returns
    -------
    train, validation : Dataset

    Raises
    ------
    ValueError
        If the share is out of range or a class has fewer than two images.
    """
    if not 0 < share < 1:
        raise ValueError(f"expected a share between 0 and 1 to hold out, got {share}")
    kept, held_out = stratified_split(dataset.labels, [1 - share, share], seed)
    return dataset.subset(kept), replace(dataset.subset(held_out), name=f"{dataset.name} held out")
