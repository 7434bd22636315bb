"""How fast images are augmented, and whether that holds up the training steps that they are augmented for."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.backend import Array
from minivit.backend.cpu.threads import blas_threads
from minivit.recipes.procedure import Procedure
from minivit.recipes.step import TrainingStep


@dataclass(frozen=True)
class StepTimes:
    """Seconds, a value for each round.

    Attributes
    ----------
    prefetched : list of float
        Of a step while batches are prepared ahead of it, as in a run.
    prepared : list of float
        Of a step while nothing is prepared: the batches lie ready.
    preparation : list of float
        Of preparing a batch, in one thread with nothing beside it.
    """

    prefetched: list[float]
    prepared: list[float]
    preparation: list[float]

    @property
    def ratios(self) -> list[float]:
        """What preparing ahead makes of a step's time: 1 where it costs nothing, and far above where a step waits."""
        return [ahead / ready for ahead, ready in zip(self.prefetched, self.prepared, strict=True)]


def time_steps(procedure: Procedure, *, steps: int, warmup: int, rounds: int) -> StepTimes:
    """Time training steps with batches that are prepared ahead and with batches that lie ready, in alternating rounds.

    The model is trained by it, and the procedure's workers are closed afterwards, as at the end of a run.

    Parameters
    ----------
    procedure : Procedure
    steps, warmup : int
        Timed in each half of a round, and made before them. The timed ones find as many batches ready as a long run
        does if the warm-up is at least as long as what is kept ready (see `Procedure.ahead`).
    rounds : int

    Returns
    -------
    StepTimes

    Raises
    ------
    ValueError
        If there is no step or no round.
    """
    if steps < 1 or warmup < 0 or rounds < 1:
        raise ValueError(f"expected a step, a round and a warm-up of 0 or more; got {steps}, {rounds}, {warmup}")
    times = StepTimes([], [], [])
    with blas_threads(1), procedure.workers:
        stepper = procedure.make_step(10**9)

        def time_prefetched(first: int) -> None:
            # Without an end: at the last timed steps, too, batches of later ones are being prepared.
            with closing(procedure.ahead(stepper, itertools.count(first))) as batches:
                times.prefetched.append(_seconds_a_step(stepper, batches, steps, warmup))

        def time_prepared(first: int) -> None:
            begun = time.perf_counter()
            batches = [procedure.prepare(stepper, number) for number in range(first, first + warmup + steps)]
            times.preparation.append((time.perf_counter() - begun) / len(batches))
            times.prepared.append(_seconds_a_step(stepper, batches, steps, warmup))

        for number in range(rounds):
            halves = (time_prefetched, time_prepared)
            for half in halves if number % 2 else halves[::-1]:  # what drifts falls on both alike
                half(number * (warmup + steps))
    return times


def _seconds_a_step(stepper: TrainingStep, batches: Iterable[Any], steps: int, warmup: int) -> float:
    """The mean over `steps` steps after the warm-up, the wait for their batches included."""
    source: Iterator[Any] = iter(batches)
    for batch in itertools.islice(source, warmup):
        stepper(batch).is_finite()
    begun = time.perf_counter()
    for batch in itertools.islice(source, steps):
        stepper(batch).is_finite()  # waits for the device, as the trainer does
    return (time.perf_counter() - begun) / steps


def augmentation_speeds(
    augmentations: Mapping[str, Callable[[Array, int, Array], Array]], images: Array, *, steps: int, rounds: int
) -> dict[str, float]:
    """Images per second of several augmentations in one thread, which take turns.

    Parameters
    ----------
    augmentations : mapping of str to callable
        Such as `minivit.augment.TrainAugmentation`: (images, step, image_index) -> images.
    images : array (B, C, H, W) of uint8
        In host memory.
    steps, rounds : int
        Calls in a round, each of a step of its own, and rounds.

    Returns
    -------
    dict of str to float
        The median over the rounds.

    Raises
    ------
    ValueError
        If there is no step or no round.
    """
    if steps < 1 or rounds < 1:
        raise ValueError(f"expected a step and a round at least; got {steps} and {rounds}")
    index = np.arange(len(images))
    seconds: dict[str, list[float]] = {name: [] for name in augmentations}
    for augment in augmentations.values():  # tables are made, memory is laid out
        augment(images, 0, index)
    for number in range(rounds):
        for name, augment in augmentations.items():
            begun = time.perf_counter()
            for step in range(number * steps, (number + 1) * steps):
                augment(images, step, index)
            seconds[name].append((time.perf_counter() - begun) / steps)
    return {name: len(images) / statistics.median(measured) for name, measured in seconds.items()}
