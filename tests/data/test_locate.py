"""Tests of minivit/data/locate.py."""

from pathlib import Path

import pytest

from minivit.data.locate import search_folders, user_cache


@pytest.fixture
def home(monkeypatch, tmp_path):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA", "MINIVIT_DATA"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_the_cache_is_where_the_platform_keeps_caches(home, monkeypatch):
    expected = {"linux": ".cache", "darwin": "Library/Caches", "win32": "AppData/Local"}
    for platform, folder in expected.items():
        monkeypatch.setattr("sys.platform", platform)
        assert user_cache() == home / folder / "minivit"


def test_the_platform_s_variable_moves_the_cache(home, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert user_cache() == home / "elsewhere" / "minivit"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the XDG specification
    assert user_cache() == home / ".cache" / "minivit"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(home / "local"))
    assert user_cache() == home / "local" / "minivit"


def test_folders_are_searched_from_the_most_explicit(home, monkeypatch):
    assert search_folders() == [user_cache()]
    monkeypatch.setenv("MINIVIT_DATA", "/data/vision")
    assert search_folders("~/mine") == [home / "mine", Path("/data/vision"), user_cache()]
    monkeypatch.setenv("MINIVIT_DATA", "")
    assert search_folders(Path("here")) == [Path("here"), user_cache()]
