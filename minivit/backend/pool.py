"""A pool of buffers: fresh arrays without fresh memory.

A training step makes the same arrays as the step before. Memory from the operating system comes in pages that the first
write has to fault in, which costs as much as the arithmetic of a cheap op. So this pool remembers every block of memory
that it handed out, and hands a block out again once nobody can see it: when Python's reference count of the block says
that the pool alone refers to it. An array, a view of it, and a view of that view all keep a reference to the block, so
nothing is ever freed by hand and nothing in use is ever handed out.

Each thread has a pool of its own, so there is nothing to lock; an array may well outlive its thread or move to another.
"""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import numpy as np

SMALLEST = 1 << 15
"""Bytes from which a buffer is worth pooling; below, NumPy's own allocator is quick enough."""

ALIGNMENT = 64
"""Arrays start on a cache line."""

_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()  # without it, reference counts are not what they seem

Block = np.ndarray[Any, np.dtype[np.uint8]]


class Pool:
    """Blocks of memory in size classes, each used again when nothing outside refers to it.

    Parameters
    ----------
    limit : int
        Bytes that the pool may hold, in use or not. Arrays beyond it are ordinary ones, freed as usual.
    """

    def __init__(self, limit: int = 2 << 30) -> None:
        self.limit = limit
        self.held = 0
        self._classes: dict[int, _SizeClass] = {}

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """An uninitialised C-contiguous array, as `numpy.empty` gives."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        if size < SMALLEST or not _GIL:
            return np.empty(shape, dtype)
        found = self._find(_size_class(size + ALIGNMENT))
        return np.empty(shape, dtype) if found is None else np.ndarray(shape, dtype, *found)

    def clear(self) -> None:
        """Forget every block; those in use live on until their arrays die."""
        self._classes.clear()
        self.held = 0

    def _find(self, size: int) -> tuple[Block, int] | None:
        """An idle block of a size class and the offset of its first cache line; None where the limit forbids one."""
        if (blocks := self._classes.get(size)) is None:
            blocks = self._classes[size] = _SizeClass()
        position = blocks.idle_position()
        if position is None:
            if self.held + size > self.limit:
                self._drop_idle()
                if self.held + size > self.limit:
                    return None
            position = blocks.add(size)
            self.held += size
        blocks.latest = position
        return blocks.blocks[position], blocks.offsets[position]

    def _drop_idle(self) -> None:
        for size, blocks in self._classes.items():
            self.held -= size * blocks.drop_idle()


class _SizeClass:
    """The blocks of one size; the search starts at the one handed out last, most likely still in the cache."""

    __slots__ = ("blocks", "latest", "offsets")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.offsets: list[int] = []
        self.latest = 0

    def idle_position(self) -> int | None:
        for position in range(self.latest, len(self.blocks)):
            if _references(self.blocks, position) == _IDLE:
                return position
        for position in range(min(self.latest, len(self.blocks))):
            if _references(self.blocks, position) == _IDLE:
                return position
        return None

    def add(self, size: int) -> int:
        block = np.empty(size, np.uint8)
        self.blocks.append(block)
        self.offsets.append(-block.ctypes.data % ALIGNMENT)
        return len(self.blocks) - 1

    def drop_idle(self) -> int:
        """Forget the idle blocks and say how many they were."""
        in_use = [p for p in range(len(self.blocks)) if _references(self.blocks, p) != _IDLE]
        dropped = len(self.blocks) - len(in_use)
        self.blocks = [self.blocks[p] for p in in_use]
        self.offsets = [self.offsets[p] for p in in_use]
        self.latest = 0
        return dropped


def _references(blocks: list[Block], position: int) -> int:
    return sys.getrefcount(blocks[position])


_IDLE = _references([np.empty(1, np.uint8)], 0)
"""What the reference count of a block is while only the pool refers to it."""


def _size_class(size: int) -> int:
    """`size` rounded up to one of eight steps between powers of two, so that at most an eighth is wasted."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step


class _PoolOfThread(threading.local):
    def __init__(self) -> None:
        self.pool = Pool()


_LOCAL = _PoolOfThread()


def thread_pool() -> Pool:
    """The calling thread's pool."""
    return _LOCAL.pool


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An uninitialised C-contiguous array from the calling thread's pool: see the module's text."""
    return _LOCAL.pool.empty(shape, dtype)


def empty_like(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An uninitialised C-contiguous array of another's shape and dtype, from the calling thread's pool."""
    return _LOCAL.pool.empty(array.shape, array.dtype)
