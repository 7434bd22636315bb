"""Paraphrases of a dataset's texts, made beforehand by any translator: back-translation (Xie et al. 2019, section 2.2).

A file has one JSON object a line:

    {"id": "train/pos/0_9", "text": "The original.", "paraphrases": ["What is said in the original.", "As written."]}

``id`` is the text's name in the dataset. ``text`` may be left out; where it stands, it has to be the dataset's, so that
paraphrases of another version of a corpus are noticed. `export_lines` writes such a file with empty lists: translate
each text into another language and back (the paper: English to French, sampling with a temperature of 0.7 to 0.9, a
sentence at a time), append the result to its list, several times for more variety, and read the file again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minivit.data.dataset import DatasetError, Indices
from minivit.data.text.dataset import TextDataset, Tokens
from minivit.data.text.vocabulary import Vocabulary

# Of the length check: characters, and the largest difference of lengths relative to the original's
# (replace_with_length_check in google-research/uda, text/augmentation/sent_level_augment.py).
SHORTEST, LARGEST_DIFFERENCE = 10, 0.5


@dataclass(frozen=True)
class Paraphrases:
    """The paraphrases of a dataset's texts.

    Attributes
    ----------
    texts : tuple of N tuples of str
        Each text's; empty where there is none.
    missing : int
        Texts without a paraphrase: they stand for themselves.
    replaced : int
        Paraphrases whose length was so far off that the original took their place.
    """

    texts: tuple[tuple[str, ...], ...]
    missing: int
    replaced: int

    def encode(self, vocabulary: Vocabulary, length: int) -> tuple[Tokens, Indices]:
        """All paraphrases as tokens (M, T), and how many each text has (N,): what `BackTranslation` takes."""
        everything = [paraphrase for texts in self.texts for paraphrase in texts]
        return vocabulary.encode(everything, length), np.array([len(texts) for texts in self.texts], np.int64)


def export_lines(dataset: TextDataset) -> Iterator[str]:
    """The lines of a file of paraphrases that has none yet, for a translator to fill in."""
    for identity, text in zip(dataset.ids, dataset.texts, strict=True):
        yield json.dumps({"id": identity, "text": text, "paraphrases": []}, ensure_ascii=False)


def read_paraphrases(path: str | os.PathLike[str], dataset: TextDataset, *, length_check: bool = True) -> Paraphrases:
    """Read a file of paraphrases.

    Parameters
    ----------
    path : path
        In the format that this module describes, UTF-8.
    dataset : TextDataset
        Whose texts are paraphrased. The file need not have all of them, nor in this order.
    length_check : bool
        Whether the original takes the place of a paraphrase that is very short or whose length differs from it by more
        than half, as in the authors' code: a translator's failures look like that.

    Returns
    -------
    Paraphrases

    Raises
    ------
    DatasetError
        If a line is not such an object, an id is not in the dataset or stands twice, or a text is another one. It
        names the line.
    """
    place = {identity: number for number, identity in enumerate(dataset.ids)}
    found: dict[int, tuple[str, ...]] = {}
    replaced = 0
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            entry = _entry(where, line)
            index = place.get(entry["id"])
            if index is None:
                raise DatasetError(
                    f"{where}: {dataset.name!r} has no text {entry['id']!r}; make the file anew from this dataset"
                )
            if index in found:
                raise DatasetError(
                    f"{where}: {entry['id']!r} stands here a second time; put all paraphrases in one line"
                )
            original = dataset.texts[index]
            if entry.get("text", original) != original:
                raise DatasetError(
                    f"{where}: the text of {entry['id']!r} is not the dataset's, so the paraphrases are of another "
                    f"version: {_excerpt(entry['text'])} in place of {_excerpt(original)}; make the file anew from "
                    "this dataset"
                )
            credible = [not length_check or is_alike(original, text) for text in entry["paraphrases"]]
            replaced += credible.count(False)
            found[index] = tuple(
                text if good else original for text, good in zip(entry["paraphrases"], credible, strict=True)
            )
    texts = tuple(found.get(index, ()) for index in range(len(dataset)))
    return Paraphrases(texts, missing=sum(not paraphrases for paraphrases in texts), replaced=replaced)


def is_alike(original: str, paraphrase: str) -> bool:
    """Whether a paraphrase's length makes it credible: see `length_check` of `read_paraphrases`."""
    if min(len(original), len(paraphrase)) < SHORTEST:
        return False
    return abs(len(paraphrase) - len(original)) <= LARGEST_DIFFERENCE * len(original)


def _entry(where: str, line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line.decode("utf-8"))
    except ValueError as error:  # not UTF-8, or not JSON
        raise DatasetError(f"{where}: expected JSON in UTF-8: {error}") from error
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("id"), str)
        or not isinstance(entry.get("text", ""), str)
        or not isinstance(entry.get("paraphrases"), list)
        or not all(isinstance(text, str) and text.strip() for text in entry["paraphrases"])
    ):
        raise DatasetError(
            f'{where}: expected {{"id": "...", "text": "...", "paraphrases": ["...", ...]}} with no empty paraphrase, '
            f"got {_excerpt(line.decode().strip())}"
        )
    return entry


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
