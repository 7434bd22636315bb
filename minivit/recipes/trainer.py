"""A run from start to finish, whatever is trained: plan, loop, checkpoints, resuming, the final test."""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from minivit.backend import use_device
from minivit.backend.cpu.threads import Workers, blas_threads
from minivit.inspect.nan_finder import find_non_finite
from minivit.recipes.checkpoint import load_checkpoint, save_checkpoint
from minivit.recipes.console import Console, measured_in_words
from minivit.recipes.evaluation import Evaluation
from minivit.recipes.log_window import LogWindow
from minivit.recipes.memory import explain_out_of_memory
from minivit.recipes.metrics import MetricsLog
from minivit.recipes.parallel import ParallelGradients
from minivit.recipes.procedure import Procedure
from minivit.recipes.run_folder import ResumeError, RunFolder
from minivit.recipes.step import StepResult, TrainingStep, training_precision

LOGGED_EVERY = 20  # steps
UNKNOWN_STEPS = 10**9  # of a schedule whose length is being found out: more than are timed
WARM_UP_STEPS, TIMED_STEPS = 3, 12  # of measuring the speed, at least
TIMED_SHARE = 0.03  # of the budget that the measurement takes: the first seconds are faster than the rest
SHARE_OF_BUDGET = 0.85  # the rest is for what the measurement did not see: a machine is rarely steadier


class Interrupted(Exception):  # noqa: N818 - not an error: the person asked for it
    """Ctrl-C: the checkpoint is written."""


class NonFiniteError(ArithmeticError):
    """Loss or gradients became NaN or infinite; the last good checkpoint is intact."""


