"""A file is the old one or the new one, never half of one."""

from pathlib import Path

import pytest

from minivit.files import write_text, written_whole


def test_a_text_is_written_in_utf_8_with_unix_ends_of_lines_into_a_folder_that_is_made(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "ä\nb\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "ä\nb\n".encode()


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.txt", "half a file \ud800")

    def interrupted() -> None:
        with written_whole(tmp_path / "a.txt") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_until_the_block_ends_a_reader_sees_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
