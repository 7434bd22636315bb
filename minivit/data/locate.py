"""Where data sets are looked for and kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class DataNotFoundError(FileNotFoundError):
    """A dataset is neither on this machine nor could it be downloaded; the message lists the ways out."""


def user_cache() -> Path:
    """The folder that downloads are kept in: ``minivit`` in the platform's folder for caches.

    That is ``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux, ``~/Library/Caches`` on macOS, ``%LOCALAPPDATA%`` on Windows.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        configured = os.environ.get("XDG_CACHE_HOME", "")
        base = configured if os.path.isabs(configured) else Path.home() / ".cache"
    return Path(base) / "minivit"


def search_folders(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """The folders that data sets are looked for in, in order: `data_dir`, ``$MINIVIT_DATA``, the user cache."""
    given = [data_dir, os.environ.get("MINIVIT_DATA") or None]
    return [Path(folder).expanduser() for folder in given if folder is not None] + [user_cache()]
