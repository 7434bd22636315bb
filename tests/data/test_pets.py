"""Tests of minivit/data/pets.py: a small tree in the official layout, and a server with the two archives."""

import hashlib
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from minivit.data import DatasetError, PhotoFiles, Preprocessing, load, registry
from minivit.data.archive import Archive
from minivit.data.locate import DataNotFoundError
from minivit.data.pets import PETS, find_pets, load_pets

SMALL = replace(PETS, train=6, test=3, classes=3)
TRAIN = [f"{name} {label} 1 1" for name, label in (("Bengal_1", 2), ("Bengal_20", 2), ("american_bulldog_3", 1))]
TRAIN += ["Birman_7 3 1 2", "american_bulldog_30 1 2 1", "Bengal_2 2 1 1"]
TEST = ["Birman_8 3 1 2", "Bengal_9 2 1 1", "american_bulldog_1 1 2 1"]


def number(line):
    return int(line.split()[0].rpartition("_")[2])


def write(folder, train=TRAIN, test=TEST):
    """Photos of 20 x 30 pixels whose red is their number."""
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True)
    for line in (*train, *test):
        Image.new("RGB", (30, 20), (number(line), 0, 0)).save(folder / "images" / f"{line.split()[0]}.jpg", "PNG")
    (folder / "annotations" / "trainval.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(train) + "\n")
    (folder / "annotations" / "test.txt").write_text("\n".join(test) + "\n")
    return folder


@pytest.fixture(autouse=True)
def nothing_else_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    for module in ("locate", "photo_sets"):
        monkeypatch.setattr(f"minivit.data.{module}.user_cache", lambda: tmp_path / "cache")


def small(data_dir, **options):
    return load_pets(data_dir, layout=SMALL, download=False, **({"image_size": 8} | options))


def test_labels_come_from_the_lists(tmp_path):
    write(tmp_path / "oxford-iiit-pet")
    splits = small(tmp_path)
    assert splits.train.classes == ("american_bulldog", "Bengal", "Birman")
    assert splits.train.labels.tolist() == [1, 1, 0, 2, 0, 1]
    assert splits.test.labels.tolist() == [2, 1, 0]
    assert splits.validation is None
    assert splits.train.images[:][:, 0, 0, 0].tolist() == [number(line) for line in TRAIN]
    assert splits.test.images[:][:, 0, 0, 0].tolist() == [number(line) for line in TEST]
    assert "CC BY-SA 4.0" in splits.train.source


def test_photos_are_read_as_asked_for(tmp_path):
    write(tmp_path / "oxford-iiit-pet")
    splits = small(tmp_path, preprocessing=Preprocessing("timm", 0.5, "half"), image_size=10)
    assert splits.train.image_shape == (3, 10, 10)
    assert isinstance(splits.train.images, PhotoFiles)
    assert splits.train.mean == splits.test.std == (0.5, 0.5, 0.5)
    assert small(tmp_path).train.std == (0.229, 0.224, 0.225)
    assert small(tmp_path, preprocessing="google").train.mean == (0.5, 0.5, 0.5)


def test_training_photos_keep_their_margin(tmp_path):
    folder = write(tmp_path / "oxford-iiit-pet")
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[8:32, 8:32] = 255
    for name in ("Bengal_1", "Birman_8"):
        Image.fromarray(pixels).save(folder / "images" / f"{name}.jpg", "PNG")
    splits = small(tmp_path, preprocessing=Preprocessing("timm", 0.5))
    assert splits.train.images[0].min() == 0
    assert splits.test.images[0].min() == 255


@pytest.mark.parametrize("where", ["data_dir", "the folder itself", "environment", "cache"])
def test_it_is_found(tmp_path, monkeypatch, where):
    parent = tmp_path / ("cache" if where == "cache" else "data")
    write(parent / "oxford-iiit-pet")
    given = {"data_dir": parent, "the folder itself": parent / "oxford-iiit-pet"}.get(where)
    if where == "environment":
        monkeypatch.setenv("MINIVIT_DATA", str(parent))
    assert registry.find("pets", given) == find_pets(given) == parent / "oxford-iiit-pet"
    assert len(small(given).train) == 6


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (TRAIN[:-1], TEST, r"trainval\.txt: expected the 6 training photos of Oxford-IIIT Pets, got 5"),
        (TRAIN, [*TEST, "Birman_99 3 1 1"], r"test\.txt: expected the 3 test photos of Oxford-IIIT Pets, got 4"),
        ([*TRAIN[:-1], "Bengal_2 4 1 1"], TEST, r"line 7: expected .* from 1 to 3 .*, got 'Bengal_2 4 1 1'"),
        ([*TRAIN[:-1], "Bengal_2 0 1 1"], TEST, "got 'Bengal_2 0 1 1'"),
        ([*TRAIN[:-1], "Bengal_2 1 1 1"], TEST, "got 'Bengal_2 1 1 1'"),
        ([*TRAIN[:-1], "Bengal_2 2"], TEST, "got 'Bengal_2 2'"),
        ([*TRAIN[:-1], TRAIN[0]], TEST, "photo not listed before"),
        ([*TRAIN[:-1], TEST[0]], TEST, "Birman_8 is a training and a test photo"),
    ],
)
def test_lists_that_are_not_the_published_ones_are_refused(tmp_path, train, test, message):
    write(tmp_path / "oxford-iiit-pet", train, test)
    with pytest.raises(DatasetError, match=message):
        small(tmp_path)


