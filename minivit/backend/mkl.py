"""Whether Intel's MKL computes the large matrix products and GELU's error function on the CPU.

By default it does where the extra ``mkl`` is installed and MKL has AVX-512 code for the processor: elsewhere NumPy was
measured to be as fast. The environment variable ``MINIVIT_MKL=1`` or `use_mkl` asks for it in any case, and
``MINIVIT_MKL=0`` forbids it. Without the extra nothing changes and nothing is loaded.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from minivit.backend.installed_library import installed_library

if TYPE_CHECKING:
    from pathlib import Path

    from minivit.backend.mkl_library import Mkl

VARIABLE = "MINIVIT_MKL"

NAMES = ("lib/libmkl_rt.so.*", "Library/bin/mkl_rt.*.dll")
"""Where pip and conda put the library, on Linux and on Windows. The number is that of its binary interface."""


class _Choice:
    """Of the whole process, since its threads work on the same step."""

    asked: bool | None = None
    made = False
    library: Mkl | None = None


_CHOICE = _Choice()
_MAKING = threading.Lock()


def mkl_in_use() -> Mkl | None:
    """The MKL that computes, or None where NumPy does.

    Raises
    ------
    ValueError
        If the environment variable ``MINIVIT_MKL`` is neither ``0`` nor ``1``.
    RuntimeError
        If MKL is asked for and cannot be loaded.
    """
    if not _CHOICE.made:
        with _MAKING:  # workers come here for the first time at the same moment
            if not _CHOICE.made:
                _CHOICE.library = _choose(_asked_by_environment() if _CHOICE.asked is None else _CHOICE.asked)
                _CHOICE.made = True
    return _CHOICE.library


@contextmanager
def use_mkl(use: bool | None = True) -> Iterator[None]:
    """Use MKL, or do not, in every thread of the process, until the context is left.

    Parameters
    ----------
    use : bool or None
        None decides as the environment says, and without ``MINIVIT_MKL`` by the processor.

    Raises
    ------
    RuntimeError
        If it is to be used and cannot be loaded.
    """
    before = _CHOICE.asked
    _CHOICE.asked, _CHOICE.made = use, False
    try:
        mkl_in_use()
        yield
    finally:
        _CHOICE.asked, _CHOICE.made = before, False


def mkl_found() -> Path | None:
    """The library in this Python's environment (pip's or conda's package ``mkl``), or None."""
    return installed_library(*NAMES)


@cache
def load_mkl() -> Mkl:
    """Load the library, once.

    Raises
    ------
    RuntimeError
        If there is none, or it cannot be used.
    """
    from minivit.backend.mkl_library import Mkl

    path = mkl_found()
    if path is None:
        raise RuntimeError(
            f"MKL is asked for and is not in this Python's environment, {sys.prefix}; "
            f'pip install "minivit[mkl]" (x86-64, Linux or Windows), or set {VARIABLE}=0'
        )
    try:
        return Mkl(str(path))
    except OSError as error:
        raise RuntimeError(f"MKL cannot be used: {error}; {VARIABLE}=0 does without it") from error


def _choose(asked: bool | None) -> Mkl | None:
    if asked:
        return load_mkl()
    if asked is None and mkl_found() is not None:
        try:
            library = load_mkl()
        except RuntimeError:  # nobody asked for it; `python -m minivit doctor` tells
            return None
        return library if library.has_avx512 else None
    return None


def _asked_by_environment() -> bool | None:
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{VARIABLE}: expected 0 (never), 1 (always) or nothing (where it is faster), got {value!r}")
    return bool(int(value)) if value else None
