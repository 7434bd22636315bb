"""Sets of labelled texts: as written, and as tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from minivit.data.dataset import DatasetError, Indices, Labels
from minivit.data.text.vocabulary import PADDING, Vocabulary

Tokens = npt.NDArray[np.int32]
UNKNOWN_LABEL = -1


@dataclass(frozen=True, eq=False)
class TextDataset:
    """Texts, their classes, and what is known of them.

    Attributes
    ----------
    name : str
        Such as ``"imdb train"``.
    texts : tuple of N str
    labels : array (N,) of int64
        From 0 to the number of classes - 1, or -1 where the class is not known.
    classes : tuple of str
        The classes' names, in label order.
    ids : tuple of N str
        A name for each text, by which a file of paraphrases refers to it.
    source : str
        Where the texts come from, and on what terms they may be used.

    Raises
    ------
    DatasetError
        If texts, labels, classes and ids do not fit together.
    """

    name: str
    texts: tuple[str, ...]
    labels: Labels
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    source: str

    def __post_init__(self) -> None:
        _check_labels(self.name, self.labels, len(self.texts), self.classes)
        if len(self.ids) != len(self.texts) or len(set(self.ids)) != len(self.ids):
            raise DatasetError(
                f"dataset {self.name!r}: expected {len(self.texts)} different ids, got {len(self.ids)}, "
                f"of which {len(set(self.ids))} are different"
            )
        for identity, text in zip(self.ids, self.texts, strict=True):
            if not text.strip():
                raise DatasetError(f"dataset {self.name!r}: the text {identity!r} is empty")

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"TextDataset({self.name!r}: {len(self):,} texts, {self.num_classes} classes)"

    @property
    def num_classes(self) -> int:
        """The number of classes, whether or not each has a text here."""
        return len(self.classes)

    def class_counts(self) -> Indices:
        """How many texts each class has: array (classes,) of int64. Unknown classes are not counted."""
        return np.bincount(self.labels[self.labels != UNKNOWN_LABEL], minlength=self.num_classes)

    def subset(self, indices: npt.ArrayLike, name: str | None = None) -> TextDataset:
        """The texts at `indices`, in that order."""
        chosen = _indices(self.name, indices, len(self))
        return replace(
            self,
            name=self.name if name is None else name,
            texts=tuple(self.texts[i] for i in chosen),
            labels=self.labels[chosen],
            ids=tuple(self.ids[i] for i in chosen),
        )

    def joined(self, other: TextDataset) -> TextDataset:
        """These texts, then those of another dataset with the same classes."""
        if other.classes != self.classes:
            raise DatasetError(f"dataset {other.name!r}: expected the classes {self.classes}, got {other.classes}")
        return replace(
            self,
            texts=self.texts + other.texts,
            labels=np.concatenate([self.labels, other.labels]),
            ids=self.ids + other.ids,
        )

    def encode(self, vocabulary: Vocabulary, length: int) -> TokenDataset:
        """The texts as tokens: the last `length` of each, padded at the end (see `Vocabulary.encode`)."""
        return TokenDataset(
            self.name, vocabulary.encode(self.texts, length), self.labels, self.classes, vocabulary, self.source
        )


@dataclass(frozen=True, eq=False)
class TextSplits:
    """The parts of a corpus.

    Attributes
    ----------
    train, test : TextDataset
    validation : TextDataset or None
        A held-out part, where the corpus has one.
    unlabelled : TextDataset or None
        Further texts whose class is not known.
    """

    train: TextDataset
    test: TextDataset
    validation: TextDataset | None = None
    unlabelled: TextDataset | None = None


@dataclass(frozen=True, eq=False)
class TokenDataset:
    """Labelled texts as a model reads them.

    Attributes
    ----------
    name : str
    tokens : array (N, T) of int32
        Word numbers of `vocabulary`; a row's end is filled with 0.
    labels : array (N,) of int64
        -1 where the class is not known.
    classes : tuple of str
    vocabulary : Vocabulary
    source : str

    Raises
    ------
    DatasetError
        If tokens, labels, classes and vocabulary do not fit together.
    """

    name: str
    tokens: Tokens
    labels: Labels
    classes: tuple[str, ...]
    vocabulary: Vocabulary
    source: str

    def __post_init__(self) -> None:
        tokens = self.tokens
        if tokens.dtype != np.int32 or tokens.ndim != 2:
            self._refuse(f"expected tokens (N, T) of int32, got {tokens.shape} of {tokens.dtype}")
        _check_labels(self.name, self.labels, len(tokens), self.classes)
        if tokens.size and not (tokens.min() >= 0 and tokens.max() < len(self.vocabulary)):
            self._refuse(
                f"expected tokens from 0 to {len(self.vocabulary) - 1}, got {int(tokens.min())} to {int(tokens.max())}"
            )
        inside = (tokens[:, :-1] == PADDING) & (tokens[:, 1:] != PADDING)
        if inside.any():
            self._refuse(f"expected padding at a text's end only; text number {int(inside.any(1).argmax())} has a gap")

    def _refuse(self, message: str) -> None:
        raise DatasetError(f"dataset {self.name!r}: {message}")

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return (
            f"TokenDataset({self.name!r}: {len(self):,} texts of up to {self.tokens.shape[1]} tokens, "
            f"{len(self.vocabulary):,} words, {self.num_classes} classes)"
        )

    @property
    def inputs(self) -> Tokens:
        """The tokens: what a model takes, one example a row."""
        return self.tokens

    @property
    def num_classes(self) -> int:
        """The number of classes, whether or not each has a text here."""
        return len(self.classes)

    def class_counts(self) -> Indices:
        """How many texts each class has: array (classes,) of int64. Unknown classes are not counted."""
        return np.bincount(self.labels[self.labels != UNKNOWN_LABEL], minlength=self.num_classes)

    def subset(self, indices: npt.ArrayLike, name: str | None = None) -> TokenDataset:
        """The texts at `indices`, in that order (a copy)."""
        chosen = _indices(self.name, indices, len(self))
        return replace(
            self, name=self.name if name is None else name, tokens=self.tokens[chosen], labels=self.labels[chosen]
        )


def _check_labels(name: str, labels: Labels, count: int, classes: tuple[str, ...]) -> None:
    def refuse(message: str) -> None:
        raise DatasetError(f"dataset {name!r}: {message}")

    if labels.dtype != np.int64 or labels.shape != (count,):
        refuse(f"expected labels ({count},) of int64, got {labels.shape} of {labels.dtype}")
    if len(classes) == 0 or len(set(classes)) != len(classes):
        refuse(f"expected at least one class name and no name twice, got {classes}")
    if count and not (labels.min() >= UNKNOWN_LABEL and labels.max() < len(classes)):
        wrong = int(np.flatnonzero((labels < UNKNOWN_LABEL) | (labels >= len(classes)))[0])
        refuse(
            f"expected labels from 0 to {len(classes) - 1}, or -1 for unknown, got {int(labels[wrong])} for text "
            f"number {wrong}"
        )


def _indices(name: str, indices: npt.ArrayLike, count: int) -> Indices:
    chosen = np.asarray(indices)
    if chosen.size == 0:
        chosen = chosen.astype(np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise DatasetError(
            f"dataset {name!r}: expected one-dimensional integer indices, got {chosen.shape} of {chosen.dtype}"
        )
    if chosen.size and not (chosen.min() >= 0 and chosen.max() < count):
        raise DatasetError(
            f"dataset {name!r}: expected indices from 0 to {count - 1}, got {chosen.min()} to {chosen.max()}"
        )
    return chosen
