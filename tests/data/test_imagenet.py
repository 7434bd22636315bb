"""Tests of minivit/data/imagenet.py: small trees in the layouts that are in use."""

import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from minivit.data import (
    DatasetError,
    PhotoFiles,
    Preprocessing,
    load,
    load_imagenet,
    load_imagenet_validation,
    registry,
)
from minivit.data.imagenet import IMAGENET, find_imagenet
from minivit.data.imagenet_labels import DEVKIT_LIST, KAGGLE_LIST, SYNSET_LIST
from minivit.data.locate import DataNotFoundError

SMALL = replace(IMAGENET, classes=3, train=7, validation=6)
SYNSETS = ("n01440764", "n02123045", "n09999999")
VALIDATION = [2, 0, 0, 1, 2, 1]  # labels of the photos 1 to 6
DEVKIT_NUMBERS = {"n02123045": 1, "n09999999": 2, "n01440764": 3, "n00000000": 4}  # not in the order of the synsets


def photo(path, red, size=(12, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (red, 0, 0)).save(path, "PNG")


def validation_name(number):
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def write_train(root):
    for label, count in enumerate((3, 1, 3)):
        for number in range(count):
            photo(root / "train" / SYNSETS[label] / f"{SYNSETS[label]}_{number}.JPEG", 10 * label + number)


def write_validation(root, folders):
    for number, label in enumerate(VALIDATION, start=1):
        photo(root / "val" / (SYNSETS[label] if folders else "") / validation_name(number), number)


def write_synset_list(root, synsets=None):
    synsets = synsets or [SYNSETS[label] for label in VALIDATION]
    (root / SYNSET_LIST).write_text("".join(f"{synset}\n" for synset in synsets))


def write_kaggle_list(root):
    lines = [f"{validation_name(n)[:-5]},{SYNSETS[label]} 1 2 3 4 {SYNSETS[label]} 5 6 7 8" for n, label in
             enumerate(VALIDATION, start=1)]  # fmt: skip
    random.Random(0).shuffle(lines)
    (root / KAGGLE_LIST).write_text("\n".join(["ImageId,PredictionString", *lines]) + "\n")


def write_devkit(root):
    (root / DEVKIT_LIST).parent.mkdir(parents=True)
    numbers = [DEVKIT_NUMBERS[SYNSETS[label]] for label in VALIDATION]
    (root / DEVKIT_LIST).write_text("".join(f"{number}\n" for number in numbers))
    table = np.zeros((4, 1), [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    for row, (synset, number) in enumerate(DEVKIT_NUMBERS.items()):
        table[row, 0] = (float(number), synset, "some, words")
    savemat((root / DEVKIT_LIST).with_name("meta.mat"), {"synsets": table})


LISTS = {"synsets": write_synset_list, "kaggle": write_kaggle_list, "devkit": write_devkit}


@pytest.fixture(autouse=True)
def nothing_else_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    monkeypatch.setattr("minivit.data.locate.user_cache", lambda: tmp_path / "cache")


@pytest.fixture
def root(tmp_path):
    write_train(tmp_path / "imagenet")
    return tmp_path / "imagenet"


def small(data_dir, **options):
    return load_imagenet(data_dir, layout=SMALL, image_size=8, **options)


def check_validation(dataset):
    assert dataset.images[:][:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5, 6], "in the order of their numbers"
    assert dataset.labels.tolist() == VALIDATION
    assert dataset.classes == SYNSETS


def test_labels_are_the_order_of_the_synsets(root):
    write_validation(root, folders=True)
    splits = small(root)
    assert splits.train.classes == SYNSETS
    assert splits.train.labels.tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert splits.train.images[:][:, 0, 0, 0].tolist() == [0, 1, 2, 10, 20, 21, 22]
    assert isinstance(splits.train.images, PhotoFiles)
    assert splits.train.mean == (0.485, 0.456, 0.406)
    check_validation(splits.test)


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("alone", [True, False], ids=["validation alone", "with train"])
def test_validation_photos_may_lie_in_one_folder(tmp_path, kind, alone):
    root = tmp_path / "imagenet"
    write_validation(root, folders=False)
    LISTS[kind](root)
    if not alone:
        write_train(root)
        check_validation(small(tmp_path).test)
    check_validation(load_imagenet_validation(tmp_path, layout=SMALL, image_size=8))


def test_validation_photos_alone_in_class_folders(tmp_path):
    write_validation(tmp_path / "imagenet", folders=True)
    for data_dir in (tmp_path, tmp_path / "imagenet"):
        way = Preprocessing("google")
        dataset = load_imagenet_validation(data_dir, layout=SMALL, image_size=8, preprocessing=way)
        check_validation(dataset)
        assert dataset.mean == (0.5, 0.5, 0.5)
    with pytest.raises(DatasetError, match=r"has val/ but no train/.*load_imagenet_validation"):
        small(tmp_path)


def test_the_lists_are_looked_at_in_a_known_order_and_named_where_there_is_none(root):
    write_validation(root, folders=False)
    with pytest.raises(DatasetError, match=rf"in one folder, so their classes .*{SYNSET_LIST}, {KAGGLE_LIST}"):
        small(root)
    write_synset_list(root)
    (root / KAGGLE_LIST).write_text("not looked at")
    check_validation(small(root).test)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: write_synset_list(root, [SYNSETS[0]] * 5), "expected 6 synsets such as n01440764, got 5 words"),
        (lambda root: write_synset_list(root, ["42"] * 6), "expected 6 synsets"),
        (lambda root: write_synset_list(root, ["n00000001"] * 6), "got n00000001, which train/ lacks"),
        (lambda root: (root / KAGGLE_LIST).write_text("x\nILSVRC2012_val_00000002,n01440764 1"), "a line for each"),
        (lambda root: (write_devkit(root), (root / DEVKIT_LIST).with_name("meta.mat").unlink()), "meta.mat is missing"),
        (lambda root: (write_devkit(root), (root / DEVKIT_LIST).write_text("1\n9\n")), r"meta\.mat lists, got 9"),
        (
            lambda root: (write_devkit(root), savemat((root / DEVKIT_LIST).with_name("meta.mat"), {"synsets": [1]})),
            "table of synsets with ILSVRC2012_ID and WNID",
        ),
    ],
)
def test_lists_that_do_not_fit_are_refused(root, damage, message):
    write_validation(root, folders=False)
    damage(root)
    with pytest.raises(DatasetError, match=message):
        small(root)


