"""Batches by number: each can be made from its step alone, so a run is resumed exactly where it stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from minivit.backend.random import generator
from minivit.data.dataset import Dataset, Images, Indices, Labels

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


@dataclass(frozen=True, eq=False)
class Batch:
    """Some images of a dataset.

    Attributes
    ----------
    images : array (B, C, H, W) of uint8
    labels : array (B,) of int64
    index : array (B,) of int64
        Where the images are in the dataset: the image index that augmentation and masks are keyed by.
    step : int
        Number of this batch since training began.
    epoch : int
        Passes over the dataset completed before it.
    """

    images: Images
    labels: Labels
    index: Indices
    step: int
    epoch: int

    def __len__(self) -> int:
        return len(self.index)


class BatchOrder:
    """Which examples a step takes, as a function of the step.

    There is no position to save beyond the number of the next step: the order of epoch e is drawn by a generator of its
    own, keyed by the seed, the stream and e.

    Parameters
    ----------
    examples : int
    batch_size : int
    seed : int
        Of the shuffles.
    stream : str
        What the order is of: two orders of one run need two names.
    shuffle : bool
        Whether each epoch has an order of its own; otherwise it is the examples' own.
    drop_last : bool
        Whether the examples left over when the batches are full are left out (in a shuffled epoch, others each time);
        otherwise they make a smaller last batch.

    Raises
    ------
    ValueError
        If there is no example, or no full batch where only full ones are wanted.
    """

    def __init__(
        self,
        examples: int,
        batch_size: int,
        *,
        seed: int = 0,
        stream: str = "shuffle",
        shuffle: bool = True,
        drop_last: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"expected a batch size of at least 1, got {batch_size}")
        self.steps_per_epoch = examples // batch_size if drop_last else -(-examples // batch_size)
        if self.steps_per_epoch == 0:
            raise ValueError(
                f"{examples} examples give no batch of {batch_size}; use a batch size of at most {examples}"
                if examples
                else "there is no example to make a batch of"
            )
        self.examples, self.batch_size, self.seed, self.stream, self.shuffle = (
            examples,
            batch_size,
            seed,
            stream,
            shuffle,
        )
        self._latest: tuple[int, Indices] = (-1, np.zeros(0, np.int64))

    def _order(self, epoch: int) -> Indices:
        if not self.shuffle:
            return np.arange(self.examples)
        latest, order = self._latest
        if latest != epoch:
            order = generator(self.seed, self.stream, epoch).permutation(self.examples)
            self._latest = epoch, order  # one assignment: threads may at worst draw the same order twice
        return order

    def at(self, step: int) -> tuple[Indices, int]:
        """The examples of a step, counted from 0 through all epochs, and the epochs completed before it."""
        if step < 0:
            raise ValueError(f"expected a step of at least 0, got {step}")
        epoch, position = divmod(step, self.steps_per_epoch)
        start = position * self.batch_size
        return self._order(epoch)[start : start + self.batch_size], epoch


class Batches:
    """The batches of a run, as a function of the step.

    Parameters
    ----------
    dataset : Dataset
    batch_size, seed, shuffle, drop_last
        As for `BatchOrder`.

    Raises
    ------
    ValueError
        If there is no image, or no full batch where only full ones are wanted.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, *, seed: int = 0, shuffle: bool = True, drop_last: bool = True
    ) -> None:
        try:
            self.order = BatchOrder(len(dataset), batch_size, seed=seed, shuffle=shuffle, drop_last=drop_last)
        except ValueError as error:
            raise ValueError(f"{dataset!r}: {error}") from None
        self.dataset, self.batch_size, self.steps_per_epoch = dataset, batch_size, self.order.steps_per_epoch

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 through all epochs."""
        index, epoch = self.order.at(step)
        return Batch(self.dataset.images[index], self.dataset.labels[index], index, step, epoch)

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """The batches of one pass over the dataset."""
        first = epoch * self.steps_per_epoch
        return (self.at(step) for step in range(first, first + self.steps_per_epoch))


def prefetch(
    items: Iterable[Item], prepare: Callable[[Item], Prepared], *, depth: int = 2, workers: int = 1
) -> Generator[Prepared, None, None]:
    """``prepare(item)`` for each item, in order, computed ahead in threads while the consumer is busy.

    The threads end when the items do, when the consumer leaves the loop or raises (the generator is closed then), and
    when `prepare` raises, which the consumer sees at that item's turn.

    Parameters
    ----------
    items : iterable
        Such as ``range(first_step, last_step)``; consumed in the caller's thread, so it should be cheap.
    prepare : callable
        Such as ``lambda step: augment(batches.at(step))``. NumPy leaves the interpreter free while it works on large
        arrays.
    depth : int
        How many results are kept ready or in the making besides the one in use.
    workers : int
        Threads.

    Yields
    ------
    result of `prepare`

    Examples
    --------
    >>> list(prefetch(range(4), lambda step: step * step))
    [0, 1, 4, 9]
    """
    if depth < 1 or workers < 1:
        raise ValueError(f"expected depth and workers of at least 1, got {depth} and {workers}")
    return _prefetch(items, prepare, depth, workers)


def _prefetch(
    items: Iterable[Item], prepare: Callable[[Item], Prepared], depth: int, workers: int
) -> Generator[Prepared, None, None]:
    pending: deque[Future[Prepared]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="minivit-prefetch") as pool:
        try:
            for item in items:
                pending.append(pool.submit(prepare, item))
                if len(pending) > depth:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
