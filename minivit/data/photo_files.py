"""Image files as an array that is read when it is indexed: photos that do not fit into memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from minivit.data.dataset import DatasetError, Images, Indices

CACHE_BYTES = 2**30
_BLOCK = 256  # images that are read at once where all are gone through


class PhotoFiles:
    """An array (N, C, S, S) of uint8 whose images are read from their files, in threads, when it is indexed.

    What was read is kept as long as there is room, and never thrown out again: in a shuffled epoch each image is asked
    for once, so that to keep the latest ones would never be of use, and to keep any part saves that part of the work.

    Parameters
    ----------
    paths : sequence of str
        Of the files, in order.
    read : callable
        Path -> array (C, S, S) of uint8, such as `Preprocessing.read` with a size; called in several threads.
    image_size, channels : int
    cache_bytes : int
        Of images kept in memory. Selections (`take`) share them. 0 keeps none.

    Raises
    ------
    DatasetError
        On indexing, if files are missing or cannot be read: the first of them and what is wrong.
    IndexError
        On indexing, if there is no such image.

    Examples
    --------
    >>> black = PhotoFiles(["a.png", "b.png"], lambda path: np.zeros((3, 4, 4), np.uint8), image_size=4)
    >>> black.shape, black[1].shape, black[[1, 0, 1]].shape, black.take([1], axis=0).paths
    ((2, 3, 4, 4), (3, 4, 4), (3, 3, 4, 4), ['b.png'])
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        paths: Sequence[str],
        read: Callable[[str], Images],
        *,
        image_size: int,
        channels: int = 3,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._read, self._image_shape = read, (channels, image_size, image_size)
        self._all, self._chosen = paths, np.arange(len(paths))
        self._kept = _Kept(cache_bytes)

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, S, S)."""
        return len(self), *self._image_shape

    @property
    def paths(self) -> list[str]:
        """Of the files, in order."""
        return [self._all[number] for number in self._chosen.tolist()]

    def take(self, indices: Indices, axis: int = 0) -> PhotoFiles:
        """The images at `indices`, in that order, not read yet: the same files and the same memory of them."""
        if axis != 0:
            raise ValueError(f"expected axis 0, which images are counted along, got {axis}")
        selection = object.__new__(PhotoFiles)
        selection.__dict__.update(self.__dict__, _chosen=self._chosen[np.asarray(indices, np.int64)])
        return selection

    def __getitem__(self, index: Any) -> Images:
        """The images at an integer, a slice, a list or an array of integers or of bool, as NumPy has it."""
        chosen = np.asarray(self._chosen[index])
        images = np.empty((chosen.size, *self._image_shape), np.uint8)
        unread = []
        for position, number in enumerate(chosen.ravel().tolist()):
            kept = self._kept.images.get(number)
            if kept is None:
                unread.append((position, number))
            else:
                images[position] = kept
        self._read_into(images, unread)
        return images.reshape(*chosen.shape, *self._image_shape)

    def __iter__(self) -> Iterator[Images]:
        for start in range(0, len(self), _BLOCK):
            yield from self[start : start + _BLOCK]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("photo files have to be read, which makes a copy")
        return self[:] if dtype is None else self[:].astype(dtype)

    def _read_into(self, images: Images, unread: list[tuple[int, int]]) -> None:
        def read(work: tuple[int, int]) -> str | None:
            position, number = work
            try:
                images[position] = self._read(self._all[number])
            except DatasetError as error:
                return str(error)
            except FileNotFoundError:
                return f"{self._all[number]}: there is no such file; bring it back"
            self._kept.keep(number, images[position])
            return None

        if len(unread) <= 1:
            problems = [problem for work in unread if (problem := read(work))]
        else:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside Python's lock
                problems = [problem for problem in pool.map(read, unread) if problem]
        if problems:
            more = f"\n... and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise DatasetError("\n".join(problems[:5]) + more)


class _Kept:
    """Images by number, up to so many bytes."""

    def __init__(self, limit: int) -> None:
        self.images: dict[int, Images] = {}
        self._room = limit
        self._lock = threading.Lock()

    def keep(self, number: int, image: Images) -> None:
        with self._lock:
            if self._room >= image.nbytes and number not in self.images:
                self._room -= image.nbytes
                self.images[number] = image.copy()
