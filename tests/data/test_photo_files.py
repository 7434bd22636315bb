"""Tests of minivit/data/photo_files.py."""

import doctest
import threading

import numpy as np
import pytest
from PIL import Image

from minivit.data import Batches, Dataset, DatasetError, PhotoFiles, Preprocessing, hold_out, photo_files
from minivit.data.labels import fingerprint, refuse_overlap

SIZE = 8


@pytest.fixture
def paths(tmp_path):
    """Ten photos; the red of each is its number."""
    found = []
    for number in range(10):
        found.append(str(tmp_path / f"{number}.png"))
        Image.new("RGB", (9, 12), (number, 100, 200)).save(found[-1])
    return found


class Reader:
    """Reads photos and remembers which."""

    def __init__(self):
        self.read, self.threads = [], set()

    def __call__(self, path):
        self.read.append(path)
        self.threads.add(threading.get_ident())
        return Preprocessing().read(path, SIZE)


@pytest.fixture
def reader():
    return Reader()


def files(paths, reader, **options):
    return PhotoFiles(paths, reader, image_size=SIZE, **options)


def dataset(images, labels=None):
    labels = np.arange(len(images)) % 2 if labels is None else labels
    return Dataset("photos", images, labels, ("even", "odd"), (0.5,) * 3, (0.5,) * 3, "made up")


def test_nothing_is_read_before_it_is_asked_for(paths, reader):
    images = files(paths, reader)
    assert (len(images), images.shape, images.dtype, images.ndim) == (10, (10, 3, SIZE, SIZE), np.uint8, 4)
    images.take(np.array([4, 2]), axis=0)
    assert reader.read == []


@pytest.mark.parametrize(
    "index",
    [3, -1, slice(2, 7), slice(None, None, -3), [5, 5, 0], np.array([9, 1]), np.arange(10) < 4, [], np.array([[1, 2]])],
    ids=str,
)
def test_an_index_means_what_it_means_to_an_array(paths, reader, index):
    whole = np.stack([Preprocessing().read(path, SIZE) for path in paths])
    index = np.zeros(0, int) if isinstance(index, list) and not index else index
    images = files(paths, reader)
    for _ in range(2):  # from the files, then from memory
        found = images[index]
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, whole[index])


def test_what_was_read_is_kept_while_there_is_room(paths, reader):
    size = 3 * SIZE * SIZE
    images = files(paths, reader, cache_bytes=4 * size + 5)
    images[:6]
    assert sorted(reader.read) == paths[:6]
    reader.read.clear()
    images[:]
    assert len(reader.read) == 6, "four of the six were kept"
    reader.read.clear()
    images[:]
    assert len(reader.read) == 6, "and none of them is thrown out for another"
    reader.read.clear()
    forgetful = files(paths, reader, cache_bytes=0)
    forgetful[[3]]
    forgetful[[3]]
    assert reader.read == [paths[3]] * 2


def test_what_is_kept_does_not_change_with_what_was_given(paths, reader):
    images = files(paths, reader)
    images[:][...] = 0
    assert images[:, ...][3, 0, 0, 0] == 3


def test_a_selection_shares_files_and_memory(paths, reader):
    images = files(paths, reader)
    part = images.take(np.array([8, 1, 8]), axis=0).take(np.array([2, 1]), axis=0)
    assert part.paths == [paths[8], paths[1]]
    assert part[:, ...][:, 0, 0, 0].tolist() == [8, 1]
    reader.read.clear()
    assert images[[1, 8]][:, 0, 0, 0].tolist() == [1, 8]
    assert reader.read == []
    with pytest.raises(ValueError, match="axis 0"):
        images.take(np.array([0]), axis=1)


def test_photos_are_read_in_threads(paths, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    together = threading.Barrier(2, timeout=30)

    def read(path):
        together.wait()  # ends only where two are in here at once
        return np.zeros((3, SIZE, SIZE), np.uint8)

    assert files(paths, read)[:].shape == (10, 3, SIZE, SIZE)


def test_broken_files_are_named(paths, reader, tmp_path):
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    (tmp_path / "9.png").unlink()
    images = files(paths, reader)
    with pytest.raises(DatasetError, match=r"0\.png: cannot be read as an image") as raised:
        images[:]
    assert str(raised.value).endswith("and 3 more")
    with pytest.raises(DatasetError, match=r"9\.png: there is no such file"):
        images[[8, 9]]
    with pytest.raises(IndexError):
        images[10]
    assert images[8][0, 0, 0] == 8


def test_a_data_set_of_photos_works_as_any_other(paths, reader):
    lazy, held = dataset(files(paths, reader)), dataset(files(paths, Reader())[:])
    assert repr(lazy) == repr(held)
    for step in (0, 7):
        first, second = (Batches(one, 4, seed=3).at(step) for one in (lazy, held))
        np.testing.assert_array_equal(first.images, second.images)
        np.testing.assert_array_equal(first.labels, second.labels)
    reader.read.clear()
    train, validation = hold_out(lazy, 0.2)
    assert isinstance(train.images, PhotoFiles)
    assert reader.read == []
    np.testing.assert_array_equal(validation.images[:], hold_out(held, 0.2)[1].images)
    assert fingerprint(lazy) == fingerprint(held)


def test_photos_that_are_learned_and_tested_on_are_found(paths, reader):
    lazy = dataset(files(paths, reader))
    with pytest.raises(DatasetError, match="2 of the 2 images"):
        refuse_overlap(lazy, lazy.subset([3, 4]))
    refuse_overlap(lazy.subset([0, 1]), lazy.subset([3, 4]))


def test_photos_become_an_array_where_one_is_wanted(paths, reader):
    images = files(paths, reader)
    np.testing.assert_array_equal(np.asarray(images), images[:])
    assert np.asarray(images, np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="makes a copy"):
        np.asarray(images, copy=False)


def test_examples_in_docstrings():
    assert doctest.testmod(photo_files).failed == 0
