"""Labels of ImageNet's validation photos: the classes where they lie in one folder, and those of ImageNet-ReaL."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from minivit.data.dataset import DatasetError
from minivit.data.download import DownloadError, download
from minivit.data.locate import DataNotFoundError, search_folders, user_cache
from minivit.data.matlab import load_matlab

SYNSET_LIST = "imagenet_2012_validation_synset_labels.txt"
KAGGLE_LIST = "LOC_val_solution.csv"
DEVKIT_LIST = "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
LABEL_FILES = (SYNSET_LIST, KAGGLE_LIST, DEVKIT_LIST)

RealLabels = tuple[tuple[int, ...], ...]

_REAL_FILE = "real.json"
_REAL_URL = "https://raw.githubusercontent.com/google-research/reassessed-imagenet/master/real.json"
_REAL_MD5 = "c03b536b209b127cb61430fd1ce950d5"
_REAL_SIZE = 388_478
_CLASSES = 1000


def validation_synsets(folder: Path, count: int) -> list[str]:
    """The synset of each validation photo in the order of their numbers, where they are not in class folders.

    Read from the first of these that is in the folder: the list of synsets that TensorFlow's scripts use, a line a
    photo (https://raw.githubusercontent.com/tensorflow/models/master/research/slim/datasets/
    imagenet_2012_validation_synset_labels.txt); Kaggle's ``LOC_val_solution.csv``; or the official devkit, unpacked.
    Its list has numbers of its own, which are not labels: its ``meta.mat`` says which synset each of them means.

    Raises
    ------
    DatasetError
        If there is no such file, or it has not one label for each photo.
    ImportError
        If SciPy, which reads the devkit, is not installed.
    """
    if (folder / SYNSET_LIST).is_file():
        where, synsets = folder / SYNSET_LIST, (folder / SYNSET_LIST).read_text(encoding="utf-8").split()
    elif (folder / KAGGLE_LIST).is_file():
        where = folder / KAGGLE_LIST
        lines = where.read_text(encoding="utf-8").splitlines()[1:]  # ILSVRC2012_val_00000001,n01751748 85 1 499 272
        pairs = sorted(tuple(line.replace(",", " ").split()[:2]) for line in lines if line.strip())
        names = [f"ILSVRC2012_val_{number:08d}" for number in range(1, len(pairs) + 1)]
        if [pair[0] for pair in pairs] != names or any(len(pair) != 2 for pair in pairs):
            raise DatasetError(f"{where}: expected a line for each of the photos ILSVRC2012_val_00000001 and so on")
        synsets = [pair[1] for pair in pairs]
    elif (folder / DEVKIT_LIST).is_file():
        where, synsets = folder / DEVKIT_LIST, _devkit_synsets(folder / DEVKIT_LIST)
    else:
        raise DatasetError(
            f"{folder / 'val'}: its photos lie in one folder, so their classes have to be in {folder}, in one of: "
            f"{', '.join(LABEL_FILES)}; put one of these there, or the photos into folders of their classes"
        )
    if len(synsets) != count or not all(len(synset) == 9 and synset[0] == "n" for synset in synsets):
        raise DatasetError(f"{where}: expected {count:,} synsets such as n01440764, got {len(synsets):,} words")
    return synsets


def _devkit_synsets(ground_truth: Path) -> list[str]:
    meta = ground_truth.with_name("meta.mat")
    if not meta.is_file():
        raise DatasetError(f"{meta} is missing: it says which class each number in {ground_truth.name} means")
    synsets = load_matlab(meta).get("synsets")
    names = getattr(getattr(synsets, "dtype", None), "names", None) or ()
    if synsets is None or "ILSVRC2012_ID" not in names or "WNID" not in names:
        raise DatasetError(f"{meta}: expected ILSVRC's table of synsets with ILSVRC2012_ID and WNID")
    of_number = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in np.atleast_1d(synsets)}
    try:
        return [of_number[int(word)] for word in ground_truth.read_text(encoding="utf-8").split()]
    except (ValueError, KeyError) as error:
        raise DatasetError(f"{ground_truth}: expected numbers that {meta.name} lists, got {error}") from error


def find_real_labels(data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """The file ``real.json``, or None."""
    return next((base / _REAL_FILE for base in search_folders(data_dir) if (base / _REAL_FILE).is_file()), None)


def load_real_labels(
    data_dir: str | os.PathLike[str] | None = None, *, download_missing: bool = True, progress: bool = True
) -> RealLabels:
    """ImageNet-ReaL: every label that people found right for each validation photo.

    L. Beyer, O. Hénaff, A. Kolesnikov, X. Zhai, A. van den Oord: Are we done with ImageNet? arXiv:2006.07159. For
    `minivit.recipes.evaluation.real_accuracy`.

    Entry i is of the photo ``ILSVRC2012_val_{i+1:08d}``, as `load_imagenet` orders them. (The authors' README builds
    the name from ``i+i``; timm's ``real_labels.py`` has i+1.)

    Parameters
    ----------
    data_dir : path, optional
        Looked in first for ``real.json``, and downloaded into.
    download_missing : bool
        Whether the file (0.4 MB) may be downloaded where it is not found.
    progress : bool
        Whether a download shows a progress bar.

    Returns
    -------
    tuple of tuples of int
        50,000 of them, 46,837 not empty, with 57,553 labels from 0 to 999.

    Raises
    ------
    DataNotFoundError
        If the file is neither found nor downloadable.
    DatasetError
        If it is not the published one.
    """
    path = find_real_labels(data_dir)
    if path is None:
        base = user_cache() if data_dir is None else Path(data_dir).expanduser()
        try:
            if not download_missing:
                raise DownloadError("downloading was not asked for")
            base.mkdir(parents=True, exist_ok=True)
            path = base / _REAL_FILE
            download(_REAL_URL, path, md5=_REAL_MD5, size=_REAL_SIZE, progress=progress)
        except OSError as error:
            places = ", ".join(str(folder) for folder in search_folders(data_dir))
            raise DataNotFoundError(
                f"the labels of ImageNet-ReaL, {_REAL_FILE}, are not in {places}, nor downloaded: {error}\n"
                f"Download {_REAL_URL} elsewhere, copy it here, and name the folder that holds it by data_dir or the "
                "environment variable MINIVIT_DATA."
            ) from error
    return read_real_labels(path)


def read_real_labels(path: Path, count: int = 50_000) -> RealLabels:
    """The labels in a file such as ``real.json``: `count` lists of labels from 0 to 999.

    Raises
    ------
    DatasetError
        If it holds something else.
    """
    try:
        lists = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path}: is no JSON: {error}; download it again from {_REAL_URL}") from error
    if not isinstance(lists, list) or len(lists) != count or not all(map(_is_labels, lists)):
        raise DatasetError(
            f"{path}: expected {count:,} lists of labels from 0 to {_CLASSES - 1}, a list for each validation photo; "
            f"download it again from {_REAL_URL}"
        )
    return tuple(tuple(labels) for labels in lists)


def _is_labels(entry: object) -> bool:
    return isinstance(entry, list) and all(type(label) is int and 0 <= label < _CLASSES for label in entry)
