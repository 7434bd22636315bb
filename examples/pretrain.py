"""Learn from images without labels: a pretext task, of which the encoder is kept.

    python examples/pretrain.py --task rotation

    python examples/pretrain.py --task rotation --dataset digits --epochs 10

    python examples/pretrain.py --resume runs/pretrain-rotation-cifar10-0

examples/finetune.py --weights RUN then trains what was learned on the task of interest. The last goes on after Ctrl-C.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

STARTED = time.monotonic()

import tyro  # noqa: E402

from minivit.backend.cpu.threads import Workers  # noqa: E402
from minivit.recipes.console import Console, measured_in_words  # noqa: E402
from minivit.recipes.figures import style  # noqa: E402
from minivit.recipes.pictures import draw_learning_curve  # noqa: E402
from minivit.recipes.pretext.config import PretextConfig  # noqa: E402
from minivit.recipes.pretext.presets import pretext_preset  # noqa: E402
from minivit.recipes.pretext.pretraining import Pretraining  # noqa: E402
from minivit.recipes.program import (  # noqa: E402
    default_folder,
    exit_code,
    load_images,
    new_settings,
    repeatable_command,
    resumed_settings,
    run_to_result,
)
from minivit.recipes.run_folder import RunFolder  # noqa: E402
from minivit.recipes.trainer import Trainer  # noqa: E402


@dataclass
class Options(PretextConfig):
    """Train an encoder on a pretext task, and ask it about the test images once at the end."""

    out: Path | None = None
    """Run folder; runs/pretrain-<task>-<data set>-<seed> by default."""
    resume: Path | None = None
    """Go on with the run in this folder. Its settings are used; only --threads and --device may be given beside it."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; cpu by default, and the device of a run that goes on is its own."""
    pictures: bool = True
    """Draw the learning curve, and what the task asks and the model answers, at the end."""


def main(options: Options) -> int:
    """Run; the exit code is 0 for a finished run, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    folder = options.resume or options.out or Path()

    def work() -> None:
        nonlocal folder
        trainer = resumed(options, console) if options.resume else started(options, console)
        folder = trainer.folder.path
        pretraining = trainer.procedure

        def command(steps: int) -> str:
            preset = pretext_preset(pretraining.task.name, pretraining.dataset_kind)
            return repeatable_command("examples/pretrain.py", trainer.config, preset, steps, trainer.workers.count)

        if options.pictures and not options.resume:
            show(draw_questions(trainer), console)
        results = run_to_result(trainer, command, resume=options.resume is not None)
        console.message(
            f"{trainer.split}: {measured_in_words(trainer.final_result.values)} on {results['images']} images; "
            f"the encoder is in {trainer.folder.checkpoint}"
        )
        if options.pictures:
            show(draw(trainer), console)

    return exit_code(work, console, lambda: f"--resume {shlex.quote(str(folder))}")


def started(options: Options, console: Console) -> Trainer:
    """A new run."""
    settings = new_settings(options, PretextConfig)
    kind, splits = load_images(settings, console)
    config = settings.filled(pretext_preset(settings.task, kind))
    procedure = Pretraining(config, splits, kind)
    chance = procedure.task.chance
    console.message(
        f"{procedure.task.name} on {splits.train.name}: {len(procedure.train_set)} training, "
        f"{procedure.validation_size} validation, {procedure.test_size} test images, without their labels; "
        f"{procedure.model.encoder.count_parameters():,} parameters of the encoder and "
        f"{procedure.model.head.count_parameters():,} of the head, on {config.device}"
        + (f". Guessing is right in {100 * chance:.1f} %" if chance else "")
    )
    usual = default_folder(config, kind)
    return Trainer(procedure, options.out or usual.with_name(f"pretrain-{config.task}-{usual.name}"), console, STARTED)


def resumed(options: Options, console: Console) -> Trainer:
    """A run that goes on."""
    out = Path(options.resume or ".")
    config = resumed_settings(RunFolder(out).read_plan(), PretextConfig, options.threads, options.device)
    kind, splits = load_images(config, console)
    return Trainer(Pretraining(config, splits, kind), out, console, STARTED)


def draw_questions(trainer: Trainer) -> list[Path]:
    """Pictures of what a new run asks; the files, none if matplotlib is not installed."""
    drawing, pretraining, folder = style(), trainer.procedure, trainer.folder.path
    if drawing is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with drawing:
        return pretraining.task.draw_questions(pretraining.train_set, folder)


def show(pictures: list[Path], console: Console) -> None:
    """Say where pictures are."""
    for path in pictures:
        console.message(f"picture: {path}")


def draw(trainer: Trainer) -> list[Path]:
    """Every picture of a finished run; the files, none if matplotlib is not installed."""
    drawing, pretraining, folder = style(), trainer.procedure, trainer.folder
    if drawing is None:
        return []
    with drawing, Workers(pretraining.workers.count) as workers:  # the run's own are closed
        curve = draw_learning_curve(folder.metrics, folder.path / "learning_curve.png", pretraining.task.titles)
        shown = pretraining.dataset(trainer.split)
        return [curve, *pretraining.task.draw(pretraining.model, shown, folder.path, workers)]


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
