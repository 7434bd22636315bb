"""CIFAR-10 and CIFAR-100 in the official binary layout: label bytes and 3,072 pixel bytes, nothing to unpickle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minivit.data.dataset import Dataset, DatasetError, Images, Labels, Splits
from minivit.data.locate import DataNotFoundError, search_folders, user_cache

if TYPE_CHECKING:
    from minivit.data.archive import Archive

_PIXELS = 3 * 32 * 32
_PAGE = "https://www.cs.toronto.edu/~kriz/"


@dataclass(frozen=True)
class Layout:
    """How one of the two datasets lies on disk.

    Attributes
    ----------
    title, name : str
        ``"CIFAR-10"``, ``"cifar10"``.
    folder, pickled_folder : str
        The folder of the binary version, and that of the pickled one, which is not read.
    train, test : mapping of str to int
        File name and number of records.
    label_bytes : int
        Label bytes before the pixels: the class is the last, a coarse class may come before it.
    classes, coarse_classes : tuple of str
    mean, std : tuple of 3 floats
        Of the training images.
    md5 : mapping of str to str
        Published sums of the files, as far as known.
    archive_size : int
    archive_md5 : str
    """

    title: str
    name: str
    folder: str
    pickled_folder: str
    train: Mapping[str, int]
    test: Mapping[str, int]
    label_bytes: int
    classes: tuple[str, ...]
    coarse_classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    md5: Mapping[str, str]
    archive_size: int
    archive_md5: str

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return self.label_bytes + _PIXELS

    @property
    def archive(self) -> Archive:
        """The official archive."""
        from minivit.data.archive import Archive

        sizes = {name: count * self.record_bytes for name, count in {**self.train, **self.test}.items()}
        return Archive(
            url=f"{_PAGE}{self.title.lower()}-binary.tar.gz",
            md5=self.archive_md5,
            size=self.archive_size,
            folder=self.folder,
            members={f"{self.folder}/{name}": size for name, size in sizes.items()},
        )


# fmt: off
_CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel",
    "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
)
_CIFAR100_COARSE = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
    "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
    "large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores",
    "medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees", "vehicles_1",
    "vehicles_2",
)
# fmt: on

CIFAR10 = Layout(
    title="CIFAR-10",
    name="cifar10",
    folder="cifar-10-batches-bin",
    pickled_folder="cifar-10-batches-py",
    train={f"data_batch_{number}.bin": 10_000 for number in range(1, 6)},
    test={"test_batch.bin": 10_000},
    label_bytes=1,
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    coarse_classes=(),
    mean=(0.49140, 0.48216, 0.44653),
    std=(0.24703, 0.24349, 0.26159),
    md5={
        "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
        "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
        "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
        "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
        "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
        "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    },
    archive_size=170_052_171,
    archive_md5="c32a1d4ab5d03f1284b67883e8d87530",
)

CIFAR100 = Layout(
    title="CIFAR-100",
    name="cifar100",
    folder="cifar-100-binary",
    pickled_folder="cifar-100-python",
    train={"train.bin": 50_000},
    test={"test.bin": 10_000},
    label_bytes=2,
    classes=_CIFAR100_CLASSES,
    coarse_classes=_CIFAR100_COARSE,
    mean=(0.50708, 0.48655, 0.44092),
    std=(0.26733, 0.25644, 0.27615),
    md5={},
    archive_size=168_513_733,
    archive_md5="03b5dce01913d631647c71ecec9e9cb8",
)

LAYOUTS = {layout.name: layout for layout in (CIFAR10, CIFAR100)}


def find_cifar(layout: Layout, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder with a dataset's files, or None.

    Looked for in `data_dir`, ``$MINIVIT_DATA`` and the user cache, each of which may hold the folder or be it.
    """
    for base in search_folders(data_dir):
        if (base / layout.folder).is_dir():
            return base / layout.folder
        if any((base / name).is_file() for name in (*layout.train, *layout.test)):
            return base
    return None


def load_cifar(
    layout: Layout,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    download: bool = True,
    coarse: bool = False,
    progress: bool = True,
) -> Splits:
    """CIFAR-10 or CIFAR-100, from this machine or else from its authors' page.

    A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009.

    Parameters
    ----------
    layout : Layout
        `CIFAR10` or `CIFAR100`.
    data_dir : path, optional
        Looked in first, and downloaded into.
    download : bool
        Whether to download what is not found, into `data_dir` or else the user cache.
    coarse : bool
        Whether CIFAR-100's labels are its 20 coarse classes.
    progress : bool
        Whether a download shows a progress bar.

    Returns
    -------
    Splits
        50,000 training and 10,000 test images (N, 3, 32, 32).

    Raises
    ------
    DataNotFoundError
        If the data is neither found nor downloadable.
    DatasetError
        If a file is missing, truncated or corrupt.
    ValueError
        If `coarse` is asked of CIFAR-10.
    """
    if coarse and not layout.coarse_classes:
        raise ValueError(f"{layout.title} has no coarse classes")
    folder = find_cifar(layout, data_dir)
    if folder is None:
        folder = _download(layout, data_dir, progress) if download else None
    if folder is None:
        raise _not_found(layout, data_dir, "downloading was not asked for")
    return Splits(
        train=_read(layout, folder, "train", layout.train, coarse),
        test=_read(layout, folder, "test", layout.test, coarse),
    )


