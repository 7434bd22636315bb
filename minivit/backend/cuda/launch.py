"""CUDA functions from the sources in this folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any


@cache
def cuda_function(xp: Any, source: str, name: str, options: tuple[str, ...] = ()) -> Any:
    """A `cupy.RawKernel`, which is called with grid, block and arguments.

    CuPy compiles it at its first call on each device, takes the whole source in one go for all of its functions, and
    keeps what came out in its cache on disk for other processes.

    Parameters
    ----------
    xp : module
        `cupy`, or what stands in for it.
    source : str
        Name of a file in this folder.
    name : str
        Of an ``extern "C" __global__`` function in it.
    options : tuple of str
        For the compiler, such as ``"-DREAL=float"``.
    """
    return xp.RawKernel(_text(source), name, options)


@cache
def _text(source: str) -> str:
    return Path(__file__).with_name(source).read_text(encoding="utf-8")
