"""IMDb reviews (Maas et al. 2011) in their official layout: ``aclImdb/{train,test}/{pos,neg,unsup}/ID_RATING.txt``."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import numpy as np

from minivit.data.dataset import DatasetError
from minivit.data.locate import DataNotFoundError, search_folders
from minivit.data.text.dataset import UNKNOWN_LABEL, TextDataset, TextSplits

FOLDER = "aclImdb"
ARCHIVE = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
ARCHIVE_MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
CLASSES = ("neg", "pos")
REVIEWS = {"train/neg": 12_500, "train/pos": 12_500, "train/unsup": 50_000, "test/neg": 12_500, "test/pos": 12_500}
SOURCE = (
    "Large Movie Review Dataset v1.0, A. Maas et al., ACL 2011, https://ai.stanford.edu/~amaas/data/sentiment/, which "
    "states no licence and asks for citation"
)
_NAME = re.compile(r"(\d+)_(\d+)\.txt")
_TAG = re.compile(r"<[a-zA-Z/][^<>]*>")
# Ratings out of ten that the readme of the data set gives to each folder: 0 stands for none.
_RATINGS = {"pos": range(7, 11), "neg": range(1, 5), "unsup": range(1)}


def find_imdb(data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder with the reviews, or None where it is not on this machine.

    Parameters
    ----------
    data_dir : path, optional
        The folder itself, or one that holds ``aclImdb``; ``$MINIVIT_DATA`` and the user cache are searched after it.
    """
    for base in search_folders(data_dir):
        for folder in (base, base / FOLDER):
            if (folder / "train").is_dir() and (folder / "test").is_dir():
                return folder
    return None


def load_imdb(
    data_dir: str | os.PathLike[str] | None = None, *, complete: bool = True, unlabelled: bool = True
) -> TextSplits:
    """Movie reviews, positive and negative, and reviews without a label.

    Only the reviews themselves are read; the bags of words and the lists of addresses beside them are not. Tags of HTML
    are left out and its entities resolved.

    Parameters
    ----------
    data_dir : path, optional
        See `find_imdb`.
    complete : bool
        Whether to insist on the 25,000 training, 25,000 test and 50,000 unlabelled reviews of the published data set.
    unlabelled : bool
        Whether to read ``train/unsup``.

    Returns
    -------
    TextSplits
        Train, test, and `unlabelled` with labels of -1. A review's id is its path: ``"train/pos/0_9"``.

    Raises
    ------
    DataNotFoundError
        If no folder has the layout; the message lists the ways out.
    DatasetError
        If a folder or reviews are missing, or a file is empty, has no rating of its folder in its name, or is not
        UTF-8.
    """
    folder = find_imdb(data_dir)
    if folder is None:
        raise DataNotFoundError(
            f"the IMDb reviews are not in {', '.join(str(base) for base in search_folders(data_dir))}: expected a "
            f"folder {FOLDER} with train and test in it.\n"
            f"Download {ARCHIVE} (md5 {ARCHIVE_MD5}), unpack it, and name the folder that holds {FOLDER} by data_dir "
            "or the environment variable MINIVIT_DATA; or use the docstrings, which every installation has"
        )
    parts = {
        name: _read(folder, name, count if complete else None)
        for name, count in REVIEWS.items()
        if unlabelled or name != "train/unsup"
    }
    further = None
    if unlabelled:
        ids, texts = parts["train/unsup"]
        further = TextDataset("imdb unsup", texts, np.full(len(texts), UNKNOWN_LABEL), CLASSES, ids, SOURCE)
    return TextSplits(train=_labelled("train", parts), test=_labelled("test", parts), unlabelled=further)


_Part = tuple[tuple[str, ...], tuple[str, ...]]


def _labelled(split: str, parts: dict[str, _Part]) -> TextDataset:
    of_class = [parts[f"{split}/{name}"] for name in CLASSES]
    return TextDataset(
        name=f"imdb {split}",
        texts=tuple(text for _, texts in of_class for text in texts),
        labels=np.repeat(np.arange(len(CLASSES)), [len(texts) for _, texts in of_class]),
        classes=CLASSES,
        ids=tuple(identity for ids, _ in of_class for identity in ids),
        source=SOURCE,
    )


def _read(root: Path, name: str, expected: int | None) -> _Part:
    """Ids and texts of one folder, in the order of the numbers in the files' names."""
    folder = root / name
    if not folder.is_dir():
        raise DatasetError(f"{folder} is missing; unpack {ARCHIVE} again")
    files = []
    for path in folder.glob("*.txt"):
        match = _NAME.fullmatch(path.name)
        if match is None or int(match[2]) not in _RATINGS[folder.name]:
            allowed = _RATINGS[folder.name]
            raise DatasetError(
                f"{path}: expected a name ID_RATING.txt with a rating from {allowed[0]} to {allowed[-1]}; take it out"
            )
        files.append((int(match[1]), path))
    if not files:
        raise DatasetError(f"{folder} holds no review: expected files ID_RATING.txt; unpack {ARCHIVE} again")
    if expected is not None and len(files) != expected:
        raise DatasetError(
            f"{folder}: expected {expected:,} reviews, found {len(files):,}; unpack {ARCHIVE} again, or read an "
            "excerpt with complete=False"
        )
    files.sort()
    return tuple(f"{name}/{path.stem}" for _, path in files), tuple(_review(path) for _, path in files)


def _review(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: expected UTF-8, got a byte that is none at position {error.start}") from error
    text = " ".join(html.unescape(_TAG.sub(" ", text)).split())
    if not text:
        raise DatasetError(f"{path}: is empty; unpack {ARCHIVE} again")
    return text
