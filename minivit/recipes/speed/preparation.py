"""Whether preparing batches ahead of the steps that take them holds the steps up, and what it costs."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

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


def summarize_times(times: StepTimes, batch_size: int) -> dict[str, Any]:
    """What the times amount to, as medians over the rounds.

    Parameters
    ----------
    times : StepTimes
    batch_size : int
        Examples in a step.

    Returns
    -------
    dict
        JSON-able: ``seconds``, by name; ``images_per_second`` with batches prepared ahead; ``prefetched_over_prepared``
        of the ``ratios``; ``waiting_share`` of a step's time; ``preparation_share`` of the CPU time; ``cores_used`` by
        a step whose batch lies ready.
    """
    seconds = {
        name: {kind: statistics.median(getattr(one, kind) for one in rounds) for kind in asdict(rounds[0])}
        for name, rounds in vars(times).items()
    }
    prefetched, prepared, preparation = seconds["prefetched"], seconds["prepared"], seconds["preparation"]
    return {
        "images_per_second": batch_size / prefetched["wall"],
        "seconds": seconds,
        "ratios": times.ratios,
        "prefetched_over_prepared": statistics.median(times.ratios),
        "waiting_share": prefetched["waiting"] / prefetched["wall"],
        "preparation_share": preparation["cpu"] / (preparation["cpu"] + prepared["cpu"]),
        "cores_used": prepared["cpu"] / prepared["wall"],
    }


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
