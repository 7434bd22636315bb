"""Where pip and conda put the libraries that are not Python's: MKL, oneDNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def installed_library(*names: str) -> Path | None:
    """A library in this Python's environment, or in the user's; None if there is none.

    Parameters
    ----------
    *names : str
        Paths in the environment, as of `pathlib.Path.glob`: of several that fit one, the last by name is taken.
    """
    import sysconfig  # here, or `import minivit` would wait for it
    from pathlib import Path

    folders = [sysconfig.get_path("data"), sysconfig.get_path("data", sysconfig.get_preferred_scheme("user"))]
    found = [path for folder in folders for name in names for path in sorted(Path(folder).glob(name), reverse=True)]
    return found[0] if found else None
