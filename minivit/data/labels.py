"""Semi-supervised splits: which training images keep their label, and which are used without one."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from minivit.backend.random import generator
from minivit.data.cifar import CIFAR100
from minivit.data.dataset import Dataset, DatasetError, Indices
from minivit.data.text.dataset import TokenDataset
from minivit.files import write_text

# Byte-for-byte copies of test images in the training set as published. CIFAR-10, digits and shapes have none. For
# CIFAR-100, `meta/duplicates_cifar100.csv` of B. Barz and J. Denzler, "Do we train on test data? Purging CIFAR of
# near-duplicates", 2020, https://cvjena.github.io/cifair, has ten pairs at distance zero (to rounding) and the next at
# 0.08. Other near-duplicates differ in some pixel and are not looked for here.
PUBLISHED_COPIES = {CIFAR100.title: 10}


_BLOCK = 4096  # examples looked at at once: photos may be more than the memory holds
Examples = Dataset | TokenDataset  # a training set of images or of texts


@dataclass(frozen=True, eq=False)
class LabelSplit:
    """Which images of a training set have a label.

    Attributes
    ----------
    labelled, unlabelled : array of int64
        Sorted indices into the training set. They may overlap: an image can be used with its label and without.
    seed : int
        What `split_labels` drew the labelled images with.
    fingerprint : str
        Of the training set, see `fingerprint`.
    """

    labelled: Indices
    unlabelled: Indices
    seed: int
    fingerprint: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the split as JSON, whole or not at all."""
        fields = {
            "seed": self.seed,
            "fingerprint": self.fingerprint,
            "labelled": self.labelled.tolist(),
            "unlabelled": self.unlabelled.tolist(),
        }
        write_text(path, json.dumps(fields))

    @classmethod
    def load(cls, path: str | os.PathLike[str], dataset: Examples) -> Self:
        """Read a split of a training set.

        Parameters
        ----------
        path : path
            As written by `save`.
        dataset : Dataset
            The training set that was split.

        Raises
        ------
        DatasetError
            If the file is no split, or one of other data: other images or labels, or in another order.
        """
        try:
            fields: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            split = cls(
                np.asarray(fields["labelled"]), np.asarray(fields["unlabelled"]), fields["seed"], fields["fingerprint"]
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path}: expected a split as LabelSplit.save writes it: {error!r}") from error
        if split.fingerprint != fingerprint(dataset):
            raise DatasetError(
                f"{path}: this split was drawn of other data than {dataset!r}: images, labels or their order differ. "
                "Load the data as they were then (same data set, hold-out and seed), or draw a new split"
            )
        for name in ("labelled", "unlabelled"):
            _check_indices(f"{path}: {name}", getattr(split, name), len(dataset))
        counts = dataset.subset(split.labelled).class_counts()
        if counts.min() != counts.max():
            raise DatasetError(f"{path}: expected as many labels of each class, got {counts.tolist()}")
        return split


def fingerprint(dataset: Examples) -> str:
    """SHA-256 of a data set's class names, labels and inputs, in their order."""
    digest = hashlib.sha256(json.dumps([dataset.classes, dataset.inputs.shape]).encode())
    digest.update(dataset.labels.astype("<i8").tobytes())
    for start in range(0, len(dataset), _BLOCK):
        digest.update(np.ascontiguousarray(dataset.inputs[start : start + _BLOCK]).data)
    return digest.hexdigest()


def _check_indices(where: str, indices: Indices, size: int) -> None:
    """Raise unless `indices` are strictly increasing integers from 0 to size - 1, at least one."""
    if indices.ndim != 1 or indices.dtype.kind != "i" or len(indices) == 0:
        raise DatasetError(f"{where}: expected a list of integers, got {indices.shape} of {indices.dtype}")
    if indices[0] < 0 or indices[-1] >= size or not (np.diff(indices) > 0).all():
        raise DatasetError(f"{where}: expected rising indices from 0 to {size - 1}, none twice")


