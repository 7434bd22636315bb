"""Several programs take turns in doing the same work, each in a process of its own.

Whatever else the machine does disturbs all of them alike, and neither has the other's libraries, threads or memory. One
round is a turn of each; a ratio is taken round by round, and its median over the rounds is what to believe.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, SupportsFloat

from minivit.recipes.speed.process_memory import PeakMemory

Step = Callable[[], SupportsFloat]
"""Does the work once; its loss, to be read later."""

WATCHED = 2, 0.5
"""Steps, and seconds, for which memory is watched at least, after all that is timed."""


@dataclass(frozen=True)
class Contender:
    """A program that does the work.

    Attributes
    ----------
    start : callable
        () -> context manager of the step. Called in the contender's process, so it has to be picklable: a function of a
        module, a bound method, a `functools.partial` of them.
    environment : mapping of str to str
        Variables that its process starts with, beside the present ones.
    """

    start: Callable[[], AbstractContextManager[Step]]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """What a contender took.

    Attributes
    ----------
    rounds : list of list of float
        Seconds of each step, by round.
    losses : list of float
        Of all steps from the first on, those of the warm-up included.
    peak_bytes : int
        Proportional set size of its process and all that it started, the peak while steps were made after all that are
        timed; 0 where the system does not tell.
    """

    rounds: list[list[float]]
    losses: list[float]
    peak_bytes: int


class ContenderError(RuntimeError):
    """A contender's process failed."""


def alternate(
    contenders: Mapping[str, Contender], *, rounds: int = 5, steps: int = 8, warmup: int = 2
) -> dict[str, Measured]:
    """Let contenders take turns.

    Parameters
    ----------
    contenders : mapping of str to Contender
        One is enough.
    rounds : int
    steps : int
        Timed, in each round.
    warmup : int
        Steps of each before the rounds.

    Returns
    -------
    dict of str to Measured

    Raises
    ------
    ValueError
        If there is no step, no round, or no contender.
    ContenderError
        If a process fails: with what it raised, and where.
    """
    if steps < 1 or rounds < 1 or warmup < 0 or not contenders:
        raise ValueError(
            f"expected a contender, a step, a round and a warm-up of 0 or more; got {list(contenders)}, {steps}, "
            f"{rounds}, {warmup}"
        )
    times: dict[str, list[list[float]]] = {name: [] for name in contenders}
    losses: dict[str, list[float]] = {name: [] for name in contenders}
    peaks: dict[str, int] = {}
    with _processes(contenders) as processes:
        for name, process in processes.items():
            losses[name] += process.turn(warmup)[1]
        for number in range(rounds):
            order = list(processes.items())
            for name, process in order[::-1] if number % 2 else order:  # what drifts falls on all alike
                seconds, values = process.turn(steps)
                times[name].append(seconds)
                losses[name] += values
        for name, process in processes.items():
            with PeakMemory(process.pid) as memory:
                process.turn(*WATCHED)
            peaks[name] = memory.bytes
    return {name: Measured(times[name], losses[name], peaks[name]) for name in contenders}


class _Process:
    """The caller's end of a contender's process."""

    def __init__(self, name: str, process: Any, connection: Connection) -> None:
        self.name, self.process, self.connection = name, process, connection
        self.pid: int = process.pid

    def turn(self, steps: int, seconds: float = 0.0) -> tuple[list[float], list[float]]:
        """Make so many steps, and go on for so long; seconds and losses of the steps."""
        try:
            with suppress(OSError):  # one that has failed no longer listens, but may have said why
                self.connection.send((steps, seconds))
            answer = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5.0)
            code = self.process.exitcode
            reason = "; -9 is what is left of one that took too much memory" if code == -9 else ""
            raise ContenderError(f"the process of {self.name} ended without a word, exit code {code}{reason}") from None
        if isinstance(answer, str):
            raise ContenderError(f"{self.name} failed: {answer}")
        times, losses = answer
        return times, losses


@contextmanager
def _processes(contenders: Mapping[str, Contender]) -> Iterator[dict[str, _Process]]:
    context = mp.get_context("spawn")
    running: dict[str, _Process] = {}
    try:
        for name, contender in contenders.items():
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, contender.start), name=name)
            with _environment(contender.environment):
                process.start()
            there.close()  # or the end of the process would go unnoticed
            running[name] = _Process(name, process, here)
        yield running
    finally:
        for one in running.values():
            one.connection.close()
        for one in running.values():
            one.process.join()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, start: Callable[[], AbstractContextManager[Step]]) -> None:
    """A contender's process: makes as many steps as it is asked to, until nobody is there to ask."""
    try:
        with start() as step:
            while True:
                try:
                    steps, seconds = connection.recv()
                except EOFError:
                    return
                connection.send(_steps(step, steps, seconds))
    except BaseException as error:  # noqa: BLE001 - told to the caller
        connection.send(f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")


def _steps(step: Step, steps: int, seconds: float) -> tuple[list[float], list[float]]:
    times: list[float] = []
    losses: list[SupportsFloat] = []
    started = time.perf_counter()
    while len(times) < steps or time.perf_counter() - started < seconds:
        begun = time.perf_counter()
        losses.append(step())
        times.append(time.perf_counter() - begun)
    return times, [float(loss) for loss in losses]