def test_missing_files_are_named(tmp_path):
    folder = write(tmp_path / "oxford-iiit-pet")
    (folder / "images" / "Bengal_9.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1 of the 3 photos .* the first being Bengal_9\.jpg; delete"):
        small(tmp_path)
    (folder / "annotations" / "test.txt").unlink()
    with pytest.raises(DatasetError, match=r"test\.txt is missing"):
        small(tmp_path)


def test_a_broken_photo_is_named_when_it_is_read(tmp_path):
    folder = write(tmp_path / "oxford-iiit-pet")
    (folder / "images" / "Bengal_9.jpg").write_bytes(b"no image")
    test = small(tmp_path).test
    with pytest.raises(DatasetError, match=r"Bengal_9\.jpg: cannot be read as an image"):
        test.images[:]


def test_what_is_missing_is_downloaded(tmp_path, file_server):
    served, url = file_server
    source = write(tmp_path / "source" / "oxford-iiit-pet")
    (source / "images" / "Bengal_1.mat").write_bytes(b"beside the photos in the official archive")
    (source / "annotations" / "README").write_text("x")
    archives = []
    for archive in PETS.archives:
        path = served / f"{archive.folder}.tar.gz"
        with tarfile.open(path, "w:gz") as tar:
            tar.add(source / archive.folder, archive.folder)
        content = path.read_bytes()
        members = replace(archive.members, least=2)
        archives.append(
            Archive(f"{url}{path.name}", hashlib.md5(content).hexdigest(), len(content), archive.folder, members)
        )
    layout = replace(SMALL, archives=tuple(archives))
    for data_dir in (tmp_path / "mine", None):
        splits = load_pets(data_dir, layout=layout, progress=False, image_size=8)
        folder = (data_dir or tmp_path / "cache") / "oxford-iiit-pet"
        assert sorted(path.name for path in (folder / "annotations").iterdir()) == ["test.txt", "trainval.txt"]
        assert len(list((folder / "images").iterdir())) == 9
        assert splits.test.images[:][:, 0, 0, 0].tolist() == [8, 9, 1]
    (tmp_path / "mine" / "oxford-iiit-pet" / "annotations" / "test.txt").rename(tmp_path / "test.txt")
    with pytest.raises(DatasetError, match=r"test\.txt is missing"):  # a folder that is there is not downloaded again
        load_pets(tmp_path / "mine", layout=layout, progress=False)


def test_the_error_lists_the_ways_out(tmp_path):
    with pytest.raises(DataNotFoundError) as raised:
        load("pets", tmp_path / "named", download=False)
    for part in (
        str(tmp_path / "named"),
        str(tmp_path / "cache"),
        "not asked for",
        "https://www.robots.ox.ac.uk/~vgg/data/pets/data/images.tar.gz",
        "(811 MB)",
        "--data-dir",
        "MINIVIT_DATA",
    ):
        assert part in str(raised.value)
    unreachable = tuple(replace(archive, url="http://127.0.0.1:1/x.tar.gz") for archive in PETS.archives)
    with pytest.raises(DataNotFoundError, match="no connection"):
        load_pets(tmp_path / "named", layout=replace(PETS, archives=unreachable), progress=False)


def test_the_published_layout():
    assert (PETS.train, PETS.test, PETS.classes) == (3680, 3669, 37)
    assert [archive.md5 for archive in PETS.archives] == [
        "95a8c909bbe2e81eed6a22bccdf3f68f",
        "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_size": 0}, ValueError, "image size of at least 1"),
        ({"preprocessing": "tim"}, ValueError, "got 'tim'"),
        ({"size": 8}, TypeError, "size"),
    ],
)
def test_settings_that_make_no_sense(tmp_path, options, error, message):
    write(tmp_path / "oxford-iiit-pet")
    with pytest.raises(error, match=message):
        small(tmp_path, **options)
