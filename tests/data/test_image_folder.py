"""Tests of minivit/data/image_folder.py."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from minivit.data.dataset import DatasetError
from minivit.data.image_folder import SPLIT_FILE, load_image_folder, read_image


def paint(path, colour=(200, 30, 60), size=(40, 30), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    return path


def make_folder(root, counts):
    for name, count in counts.items():
        for number in range(count):
            paint(root / name / f"{number:02d}.png", (number, 0, 0))
    return root


def reds(dataset):
    """The number that `make_folder` painted each image with."""
    return dataset.images[:, 0, 0, 0].tolist()


def test_sub_folders_are_classes(tmp_path):
    splits = load_image_folder(make_folder(tmp_path, {"dog": 10, "cat": 5}), image_size=16)
    parts = (splits.train, splits.validation, splits.test)
    assert [part.class_counts().tolist() for part in parts] == [[3, 6], [1, 2], [1, 2]]
    for part in parts:
        assert part.classes == ("cat", "dog")
        assert part.image_shape == (3, 16, 16)
        assert part.mean == splits.train.mean
    for label, count in enumerate((5, 10)):
        found = [red for part in parts for red, one in zip(reds(part), part.labels, strict=True) if one == label]
        assert sorted(found) == list(range(count))


def test_the_split_is_stored_and_survives_new_images(tmp_path):
    make_folder(tmp_path, {"cat": 10, "dog": 10})
    first = load_image_folder(tmp_path, seed=4)
    stored = json.loads((tmp_path / SPLIT_FILE).read_text())
    assert stored["seed"] == 4
    assert len(stored["test"]) == len(stored["validation"]) == 4
    assert all((tmp_path / name).is_file() for name in stored["test"])
    make_folder(tmp_path, {"cat": 20, "dog": 20})
    second = load_image_folder(tmp_path, seed=4)
    assert reds(second.test) == reds(first.test)
    assert reds(second.validation) == reds(first.validation)
    assert len(second.train) == 32
    with pytest.raises(DatasetError, match=r"holds the split of seed 4, asked for is that of seed 0; delete"):
        load_image_folder(tmp_path)


def test_a_folder_that_cannot_be_written_is_split_the_same_each_time(tmp_path, monkeypatch):
    make_folder(tmp_path, {"cat": 10, "dog": 10})

    def refuse(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    first, second = load_image_folder(tmp_path), load_image_folder(tmp_path)
    assert reds(first.test) == reds(second.test)
    assert not (tmp_path / SPLIT_FILE).exists()


def test_a_stored_split_that_does_not_fit_is_refused(tmp_path):
    make_folder(tmp_path, {"cat": 10})
    load_image_folder(tmp_path)
    held_out = json.loads((tmp_path / SPLIT_FILE).read_text())["test"][0]
    (tmp_path / held_out).unlink()
    with pytest.raises(DatasetError, match=rf"1 image\(s\) are gone, such as {held_out}"):
        load_image_folder(tmp_path)
    (tmp_path / SPLIT_FILE).write_text("{}")
    with pytest.raises(DatasetError, match="is not a split that minivit wrote"):
        load_image_folder(tmp_path)


@pytest.mark.parametrize("validation", [None, "validation", "val"])
def test_train_and_test_folders_are_the_parts(tmp_path, validation):
    make_folder(tmp_path / "train", {"cat": 3, "dog": 2})
    make_folder(tmp_path / "test", {"cat": 1, "dog": 1})
    if validation:
        make_folder(tmp_path / validation, {"cat": 2, "dog": 2})
    splits = load_image_folder(tmp_path, 8)
    assert splits.train.class_counts().tolist() == [3, 2]
    assert splits.test.class_counts().tolist() == [1, 1]
    assert (splits.validation is not None) == (validation is not None)
    assert not (tmp_path / SPLIT_FILE).exists()


def test_parts_that_do_not_fit_together(tmp_path):
    make_folder(tmp_path / "train", {"cat": 2})
    make_folder(tmp_path / "test", {"cat": 1, "cow": 1})
    with pytest.raises(DatasetError, match=r"class\(es\) cow have no folder in .*train"):
        load_image_folder(tmp_path)
    make_folder(tmp_path / "train", {"cow": 2, "dog": 2})
    with pytest.raises(DatasetError, match="dog: class dog has no image"):
        load_image_folder(tmp_path)
    make_folder(tmp_path / "test", {"dog": 2})
    make_folder(tmp_path, {"more": 2})
    with pytest.raises(DatasetError, match="expected train, test and perhaps validation, got also more"):
        load_image_folder(tmp_path)


def test_what_the_operating_system_leaves_behind_is_passed_over(tmp_path):
    make_folder(tmp_path, {"cat": 5, ".thumbnails": 1})
    for name in (".DS_Store", "cat/Thumbs.db", "cat/.hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    splits = load_image_folder(tmp_path, 8)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 5


def test_wrong_folders_are_named(tmp_path):
    with pytest.raises(DatasetError, match=r"sub-folder for each class, got .*absent"):
        load_image_folder(tmp_path / "absent")
    with pytest.raises(DatasetError, match="got an empty folder"):
        load_image_folder(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DatasetError, match="cat: class cat has no image"):
        load_image_folder(tmp_path)
    make_folder(tmp_path, {"cat": 2})
    with pytest.raises(DatasetError, match=r"\(cat\): class 0 has 2 image\(s\), too few for one in each of 3 parts"):
        load_image_folder(tmp_path)
    make_folder(tmp_path / "cat", {"inner": 1})
    with pytest.raises(DatasetError, match="inner: expected an image, got a folder"):
        load_image_folder(tmp_path)
    paint(tmp_path / "loose.png")
    with pytest.raises(DatasetError, match=r"for each class, got the file loose\.png"):
        load_image_folder(tmp_path)
    with pytest.raises(ValueError, match="at least 1, got 0"):
        load_image_folder(tmp_path, 0)


def test_bad_images_are_named(tmp_path):
    make_folder(tmp_path, {"cat": 5})
    (tmp_path / "cat" / "00.png").write_bytes(b"")
    (tmp_path / "cat" / "01.png").write_bytes(b"no image")
    whole = paint(tmp_path / "cat" / "02.jpg", size=(200, 200)).read_bytes()
    (tmp_path / "cat" / "02.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError) as raised:
        load_image_folder(tmp_path)
    message = str(raised.value)
    assert "00.png: the file is empty" in message
    assert "01.png: cannot be read as an image" in message
    assert "02.jpg: cannot be read as an image" in message
    (tmp_path / "cat" / "notes.txt").write_text("x")
    with pytest.raises(DatasetError, match=r"notes\.txt: expected an image \(\.bmp, "):
        load_image_folder(tmp_path)


def test_many_bad_images_are_counted(tmp_path):
    make_folder(tmp_path, {"cat": 8})
    for path in (tmp_path / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"empty\n\.\.\. and 3 more$"):
        load_image_folder(tmp_path)


def test_the_central_square_is_cut_out(tmp_path):
    picture = np.zeros((20, 60, 3), np.uint8)  # thirds: red, green, blue
    for third in range(3):
        picture[:, 20 * third : 20 * third + 20, third] = 255
    Image.fromarray(picture).save(tmp_path / "wide.png")
    square = read_image(tmp_path / "wide.png", 20)
    assert square.shape == (3, 20, 20)
    assert square.dtype == np.uint8
    assert square[:, 10, 10].tolist() == [0, 255, 0]
    assert (square[1] == 255).all()


def test_images_of_all_kinds_become_rgb(tmp_path):
    assert read_image(paint(tmp_path / "grey.png", 77, mode="L"), 4)[:, 0, 0].tolist() == [77] * 3
    assert read_image(paint(tmp_path / "clear.png", (9, 9, 9, 0), mode="RGBA"), 4)[:, 0, 0].tolist() == [255] * 3
    half = read_image(paint(tmp_path / "half.png", (0, 0, 0, 128), mode="RGBA"), 4)[:, 0, 0]
    assert half.tolist() == [127] * 3
    Image.fromarray(np.full((9, 9), 0x8000, np.uint16)).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png", 4)[:, 0, 0].tolist() == [128] * 3
    paint(tmp_path / "palette.png", 0, mode="P", transparency=b"\x00")
    assert read_image(tmp_path / "palette.png", 4)[:, 0, 0].tolist() == [255] * 3
    assert read_image(paint(tmp_path / "cmyk.jpg", (0, 0, 0, 0), mode="CMYK"), 4)[:, 0, 0].min() > 250


def test_a_photo_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn 90 degrees clockwise
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[:, :8] = 255  # white at the left, which is at the top once turned
    Image.fromarray(picture).save(tmp_path / "photo.png", exif=exif)
    upright = read_image(tmp_path / "photo.png", 16)
    assert upright[:, :7].min() == 255
    assert upright[:, 9:].max() == 0


def test_without_pillow_the_error_says_what_to_install(tmp_path, monkeypatch):
    path = paint(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "minivit\[examples\]"'):
        read_image(path, 8)
