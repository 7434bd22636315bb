"""Tests of minivit/data/archive.py, against archives that attack."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

from minivit.data.archive import Archive, ArchiveError, Matching, extract
from minivit.data.download import DownloadError

MEMBERS = {"set/a.bin": 5, "set/b.bin": 70_000}


def member(name, content=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    return info, content


GOOD = [member("set", kind=tarfile.DIRTYPE), member("set/a.bin", b"12345"), member("set/b.bin", bytes(70_000))]


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.fixture
def place(tmp_path):
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_the_named_files_are_unpacked_and_no_others(tmp_path, place):
    extra = [member("set/readme.html", b"<html>"), member("else/where.txt", b"x"), member("./set/sub/c", b"x")]
    archive = write_archive(tmp_path / "a.tar.gz", [*GOOD, *extra])
    assert extract(archive, place, "set", MEMBERS) == place / "set"
    assert everything_in(place) == ["set", "set/a.bin", "set/b.bin"]
    assert (place / "set/a.bin").read_bytes() == b"12345"
    assert (place / "set/b.bin").read_bytes() == bytes(70_000)


def test_somebody_else_may_unpack_at_the_same_time(tmp_path, place):
    archive = write_archive(tmp_path / "a.tar.gz", GOOD)
    (place / "set").mkdir()
    (place / "set" / "a.bin").write_bytes(b"theirs")
    assert extract(archive, place, "set", MEMBERS) == place / "set"
    assert everything_in(place) == ["set", "set/a.bin"]
    assert (place / "set" / "a.bin").read_bytes() == b"theirs"


ATTACKS = {
    "parent": member("../evil", b"x"),
    "parent inside": member("set/../../evil", b"x"),
    "absolute": member("/tmp/evil", b"x"),
    "backslash": member("..\\evil", b"x"),
    "drive": member("C:evil", b"x"),
    "symbolic link": member("set/a.bin", kind=tarfile.SYMTYPE, link="/etc/passwd"),
    "symbolic link to a folder": member("set", kind=tarfile.SYMTYPE, link="/tmp"),
    "hard link": member("set/a.bin", kind=tarfile.LNKTYPE, link="/etc/passwd"),
    "device": member("set/a.bin", kind=tarfile.CHRTYPE),
    "block device": member("set/dev", kind=tarfile.BLKTYPE),
    "pipe": member("set/a.bin", kind=tarfile.FIFOTYPE),
    "parent folder": member("../evil", kind=tarfile.DIRTYPE),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("first", [True, False])
def test_an_archive_that_reaches_out_is_refused_whole(tmp_path, place, attack, first):
    members = [ATTACKS[attack], *GOOD] if first else [*GOOD, ATTACKS[attack]]
    archive = write_archive(tmp_path / "a.tar.gz", members)
    before = everything_in(tmp_path)
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz: unsafe: '"):
        extract(archive, place, "set", MEMBERS)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (GOOD[:2], r"lacks set/b\.bin"),
        ([*GOOD, GOOD[1]], r"holds set/a\.bin twice"),
        ([*GOOD[:2], member("set/b.bin", bytes(69_999))], r"expected set/b\.bin of 70,000 bytes, got 69,999"),
        ([member("set/a.bin", kind=tarfile.DIRTYPE), GOOD[2]], r"lacks set/a\.bin"),
    ],
)
def test_another_archive_is_refused(tmp_path, place, members, message):
    archive = write_archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(ArchiveError, match=message):
        extract(archive, place, "set", MEMBERS)
    assert everything_in(place) == []


def test_an_archive_cut_off_anywhere_is_refused(tmp_path, place):
    noise = np.random.default_rng(1).bytes(70_000)
    whole = write_archive(tmp_path / "a.tar.gz", [*GOOD[:2], member("set/b.bin", noise)]).read_bytes()
    for length in [0, 5, 100, 1000, 30_000, len(whole) - 300]:
        cut = tmp_path / "cut.tar.gz"
        cut.write_bytes(whole[:length])
        with pytest.raises(ArchiveError, match=r"cut\.tar\.gz: (is cut off|lacks)"):
            extract(cut, place, "set", MEMBERS)
        assert everything_in(place) == []


def test_a_damaged_archive_is_refused(tmp_path, place):
    whole = bytearray(write_archive(tmp_path / "a.tar.gz", GOOD).read_bytes())
    for content in (b"not an archive at all", bytes(1000), bytes(whole[:50]) + b"?" + bytes(whole[51:])):
        (tmp_path / "a.tar.gz").write_bytes(content)
        with pytest.raises(ArchiveError, match=r"cut off or damaged|lacks"):
            extract(tmp_path / "a.tar.gz", place, "set", MEMBERS)
        assert everything_in(place) == []


def published(file_server, content, **changes):
    """An archive on the server."""
    folder, url = file_server
    (folder / "a.tar.gz").write_bytes(content)
    known = {"md5": hashlib.md5(content).hexdigest(), "size": len(content), "folder": "set", "members": MEMBERS}
    return Archive(url=f"{url}a.tar.gz", **(known | changes))


def test_fetch_downloads_and_unpacks(file_server, tmp_path):
    content = write_archive(tmp_path / "a.tar.gz", GOOD).read_bytes()
    target = tmp_path / "new" / "cache"
    assert published(file_server, content).fetch(target, progress=False) == target / "set"
    assert everything_in(target) == ["set", "set/a.bin", "set/b.bin"]


def test_fetch_refuses_the_wrong_archive_and_leaves_nothing(file_server, tmp_path):
    with pytest.raises(DownloadError, match="expected a file with md5 0000"):
        published(file_server, bytes(7000), md5="0" * 32).fetch(tmp_path / "cache", progress=False)
    assert everything_in(tmp_path / "cache") == []


@pytest.mark.parametrize("members", [MEMBERS, Matching("set/.*", 1, 2, 10, 10**18)], ids=["list", "matching"])
def test_fetch_needs_room(tmp_path, members):
    archive = Archive("http://127.0.0.1:1/x.tar.gz", "0" * 32, 10**18, "set", members)
    with pytest.raises(OSError, match=r"takes [12],000,000,000,000 MB in .*make room"):
        archive.fetch(tmp_path, progress=False)


# Archives of files that are known by a pattern

JPEGS = Matching(r"set/[a-z]+\.jpg", least=2, most=3, largest=100, total=150)


def many(*sizes):
    return [member(f"set/{name}.jpg", bytes(size)) for name, size in zip("abcdef", sizes, strict=False)]


def test_the_files_that_match_are_unpacked_and_no_others(tmp_path, place):
    strangers = [
        member("set/._a.jpg", b"x"),
        member("set/deep/a.jpg", b"x"),
        member("other/a.jpg", b"x"),
        member("set/notes.mat", bytes(500)),
        member("x/set/a.jpg", b"x"),
    ]
    archive = write_archive(tmp_path / "a.tar.gz", [*strangers, *many(100, 20)])
    assert extract(archive, place, "set", JPEGS) == place / "set"
    assert everything_in(place) == ["set", "set/a.jpg", "set/b.jpg"]


def test_a_pattern_does_not_reach_out_of_the_folder(tmp_path, place):
    archive = write_archive(tmp_path / "a.tar.gz", [member("other/a.jpg", b"x"), *many(5, 5)])
    extract(archive, place, "set", Matching(r".*\.jpg", least=2, most=9, largest=100, total=150))
    assert everything_in(place) == ["set", "set/a.jpg", "set/b.jpg"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_archive_of_matching_files_that_reaches_out_is_refused_whole(tmp_path, place, attack):
    archive = write_archive(tmp_path / "a.tar.gz", [*many(5, 5), ATTACKS[attack]])
    before = everything_in(tmp_path)
    with pytest.raises(ArchiveError, match=r"a\.tar\.gz: unsafe: '"):
        extract(archive, place, "set", Matching(".*", least=1, most=99, largest=100, total=1000))
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (many(1), r"expected at least 2 files set/\[a-z\]\+\\\.jpg, got 1"),
        (many(1, 1, 1, 1), r"expected at most 3 files, got set/d\.jpg beyond them"),
        (many(101, 1), r"files of at most 100 bytes and 150 together, got 101 and 101 with set/a\.jpg"),
        (many(80, 80), r"got 80 and 160 with set/b\.jpg"),
        ([*many(1, 1), *many(1)], r"holds set/a\.jpg twice"),
    ],
)
def test_more_or_larger_or_fewer_files_are_refused(tmp_path, place, members, message):
    archive = write_archive(tmp_path / "a.tar.gz", members)
    with pytest.raises(ArchiveError, match=message):
        extract(archive, place, "set", JPEGS)
    assert everything_in(place) == []


def test_an_archive_need_not_be_compressed(tmp_path, place):
    with tarfile.open(tmp_path / "a.tgz", "w:") as tar:
        for info, content in many(5, 6):
            tar.addfile(info, io.BytesIO(content))
    extract(tmp_path / "a.tgz", place, "set", JPEGS)
    assert everything_in(place) == ["set", "set/a.jpg", "set/b.jpg"]
