"""Transfer what a network has learned to the task of interest.

    python examples/finetune.py --weights runs/pretrain-rotation-cifar10-0 --dataset cifar10

    python examples/finetune.py --weights runs/pretrain-rotation-cifar10-0 --dataset cifar10 --training-images 1000

    python examples/finetune.py --weights runs/pretrain-rotation-cifar10-0 --dataset cifar10 --init random

    python examples/finetune.py --weights deit_tiny_patch16_224.npz --dataset cifar10 --mode knn --first-training 5000

    python examples/finetune.py --resume runs/finetune-full-cifar10-0

The first trains all weights on all labels, the second on a hundred of each class, the third starts from random weights,
to compare with. The fourth trains nothing and asks the nearest training images; --mode probe fits a linear classifier
to features, --mode head trains one with augmentation. The last goes on after Ctrl-C.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path

STARTED = time.monotonic()

import tyro  # noqa: E402

from minivit.data import Splits  # noqa: E402
from minivit.recipes.console import Console  # noqa: E402
from minivit.recipes.figures import style  # noqa: E402
from minivit.recipes.pictures import draw_confusion, draw_run  # noqa: E402
from minivit.recipes.program import (  # noqa: E402
    default_folder,
    exit_code,
    load_images,
    new_settings,
    repeatable_command,
    resumed_settings,
    run_to_result,
)
from minivit.recipes.results import write_result  # noqa: E402
from minivit.recipes.run_folder import RunFolder  # noqa: E402
from minivit.recipes.trainer import Trainer  # noqa: E402
from minivit.recipes.transfer.config import FROZEN, TransferConfig  # noqa: E402
from minivit.recipes.transfer.encoder import Pretrained, load_pretrained  # noqa: E402
from minivit.recipes.transfer.finetuning import Finetuning  # noqa: E402
from minivit.recipes.transfer.frozen import FrozenEvaluation  # noqa: E402
from minivit.recipes.transfer.pictures import draw_neighbours  # noqa: E402
from minivit.recipes.transfer.presets import transfer_preset  # noqa: E402


@dataclass
class Options(TransferConfig):
    """Transfer a pretrained model to a data set, and test it once at the end."""

    out: Path | None = None
    """Run folder; runs/finetune-<mode>-<data set>-<seed> by default."""
    resume: Path | None = None
    """Go on with the run in this folder. Its settings are used; only --threads and --device may be given beside it."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; cpu by default, and the device of a run that goes on is its own."""
    pictures: bool = True
    """Draw the confusion matrix and, by mode, the learning curve, attention maps or nearest training images."""


class Program:
    """What the command line asks for.

    Parameters
    ----------
    options : Options
    console : Console

    Attributes
    ----------
    folder : Path
        Of the run.
    """

    def __init__(self, options: Options, console: Console) -> None:
        self.options, self.console = options, console
        self.folder: Path = options.resume or options.out or Path()

    def run(self) -> None:
        """Begin or go on."""
        options = self.options
        if options.resume is None:
            config = new_settings(options, TransferConfig)
        else:
            plan = RunFolder(options.resume).read_plan()
            config = resumed_settings(plan, TransferConfig, options.threads, options.device)
        if config.weights is None:
            raise ValueError("give --weights: a checkpoint, the folder of a run, or timm's weights such as DeiT's")
        pretrained = load_pretrained(Path(config.weights), config.statistics, config.data_dir)
        kind, splits = self._load(config, pretrained)
        if options.resume is None:
            config = config.filled(transfer_preset(config.mode, config.preset, kind))
            usual = default_folder(config, kind)
            self.folder = options.out or usual.with_name(f"finetune-{config.mode}-{usual.name}")
        if config.mode in FROZEN:
            self._judge(config, pretrained, splits, kind)
        else:
            self._train(config, pretrained, splits, kind)

    def _load(self, config: TransferConfig, pretrained: Pretrained) -> tuple[str, Splits]:
        """The data set; the photos of a folder are read at the model's size."""
        asked = config.image_size
        config.image_size = asked or pretrained.image_size
        try:
            return load_images(config, self.console)
        finally:
            config.image_size = asked

    def _command(self, config: TransferConfig, kind: str, threads: int, steps: int | None) -> str:
        preset = transfer_preset(config.mode, config.preset, kind)
        return repeatable_command("examples/finetune.py", config, preset, steps, threads)

    def _train(self, config: TransferConfig, pretrained: Pretrained, splits: Splits, kind: str) -> None:
        procedure = Finetuning(config, pretrained, splits, kind)
        trainer = Trainer(procedure, self.folder, self.console, STARTED)
        self.console.message(
            f"{splits.train.name}: {len(procedure.train_set)} training, {procedure.validation_size} validation, "
            f"{procedure.test_size} test images of {procedure.num_classes} classes, as {procedure.task.image_size} px; "
            f"{procedure.model.count_parameters(trainable_only=True):,} of {procedure.model.count_parameters():,} "
            f"parameters are trained, on {config.device}\n{procedure.task.describe()}"
        )
        results = run_to_result(
            trainer,
            lambda steps: self._command(config, kind, trainer.workers.count, steps),
            resume=self.options.resume is not None,
        )
        self._say(trainer.split, results)
        if self.options.pictures:
            few, result = procedure.shown_examples(trainer.final_result, trainer.split)
            paths = draw_run(self.folder, procedure.model, few, result, procedure.mean, procedure.std)
            self._name(paths)

    def _judge(self, config: TransferConfig, pretrained: Pretrained, splits: Splits, kind: str) -> None:
        evaluation = FrozenEvaluation(config, pretrained, splits, kind, self.folder, self.console)
        self.console.message(
            f"{splits.train.name}: features of {len(evaluation.train_set)} training and {len(evaluation.evaluated)} "
            f"{evaluation.split} images of {evaluation.train_set.num_classes} classes, as "
            f"{evaluation.task.image_size} px, on {config.device}\n{evaluation.task.describe()}"
        )
        measured = evaluation.run(resume=self.options.resume is not None)
        results = write_result(
            evaluation.folder.results,
            measured,
            command=self._command(config, kind, evaluation.workers.count, None),
            seed=config.seed,
            wall_seconds=time.monotonic() - STARTED,
            device=config.device,
        )
        self._say(evaluation.split, results)
        drawing = style() if self.options.pictures else None
        if drawing is None:
            return
        with drawing:
            final, classes = evaluation.final_result, evaluation.evaluated.classes
            paths = [draw_confusion(final.confusion, classes, final.accuracy, self.folder / "confusion.png")]
            if evaluation.neighbours is not None:
                paths.append(
                    draw_neighbours(
                        evaluation.evaluated,
                        evaluation.train_set,
                        evaluation.neighbours,
                        self.folder / "neighbours.png",
                    )
                )
        self._name(paths)

    def _say(self, split: str, results: dict) -> None:
        votes = ", ".join(f"{found['vote']} {100 * found['accuracy']:.2f} %" for found in results.get("votes", ()))
        self.console.message(
            f"{split} accuracy {100 * results[f'{split}_accuracy']:.2f} %"
            + (f" (votes: {votes})" if votes else "")
            + f" on {results['images']} images; everything is in {self.folder}"
        )

    def _name(self, paths: list[Path]) -> None:
        for path in paths:
            self.console.message(f"picture: {path}")


def main(options: Options) -> int:
    """Run; the exit code is 0 for a finished run, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    program = Program(options, console)
    return exit_code(program.run, console, lambda: f"--resume {shlex.quote(str(program.folder))}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