def split_labels(dataset: Examples, labels: int, seed: int = 0, *, include_labelled: bool = True) -> LabelSplit:
    """Choose the images of a training set that keep their label: as many of each class.

    Parameters
    ----------
    dataset : Dataset
        Training images, after anything was held out.
    labels : int
        How many images keep their label: a multiple of the number of classes.
    seed : int
        The same seed gives the same split everywhere. More labels with the same seed are the fewer and others, so that
        results by number of labels differ in nothing else.
    include_labelled : bool
        Whether the labelled images are among the unlabelled, too, as in the authors' code (google-research/uda,
        ``image/preprocess.py``); otherwise the unlabelled are the rest.

    Returns
    -------
    LabelSplit

    Raises
    ------
    ValueError
        If `labels` is no positive multiple of the number of classes.
    DatasetError
        If a class has too few images, or none is left without a label where those with one are not included.

    Examples
    --------
    >>> from minivit.data import load_digits
    >>> digits = load_digits().train
    >>> split = split_labels(digits, 40)
    >>> len(split.labelled), len(split.unlabelled)
    (40, 1078)
    >>> digits.subset(split.labelled).class_counts()
    array([4, 4, 4, 4, 4, 4, 4, 4, 4, 4])
    """
    each, left = divmod(labels, dataset.num_classes)
    counts = dataset.class_counts()
    if labels < 1 or left:
        nearest = [n * dataset.num_classes for n in (each, each + 1) if 1 <= n <= counts.min()]
        advice = f"; use {' or '.join(map(str, nearest))}" if nearest else ""
        raise ValueError(
            f"expected a number of labels that is a multiple of the {dataset.num_classes} classes of {dataset.name!r}, "
            f"as many of each, got {labels}{advice}"
        )
    if counts.min() < each:
        scarcest = int(counts.argmin())
        raise DatasetError(
            f"dataset {dataset.name!r}: {labels} labels are {each} of each class, but class "
            f"{dataset.classes[scarcest]!r} has {counts[scarcest]} example(s); ask for at most "
            f"{counts[scarcest] * dataset.num_classes} labels"
        )
    chosen = [
        generator(seed, "labels", label).permutation(np.flatnonzero(dataset.labels == label))[:each]
        for label in range(dataset.num_classes)
    ]
    labelled = np.sort(np.concatenate(chosen))
    everything = np.arange(len(dataset))
    unlabelled = everything if include_labelled else np.setdiff1d(everything, labelled)
    if len(unlabelled) == 0:
        raise DatasetError(
            f"dataset {dataset.name!r}: all {len(dataset)} examples keep their label, so none is left without one; ask "
            "for fewer labels, or include the labelled images among the unlabelled"
        )
    return LabelSplit(labelled, unlabelled, seed, fingerprint(dataset))


def refuse_overlap(unlabelled: Dataset, test: Dataset) -> None:
    """Raise if images that a model learns from are images that it will be tested on, byte for byte.

    The ten copies that CIFAR-100 has as published are let pass (see `PUBLISHED_COPIES`): leaving them out would make
    results incomparable with those of others. A copy that differs in a single pixel is not found.

    Parameters
    ----------
    unlabelled, test : Dataset

    Raises
    ------
    DatasetError
        It says how many test images are among the unlabelled ones, and where the first is.
    """
    if unlabelled.image_shape != test.image_shape:
        return
    learned: dict[bytes, int] = {}
    for index, digest in enumerate(_digests(unlabelled)):
        learned.setdefault(digest, index)
    pairs = [(learned[digest], index) for index, digest in enumerate(_digests(test)) if digest in learned]
    as_published = [copies for title, copies in PUBLISHED_COPIES.items() if test.source.startswith(title)]
    if len(pairs) > sum(as_published):
        raise DatasetError(
            f"{len(pairs)} of the {len(test)} images of {test.name!r} are also in {unlabelled.name!r}, the first being "
            f"image {pairs[0][1]} there and image {pairs[0][0]} here: a test on images that were learned from, with "
            "labels or without, proves nothing. Take the test images out of the unlabelled ones, and give each file to "
            "one set alone"
        )


def _digests(dataset: Dataset) -> list[bytes]:
    """A hash of the pixels of each image."""
    return [hashlib.sha256(image.tobytes()).digest() for image in dataset.images]
