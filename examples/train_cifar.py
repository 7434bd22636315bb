"""Train a Vision Transformer or a ResNet on CIFAR-10, CIFAR-100, handwritten digits, drawn shapes or your images.

    python examples/train_cifar.py

    python examples/train_cifar.py --dataset digits

    python examples/train_cifar.py --model vit_tiny_cifar --epochs 30 --device cuda

    python examples/train_cifar.py --model resnet_micro_cifar

    python examples/train_cifar.py --resume runs/cifar10-0

The first takes ten minutes; the second needs no network and no minute; the last goes on after Ctrl-C.
"""

from __future__ import annotations

import math
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

STARTED = time.monotonic()

import tyro  # noqa: E402

from minivit.recipes.config import TrainConfig  # noqa: E402
from minivit.recipes.console import Console  # noqa: E402
from minivit.recipes.pictures import draw_run  # noqa: E402
from minivit.recipes.presets import preset_settings  # noqa: E402
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
from minivit.recipes.supervised import Supervised  # noqa: E402
from minivit.recipes.trainer import Trainer  # noqa: E402


@dataclass
class Options(TrainConfig):
    """Train a classifier and test it once at the end."""

    out: Path | None = None
    """Run folder; runs/<data set>-<seed> by default."""
    resume: Path | None = None
    """Go on with the run in this folder. Its settings are used; only --threads and --device may be given beside it."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; cpu by default, and the device of a run that goes on is its own."""
    pictures: bool = True
    """Draw the learning curve, the confusion matrix and the maps of attention or class activation at the end."""


def main(options: Options) -> int:
    """Run; the exit code is 0 for a finished run, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    folder = options.resume or options.out or Path()

    def work() -> None:
        nonlocal folder
        trainer = resumed(options, console) if options.resume else started(options, console)
        folder = trainer.folder.path
        images = trainer.procedure

        def command(steps: int) -> str:
            preset = preset_settings(images.dataset_kind)
            return repeatable_command("examples/train_cifar.py", trainer.config, preset, steps, trainer.workers.count)

        results = run_to_result(trainer, command, resume=options.resume is not None)
        split = trainer.split
        console.message(
            f"{split} accuracy {100 * results[f'{split}_accuracy']:.2f} % on {results['images']} images, loss "
            f"{results[f'{split}_loss']:.4f}; {results['parameters']:,} parameters; everything is in {folder}"
        )
        if options.pictures:
            for path in draw_run(
                folder, images.model, images.dataset(trainer.split), trainer.final_result, images.mean, images.std
            ):
                console.message(f"picture: {path}")

    return exit_code(work, console, lambda: f"--resume {shlex.quote(str(folder))}")


def started(options: Options, console: Console) -> Trainer:
    """A new run."""
    settings = new_settings(options, TrainConfig)
    kind, splits = load_images(settings, console)
    config = settings.filled(preset_settings(kind))
    procedure = Supervised(config, splits, kind)
    console.message(
        f"{splits.train.name}: {len(procedure.train_set)} training, {procedure.validation_size} validation, "
        f"{procedure.test_size} test images of {procedure.num_classes} classes; "
        f"{procedure.model.count_parameters():,} parameters on {config.device}. The loss of a model that knows nothing "
        f"is ln({procedure.num_classes}) = {math.log(procedure.num_classes):.3f}"
    )
    return Trainer(procedure, options.out or default_folder(config, kind), console, STARTED)


def resumed(options: Options, console: Console) -> Trainer:
    """A run that goes on."""
    out = Path(options.resume or ".")
    config = resumed_settings(RunFolder(out).read_plan(), TrainConfig, options.threads, options.device)
    kind, splits = load_images(config, console)
    return Trainer(Supervised(config, splits, kind), out, console, STARTED)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
