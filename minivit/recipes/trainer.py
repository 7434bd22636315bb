"""A supervised run from start to finish: plan, loop, checkpoints, resuming, the final test."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from minivit import augment
from minivit.backend import to_host, use_device
from minivit.backend.cpu.threads import Workers, blas_threads
from minivit.data import Batches, Dataset, Splits, hold_out, prefetch
from minivit.inspect.nan_finder import find_non_finite
from minivit.interop.atomic import written_whole
from minivit.models import VisionTransformer, whiten_first_layer
from minivit.recipes.checkpoint import load_checkpoint, save_checkpoint
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.evaluation import Evaluation, evaluate
from minivit.recipes.memory import explain_out_of_memory
from minivit.recipes.metrics import MetricsLog
from minivit.recipes.parallel import ParallelGradients
from minivit.recipes.presets import build_model
from minivit.recipes.supervised import PreparedBatch, StepResult, SupervisedStep

CHECKPOINT = "checkpoint.safetensors"
LOGGED_EVERY = 20  # steps
WHITENING_IMAGES = 5000
WARM_UP_STEPS, TIMED_STEPS = 3, 12  # of measuring the speed, at least
TIMED_SHARE = 0.03  # of the budget that the measurement takes: the first seconds are faster than the rest
SHARE_OF_BUDGET = 0.85  # the rest is for what the measurement did not see: a machine is rarely steadier


class Interrupted(Exception):  # noqa: N818 - not an error: the person asked for it
    """Ctrl-C: the checkpoint is written."""


class NonFiniteError(ArithmeticError):
    """Loss or gradients became NaN or infinite; the last good checkpoint is intact."""


class ResumeError(ValueError):
    """A run folder that cannot be resumed as asked."""


class Trainer:
    """A supervised run in a folder.

    Parameters
    ----------
    config : TrainConfig
        With a preset filled in.
    splits : Splits
        Of the data set.
    dataset_kind : str
        cifar10, cifar100, digits, shapes or folder.
    out : Path
        The run folder: ``config.json``, ``metrics.jsonl``, ``checkpoint.safetensors``.
    console : Console
    started : float
        `time.monotonic()` when the program began: the budget counts from there.
    """

    def __init__(
        self,
        config: TrainConfig,
        splits: Splits,
        dataset_kind: str,
        out: Path,
        console: Console,
        started: float | None = None,
    ) -> None:
        self.config, self.out, self.console = config, out, console
        self.dataset_kind = dataset_kind
        self.started = time.monotonic() if started is None else started
        self.earlier_seconds = 0.0
        self.train_set, self.validation_set = _with_validation(splits, config)
        self.test_set = splits.test
        self.mean, self.std = splits.train.mean, splits.train.std
        self.workers = Workers((config.threads or None) if config.device == "cpu" else 1)
        self.model = build_model(
            config.model or "preset",
            dataset_kind,
            image_shape=self.train_set.image_shape,
            num_classes=self.train_set.num_classes,
            seed=config.seed,
            drop_path=config.drop_path or 0.0,
        )
        if config.whitening and isinstance(self.model, VisionTransformer):
            first = augment.normalize(self.train_set.images[:WHITENING_IMAGES], self.mean, self.std)
            whiten_first_layer(self.model, first, config.seed)
        self.model.to(config.device)
        self.batches = Batches(self.train_set, min(config.batch_size or 1, len(self.train_set)), seed=config.seed)
        self._stop = threading.Event()
        self._speed = 0.0
        self._window = _Window()

    # The plan

    def _step_maker(self, total_steps: int) -> SupervisedStep:
        return SupervisedStep(
            self.model,
            self.config,
            total_steps,
            self.mean,
            self.std,
            self.train_set.num_classes,
            self.workers,
            padding_mode="zero" if self.dataset_kind == "digits" else "reflect",
        )

    def _plan(self) -> int:
        """The number of steps of the run."""
        if self.config.steps is not None:
            return self.config.steps
        if self.config.epochs is not None:
            return max(1, round(self.config.epochs * self.batches.steps_per_epoch))
        return self._steps_within(60.0 * (self.config.minutes or 10.0))

    def _steps_within(self, budget: float) -> int:
        """Measure the speed in a few steps, undo them, and count how many fit."""
        weights = self.model.state_dict()
        stepper = self._step_maker(1000)
        timed, number = 0.0, 0
        while number < WARM_UP_STEPS + TIMED_STEPS or timed < TIMED_SHARE * budget:
            begun = time.monotonic()
            result = stepper(stepper.prepare(self.batches.at(number)))
            result.is_finite()  # waits for the device
            number += 1
            if number > WARM_UP_STEPS:
                timed += time.monotonic() - begun
        seconds = timed / (number - WARM_UP_STEPS)
        self.model.load_state_dict(weights)
        # A forward is a third of a step's work an image; evaluation runs after each epoch and at the end.
        per_image = seconds / self.batches.batch_size / 3
        validation = len(self.validation_set or ()) * per_image / self.batches.steps_per_epoch
        left = budget * SHARE_OF_BUDGET - (time.monotonic() - self.started) - len(self.test_set) * per_image
        steps = max(1, int(left / (seconds + validation)))
        self.console.message(
            f"{1e3 * seconds:.0f} ms a step ({self.batches.batch_size / seconds:.0f} images/s): {steps} steps "
            f"({steps / self.batches.steps_per_epoch:.1f} epochs) fit into {budget / 60:g} minutes"
        )
        return steps

    # The run

    def run(self, resume: bool = False) -> dict[str, Any]:
        """Train, then evaluate the test set once.

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
        NonFiniteError
            If loss or gradients are not finite; names the first op and layer.
        """
        use_device(self.config.device)
        self.out.mkdir(parents=True, exist_ok=True)
        with self._stop_on_interrupt(), blas_threads(1), self.workers:
            total_steps = self._read_plan() if resume else self._plan()
            self._write_plan(total_steps)
            stepper = self._step_maker(total_steps)
            step = self._restore(stepper) if resume else 0
            self._log = MetricsLog(self.out / "metrics.jsonl", keep_until=step if resume else -1)
            try:
                self._train(stepper, step, total_steps)
                self._save(stepper, total_steps)
                test = self._evaluate(stepper, self.test_set)
            finally:
                self._log.close()
                self.console.finish()
        return self._results(stepper, total_steps, test)

    def _train(self, stepper: SupervisedStep, first: int, total_steps: int) -> None:
        self.console.start(total_steps, first)
        self._window.restart_clock()
        last_checkpoint = time.monotonic()
        ahead = prefetch(range(first, total_steps), lambda step: stepper.prepare(self.batches.at(step)), depth=3)
        try:
            for batch in ahead:
                result = self._checked_step(stepper, batch)
                done = batch.step + 1
                self._window.add(result)
                if done % LOGGED_EVERY == 0 or done == total_steps:
                    self._log_training(stepper, batch, done, total_steps)
                epoch_ends = done % self.batches.steps_per_epoch == 0
                if epoch_ends or done == total_steps:
                    self._log_validation(stepper, done)
                if (
                    self._stop.is_set()
                    or (epoch_ends and done < total_steps)
                    or time.monotonic() - last_checkpoint > 60.0 * self.config.checkpoint_minutes
                ):
                    self._save(stepper, done)
                    last_checkpoint = time.monotonic()
                if self._stop.is_set():
                    raise Interrupted
        finally:
            ahead.close()

    def _checked_step(self, stepper: SupervisedStep, batch: PreparedBatch) -> StepResult:
        try:
            result = stepper(batch)
        except Exception as error:
            explain_out_of_memory(error, self.model, self.train_set.image_shape, stepper.gradients.micro_batch)
            raise
        if not result.is_finite():
            stepper.rewind()
            raise NonFiniteError(self._blame(stepper, batch))
        return result

    def _blame(self, stepper: SupervisedStep, batch: PreparedBatch) -> str:
        """Replay a step under the hook that finds the first value that is not finite."""
        # Hooks belong to a thread, so the replay runs in this one.
        replay = ParallelGradients(stepper.optimizer.flat, Workers(1), stepper.gradients.micro_batch)
        found = find_non_finite(lambda: stepper.forward_backward(batch, replay), self.model)
        return (
            f"loss or gradients became NaN or infinite in step {batch.step}. "
            f"{found or 'On replay every value was finite: the step was probably disturbed by the hardware.'}\n"
            f"The last good checkpoint is {self.out / CHECKPOINT}; go on with --resume {self.out}, or start anew "
            "with a lower --learning-rate"
        )

    # Measuring

    def _evaluate(self, stepper: SupervisedStep, dataset: Dataset) -> Evaluation:
        def measure() -> Evaluation:
            return evaluate(self.model, dataset, self.mean, self.std, self.workers)

        if stepper.average is None:
            return measure()
        with stepper.average.swapped_in():
            return measure()

    def _log_training(self, stepper: SupervisedStep, batch: PreparedBatch, done: int, total_steps: int) -> None:
        record = {
            "step": done,
            "epoch": done / self.batches.steps_per_epoch,
            **self._window.read(),
            "learning_rate": stepper.learning_rate(batch.step),
        }
        self._window = _Window()
        self._speed = record["images_per_second"]
        self._log.write(record)
        left = (total_steps - done) * self.batches.batch_size / max(self._speed, 1e-9)
        shown = {
            "loss": f"{record['loss']:.3f}",
            "accuracy": f"{100 * record['accuracy']:.1f}%",
            "images/s": f"{self._speed:.0f}",
        }
        self.console.step(done, shown, left)

    def _log_validation(self, stepper: SupervisedStep, done: int) -> None:
        if self.validation_set is None:
            return
        result = self._evaluate(stepper, self.validation_set)
        epoch = done / self.batches.steps_per_epoch
        self._log.write(
            {"step": done, "epoch": epoch, "validation_loss": result.loss, "validation_accuracy": result.accuracy}
        )
        self.console.message(
            f"epoch {epoch:.2f}: validation accuracy {100 * result.accuracy:.2f} %, loss {result.loss:.4f} "
            f"({len(self.validation_set)} images held out of training)"
        )

    def _results(self, stepper: SupervisedStep, total_steps: int, test: Evaluation) -> dict[str, Any]:
        self.test_result = test
        return {
            "dataset": self.dataset_kind if self.dataset_kind != "folder" else self.config.dataset,
            "split": "test",
            "images": len(self.test_set),
            "test_accuracy": test.accuracy,
            "test_loss": test.loss,
            "parameters": self.model.count_parameters(),
            "images_per_second": self._speed,
            "steps": total_steps,
            "epochs": total_steps / self.batches.steps_per_epoch,
            "training_images": len(self.train_set),
            "validation_images": len(self.validation_set or ()),
            "threads": self.workers.count,
            "micro_batch": stepper.gradients.micro_batch,
            "settings": dataclasses.asdict(self.config),
            "model": getattr(self.model, "config", {}),
        }

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of the run so far, those before an interruption included."""
        return self.earlier_seconds + time.monotonic() - self.started

    # The folder

    def _write_plan(self, total_steps: int) -> None:
        plan = {
            "config": dataclasses.asdict(self.config),
            "dataset_kind": self.dataset_kind,
            "total_steps": total_steps,
            "threads": self.workers.count,
        }
        with written_whole(self.out / "config.json") as temporary:
            temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")

    def _read_plan(self) -> int:
        plan = json.loads((self.out / "config.json").read_text(encoding="utf-8"))
        if plan["threads"] != self.workers.count:
            raise ResumeError(
                f"the run in {self.out} used {plan['threads']} threads, this machine would use {self.workers.count}: "
                f"sums would round differently; pass --threads {plan['threads']}"
            )
        return int(plan["total_steps"])

    def metadata(self) -> dict[str, Any]:
        """What a reader of the weights needs."""
        return {
            "classes": list(self.train_set.classes),
            "mean": list(self.mean),
            "std": list(self.std),
            "dataset": self.train_set.name,
        }

    def _save(self, stepper: SupervisedStep, done: int) -> None:
        progress = {
            "step": done,
            "seconds": self.seconds,
            "images_per_second": self._speed,
            "window": self._window.entries(),
        }
        save_checkpoint(
            self.out / CHECKPOINT, self.model, stepper.optimizer, stepper.average, progress, self.metadata()
        )

    def _restore(self, stepper: SupervisedStep) -> int:
        path = self.out / CHECKPOINT
        if not path.exists():
            self.console.message(f"{self.out} holds a plan but no checkpoint yet: starting from the beginning")
            return 0
        progress = load_checkpoint(path, self.model, stepper.optimizer, stepper.average)
        self.earlier_seconds = float(progress["seconds"])
        self._speed = float(progress["images_per_second"])
        self._window = _Window(progress["window"])
        self.console.message(f"resuming {self.out} after step {progress['step']}")
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