def _download(layout: Layout, data_dir: str | os.PathLike[str] | None, progress: bool) -> Path:
    from minivit.data.archive import ArchiveError

    target = user_cache() if data_dir is None else Path(data_dir).expanduser()
    try:
        return layout.archive.fetch(target, progress)
    except (ArchiveError, OSError) as error:
        raise _not_found(layout, data_dir, str(error)) from error


def _not_found(layout: Layout, data_dir: str | os.PathLike[str] | None, reason: str) -> DataNotFoundError:
    looked_in = search_folders(data_dir)
    message = [f"{layout.title} is not in {', '.join(str(folder) for folder in looked_in)}, nor downloaded: {reason}"]
    message += [
        f"Note: {base / layout.pickled_folder} is the pickled version, which is not read because unpickling runs code."
        for base in looked_in
        if (base / layout.pickled_folder).is_dir()
    ]
    message += [
        "Ways out:",
        f"  - with a network: allow the download of {layout.archive.url} ({layout.archive_size / 1e6:.0f} MB);",
        "  - without: unpack that file elsewhere, copy the folder here, and name the folder that holds it",
        "    by data_dir (--data-dir) or the environment variable MINIVIT_DATA;",
        "  - or train on the data sets that come with minivit: digits, shapes.",
    ]
    return DataNotFoundError("\n".join(message))


def _read(layout: Layout, folder: Path, part: str, files: Mapping[str, int], coarse: bool) -> Dataset:
    total = sum(files.values())
    images: Images = np.empty((total, 3, 32, 32), np.uint8)
    bytes_of_labels = np.empty((total, layout.label_bytes), np.uint8)
    start = 0
    for name, count in files.items():
        records = _records(layout, folder / name, count)
        bytes_of_labels[start : start + count] = records[:, : layout.label_bytes]
        images[start : start + count] = records[:, layout.label_bytes :].reshape(count, 3, 32, 32)
        start += count
    labels: Labels = bytes_of_labels[:, 0 if coarse else -1].astype(np.int64)
    return Dataset(
        name=f"{layout.name} {part}",
        images=images,
        labels=labels,
        classes=layout.coarse_classes if coarse else layout.classes,
        mean=layout.mean,
        std=layout.std,
        source=f"{layout.title}, A. Krizhevsky 2009, {_PAGE}cifar.html, which states no licence and asks for citation",
    )


def _records(layout: Layout, path: Path, count: int) -> Images:
    """The records of one file, (count, label bytes + 3072), after every check that can be made of it."""
    advice = f"replace it, or delete {path.parent} and let it be downloaded again"
    if not path.is_file():
        raise DatasetError(f"{path} is missing, though other files of {layout.title} are there; {advice}")
    expected, size = count * layout.record_bytes, path.stat().st_size
    if size != expected:
        raise DatasetError(
            f"{path}: expected {expected:,} bytes ({count:,} records of {layout.record_bytes}), got {size:,}: "
            f"the file is {'truncated' if size < expected else 'another one'}; {advice}"
        )
    records = np.fromfile(path, np.uint8).reshape(count, layout.record_bytes)
    coarse_first = (layout.coarse_classes, layout.classes)[-layout.label_bytes :]
    for column, classes in enumerate(coarse_first):
        wrong = np.flatnonzero(records[:, column] >= len(classes))
        if len(wrong):
            raise DatasetError(
                f"{path}: expected labels from 0 to {len(classes) - 1}, got {records[wrong[0], column]} in record "
                f"{wrong[0]} (byte {wrong[0] * layout.record_bytes + column:,}): the file is corrupt; {advice}"
            )
    if layout.label_bytes == 2:
        pairs = np.unique(records[:, :2], axis=0)
        if len(pairs) != len(np.unique(pairs[:, 1])):
            raise DatasetError(f"{path}: a class has two different coarse classes: the file is corrupt; {advice}")
    if path.name in layout.md5:
        sum_read = hashlib.md5(records.data, usedforsecurity=False).hexdigest()
        if sum_read != layout.md5[path.name]:
            raise DatasetError(
                f"{path}: expected md5 {layout.md5[path.name]}, got {sum_read}: the file is corrupt; {advice}"
            )
    return records
