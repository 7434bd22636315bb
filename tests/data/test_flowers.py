"""Tests of minivit/data/flowers.py and matlab.py: a small tree in the official layout, and a server with its files."""

import hashlib
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from minivit.data import DatasetError, load, registry
from minivit.data.archive import Archive
from minivit.data.download import download
from minivit.data.flowers import FLOWERS, find_flowers, load_flowers
from minivit.data.locate import DataNotFoundError
from minivit.data.matlab import read_matlab

SMALL = replace(FLOWERS, train=3, validation=2, test=5, classes=("rose", "lily", "tulip"), md5={}, sizes={})
TRAIN, VALIDATION, TEST = [2, 9, 5], [1, 10], [3, 4, 6, 7, 8]
LABELS = [3, 1, 1, 2, 2, 3, 1, 2, 3, 1]  # of the photos 1 to 10, from 1 on


def write(folder, train=TRAIN, validation=VALIDATION, test=TEST, labels=LABELS):
    """Photos whose red is their number."""
    (folder / "jpg").mkdir(parents=True)
    for number in range(1, 11):
        Image.new("RGB", (12, 9), (number, 0, 0)).save(folder / "jpg" / f"image_{number:05d}.jpg", "PNG")
    savemat(folder / "setid.mat", {"trnid": np.uint16([train]), "valid": np.uint16([validation]), "tstid": [test]})
    savemat(folder / "imagelabels.mat", {"labels": np.uint8([labels])})
    return folder


@pytest.fixture(autouse=True)
def nothing_else_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    for module in ("locate", "photo_sets"):
        monkeypatch.setattr(f"minivit.data.{module}.user_cache", lambda: tmp_path / "cache")


def small(data_dir, **options):
    return load_flowers(data_dir, layout=SMALL, download=False, **({"image_size": 8} | options))


def test_the_split_and_the_labels_are_the_authors(tmp_path):
    write(tmp_path / "flowers-102")
    splits = small(tmp_path)
    for part, numbers in ((splits.train, TRAIN), (splits.validation, VALIDATION), (splits.test, TEST)):
        assert part.images[:][:, 0, 0, 0].tolist() == numbers
        assert part.labels.tolist() == [LABELS[number - 1] - 1 for number in numbers]
        assert part.classes == ("rose", "lily", "tulip")
    assert small(tmp_path, preprocessing="google").train.mean == (0.5, 0.5, 0.5)


def test_an_exchanged_split_is_refused(tmp_path):
    """As some copies have it, with six times as many photos to train on."""
    write(tmp_path / "flowers-102", train=TEST, test=TRAIN)
    with pytest.raises(DatasetError, match=r"and test are exchanged: expected 3 training photos .* got 5 and 3"):
        small(tmp_path)


def test_lists_other_than_the_published_are_refused_by_their_sums(tmp_path):
    folder = write(tmp_path / "flowers-102")
    layout = replace(SMALL, md5=FLOWERS.md5)
    with pytest.raises(DatasetError, match=r"setid\.mat: expected md5 a5357ecc\w+, got \w+: this is not the authors'"):
        load_flowers(tmp_path, layout=layout)
    content = (folder / "setid.mat").read_bytes()
    layout = replace(SMALL, md5={"setid.mat": hashlib.md5(content).hexdigest()})
    assert len(load_flowers(tmp_path, layout=layout, image_size=8).train) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": [2, 9], "test": [3, 4, 5, 6, 7, 8]}, r"setid\.mat: expected the 3 train photos .*, got 2"),
        ({"validation": [1]}, "expected the 2 validation photos"),
        ({"train": [2, 9, 1]}, "expected each of 10 photos in one part"),
        ({"train": [2, 9, 11]}, "expected each of 10 photos in one part"),
        ({"labels": [0, *LABELS[1:]]}, r"imagelabels\.mat: expected 10 numbers from 1 to 3"),
        ({"labels": [4, *LABELS[1:]]}, "expected 10 numbers from 1 to 3"),
        ({"labels": LABELS[1:]}, "expected 10 numbers from 1 to 3"),
    ],
)
def test_other_splits_and_labels_are_refused(tmp_path, change, message):
    write(tmp_path / "flowers-102", **change)
    with pytest.raises(DatasetError, match=message):
        small(tmp_path)


