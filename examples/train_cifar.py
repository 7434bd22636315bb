"""Train a Vision Transformer on CIFAR-10, CIFAR-100, handwritten digits, drawn shapes or a folder of images.

    python examples/train_cifar.py

    python examples/train_cifar.py --dataset digits

    python examples/train_cifar.py --model vit_tiny_cifar --epochs 30 --device cuda

    python examples/train_cifar.py --resume runs/cifar10-0

The first takes ten minutes; the second needs no network and no minute; the last goes on after Ctrl-C.
"""

from __future__ import annotations

import json
import math
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

STARTED = time.monotonic()

import tyro  # noqa: E402

from minivit import data  # noqa: E402
from minivit.backend import backend_for_device  # noqa: E402
from minivit.recipes.config import TrainConfig  # noqa: E402
from minivit.recipes.console import Console  # noqa: E402
from minivit.recipes.pictures import draw_run  # noqa: E402
from minivit.recipes.presets import preset_settings  # noqa: E402
from minivit.recipes.results import write_result  # noqa: E402
from minivit.recipes.trainer import Interrupted, NonFiniteError, ResumeError, Trainer  # noqa: E402

KINDS = ("cifar10", "cifar100", "digits", "shapes")


@dataclass
class Options(TrainConfig):
    """Train a Vision Transformer and test it once at the end."""

    out: Path | None = None
    """Run folder; runs/<data set>-<seed> by default."""
    resume: Path | None = None
    """Go on with the run in this folder. Its settings are used; only --threads and --device may be given beside it."""
    pictures: bool = True
    """Draw the learning curve, the confusion matrix and the attention maps at the end."""


def main(options: Options) -> int:
    """Run; the exit code is 0 for a finished run, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    try:
        backend_for_device(options.device)
        trainer = resumed(options, console) if options.resume else started(options, console)
        results = trainer.run(resume=options.resume is not None)
    except Interrupted:
        folder = options.resume or trainer.out
        console.message(
            f"interrupted; go on with\n  python {shlex.quote(sys.argv[0])} --resume {shlex.quote(str(folder))}"
        )
        return 130
    except (
        ResumeError,
        NonFiniteError,
        data.DataNotFoundError,
        data.DatasetError,
        ValueError,
        OSError,
        RuntimeError,
    ) as e:
        console.message(f"error: {e}")
        return 1
    accuracy = results["test_accuracy"]
    write_result(
        trainer.out / "results.json",
        results,
        command=repeatable_command(trainer, results["steps"]),
        seed=trainer.config.seed,
        wall_seconds=trainer.seconds,
        device=trainer.config.device,
    )
    console.message(
        f"test accuracy {100 * accuracy:.2f} % on {results['images']} images, loss {results['test_loss']:.4f}; "
        f"{results['parameters']:,} parameters; everything is in {trainer.out}"
    )
    if options.pictures:
        for path in draw_run(
            trainer.out, trainer.model, trainer.test_set, trainer.test_result, trainer.mean, trainer.std
        ):
            console.message(f"picture: {path}")
    return 0


def started(options: Options, console: Console) -> Trainer:
    """A new run."""
    settings = TrainConfig(**{name: getattr(options, name) for name in TrainConfig.__dataclass_fields__})
    kind, splits = load_data(settings, console)
    config = settings.filled(preset_settings(kind))
    out = options.out or Path("runs") / f"{kind if kind in KINDS else Path(settings.dataset).name}-{config.seed}"
    if (out / "metrics.jsonl").exists() and (out / "results.json").exists():
        console.message(f"{out} holds a finished run, which this one replaces")
        (out / "results.json").unlink()
    trainer = Trainer(config, splits, kind, out, console, STARTED)
    classes = trainer.train_set.num_classes
    console.message(
        f"{splits.train.name}: {len(trainer.train_set)} training, {len(trainer.validation_set or ())} validation, "
        f"{len(trainer.test_set)} test images of {classes} classes; {trainer.model.count_parameters():,} parameters on "
        f"{config.device}. The loss of a model that knows nothing is ln({classes}) = {math.log(classes):.3f}"
    )
    return trainer


def resumed(options: Options, console: Console) -> Trainer:
    """A run that goes on."""
    out = Path(options.resume or ".")
    plan_path = out / "config.json"
    if not plan_path.exists():
        raise ResumeError(f"{out} holds no run: there is no {plan_path}")
    plan = json.loads(plan_path.read_text(encoding="utf-8"))
    config = TrainConfig.from_dict(plan["config"])
    config.threads = options.threads or plan["threads"]
    if options.device != "cpu":
        config.device = options.device
    kind, splits = load_data(config, console)
    return Trainer(config, splits, kind, out, console, STARTED)


def load_data(config: TrainConfig, console: Console) -> tuple[str, data.Splits]:
    """The data set's kind and its splits; falls back to the embedded digits where "auto" finds no CIFAR-10."""
    if config.dataset != "auto":
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


def repeatable_command(trainer: Trainer, steps: int) -> str:
    """The command line that repeats the run to the last digit: with its steps in place of a time budget."""
    arguments = list(sys.argv[1:])
    for flag in ("--minutes", "--epochs", "--steps", "--resume", "--out"):
        while flag in arguments:
            at = arguments.index(flag)
            del arguments[at : at + 2]
    arguments += ["--steps", str(steps), "--threads", str(trainer.workers.count)]
    return shlex.join(["python", "examples/train_cifar.py", *arguments])


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
