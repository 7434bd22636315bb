"""What waits for the stand-in device, and what is copied to it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Seen:
    """What happened inside a `watch` block: for each event what was called, and from which line."""

    synchronisations: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)


_WATCHES: list[Seen] = []


@contextmanager
def watch() -> Iterator[Seen]:
    """Record every synchronisation and every copy to the device inside the block, in all threads."""
    seen = Seen()
    _WATCHES.append(seen)
    try:
        yield seen
    finally:
        _WATCHES.remove(seen)


@contextmanager
def no_synchronisation(uploads: bool = False) -> Iterator[Seen]:
    """Fail if the block waits for the device, or (unless `uploads`) copies to it.

    A copy to the device does not wait, since CuPy passes it through pinned memory; but no CUDA graph can hold it.
    """
    with watch() as seen:
        yield seen
    assert not seen.synchronisations, "the host waited for the device:\n" + "\n".join(seen.synchronisations)
    assert uploads or not seen.uploads, "the host copied to the device:\n" + "\n".join(seen.uploads)


def record(kind: str, what: str) -> None:
    """Note what waits for the device (`synchronisations`) or copies to it (`uploads`), and the line that asked."""
    if not _WATCHES:
        return
    frame = sys._getframe(1)
    while Path(frame.f_code.co_filename).name.startswith("standin") and frame.f_back is not None:  # its own lines
        frame = frame.f_back
    for seen in _WATCHES:
        getattr(seen, kind).append(f"  {what} at {frame.f_code.co_filename}:{frame.f_lineno}")
