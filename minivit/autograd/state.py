"""What belongs to a thread: whether it records, whether it unrolls ops, its hooks, the module it is in.

Every context manager here restores what it found, also when an exception leaves it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minivit.autograd.hooks import Hook

PACKAGE_FOLDER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # pathlib takes longer to load


class _ThreadState(threading.local):
    recording: bool = True
    unrolling: bool = False
    unrolled_ops: frozenset[str] = frozenset()  # empty: all of them
    hooks: tuple[Hook, ...] = ()
    module: Any = None


STATE = _ThreadState()


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing in this thread: forward only, no memory kept for a backward."""
    before = STATE.recording
    STATE.recording = False
    try:
        yield
    finally:
        STATE.recording = before


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record again inside a `no_grad` block."""
    before = STATE.recording
    STATE.recording = True
    try:
        yield
    finally:
        STATE.recording = before


def is_grad_enabled() -> bool:
    """Whether this thread records what a backward needs."""
    return STATE.recording


@contextmanager
def unrolled(*names: str) -> Iterator[None]:
    """Build composed ops from their primitives instead of running them as one node.

    The same forward text then runs on Tensors: the reference that a hand-derived backward is tested against, and the
    zoomed-in view of a drawn graph.

    Parameters
    ----------
    *names : str
        Only the ops of these names; all of them where none is given.
    """
    before = STATE.unrolling, STATE.unrolled_ops
    STATE.unrolling, STATE.unrolled_ops = True, frozenset(names)
    try:
        yield
    finally:
        STATE.unrolling, STATE.unrolled_ops = before


def user_line(inside: int = 1) -> tuple[str, int]:
    """File and line of the innermost frame outside the package.

    Parameters
    ----------
    inside : int
        How many of the innermost calls (this function's own included) are known to be the package's: to look at a
        frame costs more than to skip it.
    """
    frame = sys._getframe(inside)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE_FOLDER):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
