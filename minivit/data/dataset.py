"""A set of labelled images in host memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int64]


class DatasetError(ValueError):
    """Data that cannot be used: what was expected, what came, in which file, what to do."""


class StoredImages(Protocol):
    """Images that are somewhere else until they are asked for, such as `minivit.data.PhotoFiles`.

    An index gives arrays as that of an array (N, C, H, W) of uint8 does; `take` only says which images are meant.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """uint8."""

    @property
    def ndim(self) -> int:
        """4."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Images: ...

    def __iter__(self) -> Iterator[Images]: ...

    def take(self, indices: Indices, axis: int) -> Self:
        """The images at `indices` along the first axis, not read yet."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images and what is known of them.

    Attributes
    ----------
    name : str
        Such as ``"cifar10 train"``.
    images : array (N, C, H, W) of uint8, or StoredImages
        C is 1 or 3 (red, green, blue). Photos that do not fit into memory are read when they are indexed.
    labels : array (N,) of int64
        From 0 to the number of classes - 1.
    classes : tuple of str
        The classes' names, in label order.
    mean, std : tuple of C floats
        Of the *training* images, with pixels scaled to [0, 1]: what inputs are normalised with.
    source : str
        Where the images come from, and on what terms they may be used.

    Raises
    ------
    DatasetError
        If images, labels, class names and statistics do not fit together.
    """

    name: str
    images: Images | StoredImages
    labels: Labels
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            self._refuse(f"expected images (N, 1 or 3, H, W) of uint8, got {images.shape} of {images.dtype}")
        if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            self._refuse(f"expected labels ({len(images)},) of int64, got {labels.shape} of {labels.dtype}")
        if len(self.classes) == 0 or len(set(self.classes)) != len(self.classes):
            self._refuse(f"expected at least one class name and no name twice, got {self.classes}")
        if len(labels) and not (labels.min() >= 0 and labels.max() < len(self.classes)):
            wrong = int(np.flatnonzero((labels < 0) | (labels >= len(self.classes)))[0])
            self._refuse(
                f"expected labels from 0 to {len(self.classes) - 1}, got {int(labels[wrong])} for image number {wrong}"
            )
        channels = images.shape[1]
        if len(self.mean) != channels or len(self.std) != channels or not all(value > 0 for value in self.std):
            self._refuse(f"expected {channels} means and {channels} positive stds, got {self.mean} and {self.std}")

    def _refuse(self, message: str) -> None:
        raise DatasetError(f"dataset {self.name!r}: {message}")

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        channels, height, width = self.image_shape
        return f"Dataset({self.name!r}: {len(self):,} images {channels}x{height}x{width}, {self.num_classes} classes)"

    @property
    def inputs(self) -> Images | StoredImages:
        """The images: what a model takes, one example a row."""
        return self.images

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """The number of classes, whether or not each has an image here."""
        return len(self.classes)

    def class_counts(self) -> Indices:
        """How many images each class has: array (classes,) of int64."""
        return np.bincount(self.labels, minlength=self.num_classes)

    def subset(self, indices: npt.ArrayLike, name: str | None = None) -> Dataset:
        """The dataset of the images at `indices`, in that order, with mean and std as they are.

        A copy of them; of stored images a selection.

        Raises
        ------
        DatasetError
            If an index is out of range or is no integer.
        """
        chosen = np.asarray(indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            self._refuse(f"expected one-dimensional integer indices, got {chosen.shape} of {chosen.dtype}")
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            self._refuse(f"expected indices from 0 to {len(self) - 1}, got {chosen.min()} to {chosen.max()}")
        return replace(
            self,
            name=self.name if name is None else name,
            images=self.images.take(chosen, axis=0),
            labels=self.labels[chosen],
        )


@dataclass(frozen=True)
class Splits:
    """The parts of a dataset.

    Attributes
    ----------
    train, test : Dataset
    validation : Dataset or None
        A stored held-out part, where the data has one; otherwise hold one out with `minivit.data.hold_out`.
    """

    train: Dataset
    test: Dataset
    validation: Dataset | None = None


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, with pixels scaled to [0, 1].

    Exact: from the counts of the 256 values. A channel of one constant value gets std 1, so that it can be divided by.

    Parameters
    ----------
    images : array (N, C, H, W) of uint8

    Returns
    -------
    mean, std : tuples of C floats
    """
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = np.bincount(images[:, channel].ravel(), minlength=256)
        share = counts / counts.sum()
        mean = float(share @ values)
        std = float(np.sqrt(share @ (values - mean) ** 2))
        means.append(mean)
        stds.append(std if std > 0 else 1.0)
    return tuple(means), tuple(stds)
