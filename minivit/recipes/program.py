"""What the programs in `examples/` that train share: data by name, a run with its result, exit codes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from minivit import data
from minivit.backend import backend_for_device
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.results import write_result
from minivit.recipes.run_folder import ResumeError
from minivit.recipes.trainer import Interrupted, NonFiniteError, Trainer

KINDS = data.NAMES

Settings = TypeVar("Settings", bound=TrainConfig)


def load_images(config: TrainConfig, console: Console) -> tuple[str, data.Splits]:
    """The kind of a configuration's data set and its splits.

    "auto" stands for CIFAR-10, and for the embedded digits where CIFAR-10 is not to be had; it is replaced by what was
    taken.
    """
    if config.dataset != "auto":
        if config.dataset in data.PHOTOS:
            return config.dataset, data.load(
                config.dataset,
                data_dir=config.data_dir,
                download=config.download,
                image_size=config.image_size,
                preprocessing=data.Preprocessing(config.preprocessing, config.crop_fraction),
            )
        if config.dataset in KINDS:
            return config.dataset, data.load(config.dataset, data_dir=config.data_dir, download=config.download)
        return "folder", data.load(config.dataset, image_size=config.image_size, seed=config.seed)
    try:
        splits = data.load("cifar10", data_dir=config.data_dir, download=config.download)
    except data.DataNotFoundError as error:
        console.message(
            f"CIFAR-10 is neither at hand nor to be downloaded ({error}).\n"
            "Training on the embedded handwritten digits instead."
        )
        config.dataset = "digits"
        return "digits", data.load("digits")
    config.dataset = "cifar10"
    return "cifar10", splits


def new_settings(options: Any, settings: type[Settings]) -> Settings:
    """The settings that a program's options ask for in a new run.

    Parameters
    ----------
    options : Settings
        With other fields beside those of `settings`, and a `device` that may be None: cpu.
    settings : type
        Of the program: `TrainConfig` or a class derived from it.

    Raises
    ------
    ValueError, RuntimeError
        If there is no such device.
    """
    device = options.device or "cpu"
    backend_for_device(device)
    return settings(**{**{field.name: getattr(options, field.name) for field in fields(settings)}, "device": device})


def resumed_settings(plan: Mapping[str, Any], settings: type[Settings], threads: int, device: str | None) -> Settings:
    """The settings of a run that goes on, on the device and the threads that it used unless others are given.

    The device is not part of the experiment, so a run may go on on another. Between a GPU and the CPU the threads and
    the micro-batch do not go with it: they are what suits the new one.

    Parameters
    ----------
    plan : mapping
        Of `RunFolder.read_plan`, or a study's.
    settings : type
        Of the program: `TrainConfig` or a class derived from it.
    threads : int
        0 for those of the run.
    device : str or None
        None for that of the run.

    Raises
    ------
    ResumeError
        If the run's device is not to be had here, and no other is given.
    ValueError
        If it is another program's run, or there is no such device as is given.
    RuntimeError
        If the device that is given is missing.
    """
    config = settings.from_dict(plan["config"])
    before, config.device = config.device, device or config.device
    try:
        backend_for_device(config.device)
    except (ValueError, RuntimeError) as error:
        if device is not None:
            raise
        raise ResumeError(
            f"the run was on {before}, which is not to be had here ({error}); pass --device cpu, or another device, to "
            "go on there"
        ) from error
    if (before == "cpu") != (config.device == "cpu"):
        config.threads, config.micro_batch = threads, None
    else:
        config.threads = threads or plan.get("threads", config.threads)
    return config


def default_folder(config: TrainConfig, kind: str) -> Path:
    """runs/<data set>-<seed>."""
    return Path("runs") / f"{kind if kind in KINDS else Path(config.dataset).name}-{config.seed}"


def run_to_result(trainer: Trainer, command: Callable[[int], str], *, resume: bool) -> dict[str, Any]:
    """Run a trainer to its end and write ``results.json`` into its folder.

    Parameters
    ----------
    trainer : Trainer
    command : callable
        Number of steps -> the command line that repeats the run.
    resume : bool
        Go on from the folder's checkpoint.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    Interrupted
        On Ctrl-C, be it during the final evaluation, whose result is written all the same.
    """
    if not resume and trainer.folder.finished:
        trainer.console.message(f"{trainer.folder} holds a finished run, which this one replaces")
    results = trainer.run(resume=resume)
    written = write_result(
        trainer.folder.results,
        results,
        command=command(results["steps"]),
        seed=trainer.config.seed,
        wall_seconds=trainer.seconds,
        device=trainer.config.device,
    )
    if trainer.interrupted:
        raise Interrupted
    return written


def repeatable_command(
    script: str, config: TrainConfig, preset: dict[str, Any], steps: int | None, threads: int
) -> str:
    """The command line that repeats a run to the last digit: what its settings add to the preset, and its length.

    Parameters
    ----------
    script : str
        Path of the program from the root of a checkout.
    config : TrainConfig
        With the preset filled in.
    preset : dict
    steps : int or None
        Of the run, whatever its budget was; None if it makes none.
    threads : int
    """
    usual = type(config)(device=config.device, steps=steps).filled(preset)
    arguments = ["--dataset", config.dataset]
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name in _GIVEN_OTHERWISE or value == getattr(usual, field.name) or value is None:
            continue
        flag = field.name.replace("_", "-")
        if isinstance(field.default, bool):  # a switch; where a preset decides, it is an option with a value
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            arguments += [f"--{flag}", str(value)]
    if config.device != "cpu":
        arguments += ["--device", config.device]
    length = [] if steps is None else ["--steps", str(steps)]
    return shlex.join(["python", script, *arguments, *length, "--threads", str(threads)])


# Settings that a command says in its own way, or that do not change what is computed.
_GIVEN_OTHERWISE = {
    "dataset", "epochs", "minutes", "steps", "threads", "device", "data_dir", "download", "checkpoint_minutes",
    "features",
}  # fmt: skip


def exit_code(work: Callable[[], None], console: Console, go_on: Callable[[], str]) -> int:
    """Run a program's work: 0 if it finishes, 130 after Ctrl-C, 1 for anything wrong that a person can mend.

    Parameters
    ----------
    work : callable
    console : Console
    go_on : callable
        Arguments of the command line that goes on after Ctrl-C.
    """
    try:
        work()
    except (Interrupted, KeyboardInterrupt):
        console.message(f"interrupted; go on with\n  python {shlex.quote(sys.argv[0])} {go_on()}")
        return 130
    except (
        ResumeError,
        NonFiniteError,
        data.DataNotFoundError,
        data.DatasetError,
        ValueError,
        OSError,
        RuntimeError,
        ImportError,
    ) as error:
        console.message(f"error: {error}")
        return 1
    return 0
