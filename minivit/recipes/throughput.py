"""How fast images are augmented, and whether that holds up the training steps that they are augmented for."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.backend import Array
from minivit.backend.cpu.threads import blas_threads
from minivit.recipes.procedure import Procedure
from minivit.recipes.step import TrainingStep


@dataclass(frozen=True)
class Seconds:
    """What a step, or the preparation of a batch, took on average over a round.

    Attributes
    ----------
    wall : float
    waiting : float
        Part of it in which a step waited for its batch.
    cpu : float
        CPU time of all threads together: what else the machine does hardly changes it.
    """

    wall: float
    waiting: float
    cpu: float


@dataclass(frozen=True)
class StepTimes:
    """One entry of each list for each round.

    Attributes
    ----------
    prefetched : list of Seconds
        Of a step while batches are prepared ahead of it, as in a run.
    prepared : list of Seconds
        Of a step while nothing is prepared: the batches lie ready.
    preparation : list of Seconds
        Of preparing a batch, in one thread with nothing beside it.
    """

    prefetched: list[Seconds]
    prepared: list[Seconds]
    preparation: list[Seconds]

    @property
    def ratios(self) -> list[float]:
        """What preparing ahead makes of a step's time: 1 where it costs nothing, and far above where a step waits."""
        return [ahead.wall / ready.wall for ahead, ready in zip(self.prefetched, self.prepared, strict=True)]


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
                times.prefetched.append(_time_of_step(stepper, batches, steps, warmup))

        def time_prepared(first: int) -> None:
            wall, cpu = time.perf_counter(), time.process_time()
            batches = [procedure.prepare(stepper, number) for number in range(first, first + warmup + steps)]
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            times.preparation.append(Seconds(wall / len(batches), 0.0, cpu / len(batches)))
            times.prepared.append(_time_of_step(stepper, iter(batches), steps, warmup))

        for number in range(rounds):
            halves = (time_prefetched, time_prepared)
            for half in halves if number % 2 else halves[::-1]:  # what drifts falls on both alike
                half(number * (warmup + steps))
    return times


def _time_of_step(stepper: TrainingStep, batches: Iterator[Any], steps: int, warmup: int) -> Seconds:
    """The mean over `steps` steps after the warm-up, the wait for their batches included."""
    for batch in itertools.islice(batches, warmup):
        stepper(batch).is_finite()
    waiting = 0.0
    begun, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waiting += time.perf_counter() - asked
        stepper(batch).is_finite()  # waits for the device, as the trainer does
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return Seconds(wall / steps, waiting / steps, cpu / steps)


def augmentation_speeds(
    augmentations: Mapping[str, Callable[[Array, int, Array], Array]], images: Array, *, steps: int, rounds: int
) -> dict[str, float]:
    """Images per second of several augmentations, which take turns, in one thread.

    The seconds are the thread's own, in which it runs: what else the machine does hardly changes them.

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
            begun = time.thread_time()
            for step in range(number * steps, (number + 1) * steps):
                augment(images, step, index)
            seconds[name].append((time.thread_time() - begun) / steps)
    return {name: len(images) / statistics.median(measured) for name, measured in seconds.items()}