class _Window:
    """The steps since the last line of the log; read only then, so that a GPU is not made to wait.

    Parameters
    ----------
    earlier : list of (loss, correct, size)
        Steps of this window that an interrupted run made.
    """

    def __init__(self, earlier: Sequence[tuple[float, int, int]] = ()) -> None:
        self._earlier = [(loss, correct, size) for loss, correct, size in earlier]
        self._results: list[StepResult] = []
        self._begun = time.monotonic()

    def restart_clock(self) -> None:
        """Time from here on."""
        self._begun = time.monotonic()

    def add(self, result: StepResult) -> None:
        self._results.append(result)

    def entries(self) -> list[tuple[float, int, int]]:
        """(loss, correct, size) of each step (waits for the device)."""
        return self._earlier + [(float(to_host(r.loss)), int(to_host(r.correct)), r.size) for r in self._results]

    def read(self) -> dict[str, float]:
        losses, correct, sizes = zip(*self.entries(), strict=True)
        timed = sum(result.size for result in self._results)
        return {
            "loss": math.fsum(losses) / len(losses),
            "accuracy": sum(correct) / sum(sizes),
            "grad_norm": float(to_host(self._results[-1].grad_norm)),
            "images_per_second": timed / max(time.monotonic() - self._begun, 1e-9),
        }


def _with_validation(splits: Splits, config: TrainConfig) -> tuple[Dataset, Dataset | None]:
    """Training and validation set: the data set's own validation split, or a share of the training set."""
    if splits.validation is not None:
        return splits.train, splits.validation
    if not config.validation:
        return splits.train, None
    return hold_out(splits.train, config.validation, seed=config.seed)
