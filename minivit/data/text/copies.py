"""Texts that two sets share."""

from __future__ import annotations

import numpy as np

from minivit.data.dataset import DatasetError, Indices
from minivit.data.text.dataset import TextDataset


def find_copies(dataset: TextDataset, other: TextDataset) -> Indices:
    """Which texts of a dataset are, word for word, also in another: sorted indices, array (n,) of int64."""
    known = set(other.texts)
    return np.array([index for index, text in enumerate(dataset.texts) if text in known], np.int64)


def without_copies(dataset: TextDataset, other: TextDataset) -> TextDataset:
    """The texts of a dataset that are not in another one."""
    return dataset.subset(np.setdiff1d(np.arange(len(dataset)), find_copies(dataset, other)))


def refuse_copies(training: TextDataset, other: TextDataset) -> None:
    """Raise if texts that a model learns from are texts that it will be judged by.

    Raises
    ------
    DatasetError
        It says how many there are, and names the first.
    """
    copies = find_copies(training, other)
    if len(copies):
        first = training.ids[copies[0]]
        raise DatasetError(
            f"{len(copies)} of the {len(training)} texts of {training.name!r} are also in {other.name!r}, the first "
            f"being {first!r}: a test on texts that were learned from, with labels or without, proves nothing. Take "
            "them out of one of the two (minivit.data.text.without_copies)"
        )