def test_bad_files_are_named(tmp_path):
    folder = write(tmp_path / "flowers-102")
    (folder / "jpg" / "image_00007.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 5 photos .* first being image_00007\.jpg"):
        small(tmp_path)
    savemat(folder / "imagelabels.mat", {"other": [1]})
    with pytest.raises(DatasetError, match=r"imagelabels\.mat: expected a list of integers 'labels' among .*'other'"):
        small(tmp_path)
    (folder / "setid.mat").write_bytes(b"no such file" * 30)
    with pytest.raises(DatasetError, match=r"setid\.mat: cannot be read as a file of MATLAB's"):
        small(tmp_path)


def test_without_scipy_the_error_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "flowers-102")
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r'setid\.mat: reading it needs SciPy: pip install "minivit\[examples\]"'):
        small(tmp_path)


def test_it_is_found(tmp_path, monkeypatch):
    folder = write(tmp_path / "data" / "flowers-102")
    for given in (tmp_path / "data", folder):
        assert registry.find("flowers102", given) == find_flowers(given) == folder
    assert find_flowers() is None
    monkeypatch.setenv("MINIVIT_DATA", str(tmp_path / "data"))
    assert find_flowers() == folder


def test_what_is_missing_is_downloaded(tmp_path, file_server):
    served, url = file_server
    source = write(tmp_path / "source" / "flowers-102")
    with tarfile.open(served / "102flowers.tgz", "w:gz") as tar:
        tar.add(source / "jpg", "jpg")
    contents = {"102flowers.tgz": (served / "102flowers.tgz").read_bytes()}
    for name in ("setid.mat", "imagelabels.mat"):
        contents[name] = (source / name).read_bytes()
        (served / name).write_bytes(contents[name])
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    sizes = {name: len(content) for name, content in contents.items()}
    archive = Archive(
        f"{url}102flowers.tgz",
        sums.pop("102flowers.tgz"),
        sizes.pop("102flowers.tgz"),
        "jpg",
        replace(FLOWERS.archive.members, least=10, most=10),
    )
    layout = replace(SMALL, archive=archive, page=url, md5=sums, sizes=sizes)
    splits = load_flowers(tmp_path / "mine", layout=layout, progress=False, image_size=8)
    assert splits.test.images[:][:, 0, 0, 0].tolist() == TEST
    assert sorted(p.name for p in (tmp_path / "mine" / "flowers-102").iterdir()) == [
        "imagelabels.mat",
        "jpg",
        "setid.mat",
    ]
    (tmp_path / "mine" / "flowers-102" / "setid.mat").unlink()
    assert len(load_flowers(tmp_path / "mine", layout=layout, progress=False).train) == 3


def test_the_error_lists_the_ways_out(tmp_path):
    with pytest.raises(DataNotFoundError) as raised:
        load("flowers102", tmp_path, download=False)
    for part in (str(tmp_path), "not asked for", "https://www.robots.ox.ac.uk/~vgg/data/flowers/102/", "(345 MB)"):
        assert part in str(raised.value)
    layout = replace(FLOWERS, page="http://127.0.0.1:1/")
    with pytest.raises(DataNotFoundError, match="no connection"):
        load_flowers(tmp_path / "named", layout=layout, progress=False)


def test_the_published_layout():
    assert (FLOWERS.train, FLOWERS.validation, FLOWERS.test) == (1020, 1020, 6149)
    assert FLOWERS.archive.members.least == FLOWERS.archive.members.most == 8189
    assert (len(FLOWERS.classes), len(set(FLOWERS.classes))) == (102, 102)
    assert (FLOWERS.classes[0], FLOWERS.classes[101]) == ("pink primrose", "blackberry lily")


@pytest.mark.network
def test_the_authors_lists_are_still_there(tmp_path):
    for name, md5 in FLOWERS.md5.items():
        download(FLOWERS.page + name, tmp_path / name, md5=md5, size=FLOWERS.sizes[name], progress=False)
    lists = read_matlab(tmp_path / "setid.mat", ["trnid", "valid", "tstid"])
    assert [len(numbers) for numbers in lists.values()] == [1020, 1020, 6149]
    assert np.bincount(read_matlab(tmp_path / "imagelabels.mat", ["labels"])["labels"])[1:].min() == 40
