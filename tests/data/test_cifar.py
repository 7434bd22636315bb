"""Tests of minivit/data/cifar.py: small files in the official layout, and the real data set where it is at hand."""

from dataclasses import replace

import numpy as np
import pytest

from minivit.data import cifar
from minivit.data.cifar import CIFAR10, CIFAR100, find_cifar, load_cifar
from minivit.data.dataset import DatasetError
from minivit.data.download import DownloadError
from minivit.data.locate import DataNotFoundError

SMALL10 = replace(CIFAR10, train={"data_batch_1.bin": 20, "data_batch_2.bin": 20}, test={"test_batch.bin": 10}, md5={})
SMALL100 = replace(CIFAR100, train={"train.bin": 200}, test={"test.bin": 100})


def write(folder, layout):
    """Random records; returns (images, label bytes) by file name."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(7)
    contents = {}
    for name, count in {**layout.train, **layout.test}.items():
        images = random.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        fine = np.arange(count) % len(layout.classes)
        labels = np.stack([fine // 5, fine] if layout.label_bytes == 2 else [fine], axis=1).astype(np.uint8)
        contents[name] = images, labels
        np.concatenate([labels, images.reshape(count, -1)], axis=1).tofile(folder / name)
    return contents


@pytest.fixture(autouse=True)
def nothing_else_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIVIT_DATA", raising=False)
    monkeypatch.setattr(cifar, "user_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr("minivit.data.locate.user_cache", lambda: tmp_path / "cache")


@pytest.fixture
def downloads(monkeypatch):
    """Requests for a download, which fail."""
    asked = []

    def fetch(archive, target, progress=True):
        asked.append((archive.url, target))
        raise DownloadError("no network in this test")

    monkeypatch.setattr("minivit.data.archive.Archive.fetch", fetch)
    return asked


def test_cifar10_records(tmp_path):
    contents = write(tmp_path / "cifar-10-batches-bin", SMALL10)
    splits = load_cifar(SMALL10, tmp_path)
    images = np.concatenate([contents["data_batch_1.bin"][0], contents["data_batch_2.bin"][0]])
    np.testing.assert_array_equal(splits.train.images, images)
    assert splits.train.labels.tolist() == [*range(10)] * 4
    np.testing.assert_array_equal(splits.test.images, contents["test_batch.bin"][0])
    assert splits.validation is None
    assert splits.train.classes[6] == "frog"
    assert splits.train.mean == splits.test.mean == CIFAR10.mean


def test_cifar100_records_have_a_coarse_and_a_fine_label(tmp_path):
    contents = write(tmp_path / "cifar-100-binary", SMALL100)
    fine = load_cifar(SMALL100, tmp_path)
    np.testing.assert_array_equal(fine.train.images, contents["train.bin"][0])
    np.testing.assert_array_equal(fine.train.labels, contents["train.bin"][1][:, 1])
    assert (len(fine.train.classes), fine.train.classes[0], fine.train.classes[99]) == (100, "apple", "worm")
    coarse = load_cifar(SMALL100, tmp_path, coarse=True)
    np.testing.assert_array_equal(coarse.train.labels, contents["train.bin"][1][:, 0])
    assert (len(coarse.train.classes), coarse.train.classes[19]) == (20, "vehicles_2")
    with pytest.raises(ValueError, match="CIFAR-10 has no coarse classes"):
        load_cifar(SMALL10, tmp_path, coarse=True)


@pytest.mark.parametrize("where", ["data_dir", "the folder itself", "environment", "cache"])
def test_data_is_found(tmp_path, monkeypatch, where, downloads):
    parent = tmp_path / ("cache" if where == "cache" else "data")
    write(parent / "cifar-10-batches-bin", SMALL10)
    given = {"data_dir": parent, "the folder itself": parent / "cifar-10-batches-bin"}.get(where)
    if where == "environment":
        monkeypatch.setenv("MINIVIT_DATA", str(parent))
    assert find_cifar(SMALL10, given) == parent / "cifar-10-batches-bin"
    assert len(load_cifar(SMALL10, given).train) == 40
    assert downloads == []


def test_the_most_explicit_place_wins(tmp_path, monkeypatch):
    write(tmp_path / "one" / "cifar-10-batches-bin", SMALL10)
    write(tmp_path / "two" / "cifar-10-batches-bin", SMALL10)
    monkeypatch.setenv("MINIVIT_DATA", str(tmp_path / "two"))
    assert find_cifar(SMALL10, tmp_path / "one") == tmp_path / "one" / "cifar-10-batches-bin"
    assert find_cifar(SMALL10, tmp_path / "none") == tmp_path / "two" / "cifar-10-batches-bin"


def damage_size(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_surplus(path):
    path.write_bytes(path.read_bytes() + b"x")


def damage_label(path):
    content = bytearray(path.read_bytes())
    content[3 * 3073] = 10
    path.write_bytes(content)


def damage_missing(path):
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_size, r"expected 61,460 bytes \(20 records of 3073\), got 61,360: the file is truncated"),
        (damage_surplus, "got 61,461: the file is another one"),
        (damage_label, r"labels from 0 to 9, got 10 in record 3 \(byte 9,219\): the file is corrupt"),
        (damage_missing, "is missing, though other files of CIFAR-10 are there"),
    ],
)
def test_a_bad_file_is_named(tmp_path, damage, message, downloads):
    write(tmp_path / "cifar-10-batches-bin", SMALL10)
    damage(tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin")
    with pytest.raises(DatasetError, match=message) as raised:
        load_cifar(SMALL10, tmp_path)
    assert str(raised.value).startswith(str(tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin"))
    assert downloads == []


def test_a_changed_pixel_is_found_where_the_sum_is_published(tmp_path):
    write(tmp_path / "cifar-10-batches-bin", SMALL10)
    layout = replace(SMALL10, md5={"test_batch.bin": "0" * 32})
    with pytest.raises(DatasetError, match=r"test_batch\.bin: expected md5 0{32}, got [0-9a-f]{32}: .*corrupt"):
        load_cifar(layout, tmp_path)


@pytest.mark.parametrize(("byte", "message"), [(0, "a class has two different coarse"), (1, "from 0 to 99, got 255")])
def test_a_corrupt_cifar100_label(tmp_path, byte, message):
    write(tmp_path / "cifar-100-binary", SMALL100)
    path = tmp_path / "cifar-100-binary" / "train.bin"
    content = bytearray(path.read_bytes())
    content[150 * 3074 + byte] = (3, 255)[byte]
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        load_cifar(SMALL100, tmp_path)


def test_what_is_missing_is_downloaded(tmp_path, monkeypatch):
    def fetch(archive, target, progress=True):
        write(target / archive.folder, SMALL100)
        return target / archive.folder

    monkeypatch.setattr("minivit.data.archive.Archive.fetch", fetch)
    assert len(load_cifar(SMALL100, tmp_path / "mine").train) == 200
    assert (tmp_path / "mine" / "cifar-100-binary" / "train.bin").exists()
    assert len(load_cifar(SMALL100).train) == 200
    assert (tmp_path / "cache" / "cifar-100-binary" / "train.bin").exists()


def test_the_error_lists_the_ways_out(tmp_path, downloads, monkeypatch):
    monkeypatch.setenv("MINIVIT_DATA", str(tmp_path / "named"))
    (tmp_path / "named" / "cifar-10-batches-py").mkdir(parents=True)
    with pytest.raises(DataNotFoundError) as raised:
        load_cifar(CIFAR10)
    message = str(raised.value)
    for part in (
        str(tmp_path / "named"),
        str(tmp_path / "cache"),
        "no network in this test",
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "--data-dir",
        "MINIVIT_DATA",
        "digits, shapes",
        "cifar-10-batches-py is the pickled version",
    ):
        assert part in message
    assert len(downloads) == 1
    with pytest.raises(DataNotFoundError, match="not asked for"):
        load_cifar(CIFAR100, download=False)
    assert len(downloads) == 1


def test_the_archives_hold_the_official_files():
    assert sum(CIFAR10.archive.members.values()) == 60_000 * 3073
    assert CIFAR10.archive.members["cifar-10-batches-bin/test_batch.bin"] == 30_730_000
    assert CIFAR100.archive.members == {
        "cifar-100-binary/train.bin": 153_700_000,
        "cifar-100-binary/test.bin": 30_740_000,
    }
    assert CIFAR100.archive.url.endswith("/cifar-100-binary.tar.gz")
    assert len(set(CIFAR100.classes)) == 100
    assert list(CIFAR100.classes) == sorted(CIFAR100.classes)


def test_the_real_cifar10(real_cifar10):
    splits = load_cifar(CIFAR10, real_cifar10, download=False)
    assert (len(splits.train), len(splits.test)) == (50_000, 10_000)
    assert splits.train.class_counts().tolist() == [5000] * 10
    assert splits.test.class_counts().tolist() == [1000] * 10
    assert splits.train.classes[splits.train.labels[0]] == "frog"
    assert splits.train.classes[splits.test.labels[0]] == "cat"
    from minivit.data.dataset import channel_statistics

    mean, std = channel_statistics(splits.train.images)
    np.testing.assert_allclose(mean, splits.train.mean, atol=1e-5)
    np.testing.assert_allclose(std, splits.train.std, atol=1e-5)


def test_one_changed_pixel_of_the_real_cifar10_is_found(real_cifar10, tmp_path):
    for path in real_cifar10.glob("*.bin"):
        (tmp_path / path.name).symlink_to(path)
    changed = tmp_path / "data_batch_1.bin"
    content = bytearray(changed.read_bytes())
    content[1_000_000] ^= 1
    changed.unlink()
    changed.write_bytes(content)
    with pytest.raises(DatasetError, match=r"data_batch_1\.bin: expected md5 5dd7e06a"):
        load_cifar(CIFAR10, tmp_path, download=False)