def test_missing_photos_and_classes_are_named(root):
    write_validation(root, folders=True)
    (root / "val" / SYNSETS[0] / validation_name(3)).unlink()
    with pytest.raises(DatasetError, match=r"expected the 6 photos .*, got 5, without ILSVRC2012_val_00000003\.JPEG"):
        small(root)
    (root / "train" / SYNSETS[1] / f"{SYNSETS[1]}_0.JPEG").unlink()
    with pytest.raises(DatasetError, match=r"expected 7 photos \*\.JPEG in 3 folders, got 6"):
        small(root)
    (root / "train" / SYNSETS[1]).rmdir()
    with pytest.raises(DatasetError, match="expected 3 folders named by synsets, such as n01440764, got 2"):
        small(root)


def test_a_broken_photo_is_named_when_it_is_read(root):
    write_validation(root, folders=True)
    path = root / "val" / SYNSETS[2] / validation_name(5)
    path.write_bytes(path.read_bytes()[:50])
    test = small(root).test
    with pytest.raises(DatasetError, match=r"val_00000005\.JPEG: cannot be read as an image"):
        test.images[[0, 4]]


def test_it_is_found(root, tmp_path, monkeypatch):
    write_validation(root, folders=True)
    assert registry.find("imagenet", tmp_path) == find_imagenet(root) == root
    assert find_imagenet() is None
    monkeypatch.setenv("MINIVIT_DATA", str(tmp_path))
    assert find_imagenet() == root


def test_the_error_says_where_to_get_it(tmp_path):
    with pytest.raises(DataNotFoundError) as raised:
        load("imagenet", tmp_path)
    for part in (str(tmp_path), "cannot be downloaded without registration", "https://image-net.org/download-images",
                 "ILSVRC2012_img_val.tar", "LOC_val_solution.csv", "MINIVIT_DATA"):  # fmt: skip
        assert part in str(raised.value)
    write_train(tmp_path / "imagenet")
    with pytest.raises(DataNotFoundError, match="imagenet has no folder val"):
        small(tmp_path)


def test_the_published_sizes():
    assert (IMAGENET.classes, IMAGENET.train, IMAGENET.validation) == (1000, 1_281_167, 50_000)