class Trainer:
    """Runs a training procedure in a folder.

    Parameters
    ----------
    procedure : Procedure
    out : Path
        The run folder, see `RunFolder`.
    console : Console
    started : float
        `time.monotonic()` when the program began: the budget counts from there.
    """

    def __init__(self, procedure: Procedure, out: Path, console: Console, started: float | None = None) -> None:
        self.procedure, self.folder, self.console = procedure, RunFolder(out), console
        self.config, self.model, self.workers = procedure.config, procedure.model, procedure.workers
        self.started = time.monotonic() if started is None else started
        self.earlier_seconds = 0.0
        self.earlier_devices: list[str] = []  # of a run that was moved
        self.split = "test" if self.config.test else "validation"
        if not self.config.test and not procedure.validation_size:
            raise ValueError("without a test there has to be a validation set: give --validation a share to hold out")
        # Held-out examples are looked at, and a checkpoint is written, after an epoch, or after several short ones.
        self._pause_every = procedure.steps_per_epoch * math.ceil(LOGGED_EVERY / procedure.steps_per_epoch)
        self._stop = threading.Event()
        self._speed = 0.0
        self._window = LogWindow()

    # The plan

    def _plan(self) -> int:
        """The number of steps of the run."""
        if self.config.steps is not None:
            return self.config.steps
        if self.config.epochs is not None:
            return max(1, round(self.config.epochs * self.procedure.steps_per_epoch))
        return self._steps_within(60.0 * (self.config.minutes or 10.0))

    def _steps_within(self, budget: float) -> int:
        """Measure the speed in a few steps, undo them, and count how many fit."""
        weights = self.model.state_dict()
        stepper = self.procedure.make_step(UNKNOWN_STEPS)
        timed, number = 0.0, 0
        while number < WARM_UP_STEPS + TIMED_STEPS or timed < TIMED_SHARE * budget:
            begun = time.monotonic()
            result = stepper(self.procedure.prepare(stepper, number))
            result.is_finite()  # waits for the device
            number += 1
            if number > WARM_UP_STEPS:
                timed += time.monotonic() - begun
        seconds = timed / (number - WARM_UP_STEPS)
        self.model.load_state_dict(weights)
        # A forward is a third of a forward and backward; evaluation runs after each epoch and at the end.
        per_example = seconds / self.procedure.step_cost / 3
        validation = self.procedure.validation_size * per_example / self._pause_every
        left = budget * SHARE_OF_BUDGET - (time.monotonic() - self.started) - self.procedure.test_size * per_example
        steps = max(1, int(left / (seconds + validation)))
        self.console.message(
            f"{1e3 * seconds:.0f} ms a step ({self.procedure.batch_size / seconds:.0f} examples/s): {steps} steps "
            f"({steps / self.procedure.steps_per_epoch:.1f} epochs) fit into {budget / 60:g} minutes"
        )
        return steps

    # The run

    def run(self, resume: bool = False) -> dict[str, Any]:
        """Train, then evaluate the test set once, or the held-out examples where the configuration says so.

        Afterwards the model has the weights that were evaluated.

        Parameters
        ----------
        resume : bool
            Go on from the folder's checkpoint.

        Returns
        -------
        dict
            The results, without the environment.

        Raises
        ------
        Interrupted
            On Ctrl-C; the run can be resumed.
        RuntimeError
            If the machine does not have the precision asked for; nothing has been written then.
        NonFiniteError
            If loss or gradients are not finite; names the first op and layer.
        ResumeError
            If the folder's run is another, or was given other data.
        """
        use_device(self.config.device)
        with training_precision(self.config):
            pass  # or it would be refused in the first step, when the folder has been begun
        with self._stop_on_interrupt(), blas_threads(1), self.workers:
            total_steps = self._read_plan() if resume else self._begin()
            stepper = self.procedure.make_step(total_steps)
            step = self._restore(stepper) if resume else 0
            self._log = MetricsLog(self.folder.metrics, keep_until=step if resume else -1)
            try:
                self._train(stepper, step, total_steps)
                self._save(stepper, total_steps)
                if stepper.average is not None:
                    stepper.average.replace_weights()
                self.final_result = self.procedure.evaluate(self.split)
            finally:
                self._log.close()
                self.console.finish()
        return self._results(stepper, total_steps, self.final_result)

    def _train(self, stepper: TrainingStep, first: int, total_steps: int) -> None:
        self.console.start(total_steps, first)
        self._window.restart_clock()
        last_checkpoint = time.monotonic()
        ahead = self.procedure.ahead(stepper, range(first, total_steps))
        try:
            for batch in ahead:
                result = self._checked_step(stepper, batch)
                done = batch.step + 1
                self._window.add(result)
                if done % LOGGED_EVERY == 0 or done == total_steps:
                    self._log_training(stepper, batch, done, total_steps)
                pauses = done % self._pause_every == 0
                if pauses or done == total_steps:
                    self._log_validation(stepper, done)
                if (
                    self._stop.is_set()
                    or (pauses and done < total_steps)
                    or time.monotonic() - last_checkpoint > 60.0 * self.config.checkpoint_minutes
                ):
                    self._save(stepper, done)
                    last_checkpoint = time.monotonic()
                if self._stop.is_set():
                    raise Interrupted
        finally:
            ahead.close()

    def _checked_step(self, stepper: TrainingStep, batch: Any) -> StepResult:
        try:
            result = stepper(batch)
        except Exception as error:
            explain_out_of_memory(error, self.model, self.procedure.input_shape, stepper.gradients.micro_batch)
            raise
        if not result.is_finite():
            stepper.rewind()
            raise NonFiniteError(self._blame(stepper, batch))
        return result

    def _blame(self, stepper: TrainingStep, batch: Any) -> str:
        """Replay a step under the hook that finds the first value that is not finite."""
        # Hooks belong to a thread, so the replay runs in this one.
        replay = ParallelGradients(stepper.optimizer.flat, Workers(1), stepper.gradients.micro_batch)
        with training_precision(self.config):
            found = find_non_finite(lambda: stepper.forward_backward(batch, replay), self.model)
        return (
            f"loss or gradients became NaN or infinite in step {batch.step}. "
            f"{found or 'On replay every value was finite: the step was probably disturbed by the hardware.'}\n"
            f"The last good checkpoint is {self.folder.checkpoint}; go on with --resume {self.folder}, or start anew "
            "with a lower --learning-rate"
        )

    # Measuring

    def _evaluate(self, stepper: TrainingStep, split: str) -> Evaluation:
        if stepper.average is None:
            return self.procedure.evaluate(split)
        with stepper.average.swapped_in():
            return self.procedure.evaluate(split)

    def _log_training(self, stepper: TrainingStep, batch: Any, done: int, total_steps: int) -> None:
        record = {
            "step": done,
            "epoch": done / self.procedure.steps_per_epoch,
            **self._window.read(),
            "learning_rate": stepper.learning_rate(batch.step),
        }
        self._window = LogWindow()
        self._speed = record["examples_per_second"]
        self._log.write(record)
        left = (total_steps - done) * self.procedure.batch_size / max(self._speed, 1e-9)
        shown = self.procedure.shown(record)
        self.console.step(done, {**shown, "examples/s": f"{self._speed:.0f}"}, left)

    def _log_validation(self, stepper: TrainingStep, done: int) -> None:
        if not self.procedure.validation_size:
            return
        result = self._evaluate(stepper, "validation")
        epoch = done / self.procedure.steps_per_epoch
        held_out = {f"validation_{name}": value for name, value in result.values.items()}
        self._log.write({"step": done, "epoch": epoch, **held_out})
        self.console.message(
            f"epoch {epoch:.2f}: validation {measured_in_words(result.values)} "
            f"({self.procedure.validation_size} examples held out of training)"
        )

    def _results(self, stepper: TrainingStep, total_steps: int, final: Evaluation) -> dict[str, Any]:
        return {
            **self.procedure.results(),
            "split": self.split,
            "images": final.examples,
            **{f"{self.split}_{name}": value for name, value in final.values.items()},
            "parameters": self.model.count_parameters(),
            "examples_per_second": self._speed,
            "steps": total_steps,
            "epochs": total_steps / self.procedure.steps_per_epoch,
            "threads": self.workers.count,
            "micro_batch": stepper.gradients.micro_batch,
            "settings": dataclasses.asdict(self.config),
            **({"earlier_devices": self.earlier_devices} if self.earlier_devices else {}),
        }

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C has been pressed, be it in the final evaluation."""
        return self._stop.is_set()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run so far, those before an interruption included."""
        return self.earlier_seconds + time.monotonic() - self.started

    # The folder

    def _begin(self) -> int:
        """Plan a new run, in place of what the folder may hold."""
        self.folder.clear()
        total_steps = self._plan()
        self.folder.write_plan(
            {
                "procedure": type(self.procedure).__name__,
                "config": dataclasses.asdict(self.config),
                "total_steps": total_steps,
                "threads": self.workers.count,
            }
        )
        self.procedure.write_inputs(self.folder.path)
        return total_steps

    def _read_plan(self) -> int:
        plan = self.folder.read_plan()
        procedure = type(self.procedure).__name__
        if plan["procedure"] != procedure:
            raise ResumeError(f"{self.folder} holds a run of {plan['procedure']}, which {procedure} cannot go on with")
        moved = self.config.device != plan["config"]["device"]
        if not moved and self.config.device == "cpu" and plan["threads"] != self.workers.count:
            raise ResumeError(
                f"the run in {self.folder} used {plan['threads']} threads, this machine would use "
                f"{self.workers.count}: sums would round differently; pass --threads {plan['threads']}"
            )
        self.procedure.check_inputs(self.folder.path)
        self.earlier_devices = plan.get("earlier_devices", [])
        if moved:
            self._move(plan)
        return int(plan["total_steps"])

    def _move(self, plan: dict[str, Any]) -> None:
        """Go on on another device than the plan's, and be a run on that one from now on."""
        before, now = plan["config"]["device"], self.config.device
        self.console.message(
            f"the run in {self.folder} was on {before} and goes on on {now}, where sums round differently"
        )
        self.earlier_devices = [*self.earlier_devices, before]
        how = {name: getattr(self.config, name) for name in ("device", "threads", "micro_batch")}
        self.folder.write_plan(
            {
                **plan,
                "config": {**plan["config"], **how},
                "threads": self.workers.count,
                "earlier_devices": self.earlier_devices,
            }
        )

    def _save(self, stepper: TrainingStep, done: int) -> None:
        progress = {
            "step": done,
            "seconds": self.seconds,
            "examples_per_second": self._speed,
            "window": self._window.entries(),
        }
        save_checkpoint(
            self.folder.checkpoint,
            self.model,
            stepper.optimizer,
            stepper.average,
            progress,
            self.procedure.metadata(),
            stepper.further,
        )

    def _restore(self, stepper: TrainingStep) -> int:
        path = self.folder.checkpoint
        if not path.exists():
            self.console.message(f"{self.folder} holds a plan but no checkpoint yet: starting from the beginning")
            return 0
        progress = load_checkpoint(path, self.model, stepper.optimizer, stepper.average, stepper.further)
        self.earlier_seconds = float(progress["seconds"])
        self._speed = float(progress["examples_per_second"])
        self._window = LogWindow(progress["window"])
        self.console.message(f"resuming {self.folder} after step {progress['step']}")
        return int(progress["step"])

    @contextmanager
    def _stop_on_interrupt(self) -> Iterator[None]:
        """The first Ctrl-C ends the run after the step; a second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(_signal: int, _frame: FrameType | None) -> None:
            self._stop.set()
            signal.signal(signal.SIGINT, before)
            self.console.message("stopping after this step; press Ctrl-C again to stop at once")

        before = signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
