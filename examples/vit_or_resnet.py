"""A Vision Transformer or a ResNet? Test accuracy over the size of the training set, at equal size and budget.

    python examples/vit_or_resnet.py

    python examples/vit_or_resnet.py --sizes 500 5000 50000 --seeds 0 1 2 --device cuda --steps 20000

The lecture says: with fewer than 14 million images, take a ResNet. This trains a Transformer and a ResNet with about as
many parameters and multiply-adds, from random weights, on ever larger parts of CIFAR-10, each for as many steps,
without augmentation and with it. It writes a table, a picture and a result file; run again, it goes on.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

STARTED = time.monotonic()

import tyro  # noqa: E402

from minivit import data, models  # noqa: E402
from minivit.backend import backend_for_device  # noqa: E402
from minivit.files import write_text  # noqa: E402
from minivit.recipes.config import TrainConfig  # noqa: E402
from minivit.recipes.console import Console  # noqa: E402
from minivit.recipes.data_size import AUGMENTATIONS, TRAINING, by_size, crossings, curves, draw_sizes, size_table  # noqa: E402
from minivit.recipes.presets import preset_settings  # noqa: E402
from minivit.recipes.program import exit_code, load_images, repeatable_command, run_to_result  # noqa: E402
from minivit.recipes.results import write_result  # noqa: E402
from minivit.recipes.studies import accuracy_of, finished_or_trained  # noqa: E402
from minivit.recipes.supervised import Supervised  # noqa: E402
from minivit.recipes.trainer import Trainer  # noqa: E402


@dataclass
class Options:
    """Compare models over sizes of the training set."""

    dataset: str = "cifar10"
    """cifar10, cifar100, digits, shapes, or a folder of images."""
    data_dir: str | None = None
    """Where data sets lie or are downloaded to; before it $MINIVIT_DATA and the user cache are searched."""
    models: tuple[str, ...] = ("vit_nano_cifar", "resnet_nano_cifar")
    """Names of minivit.models; the lead of the second over the first is drawn."""
    sizes: tuple[int, ...] = (500, 1500, 5000, 15000, 0)
    """Numbers of training images; 0 stands for all."""
    augmentations: tuple[str, ...] = tuple(AUGMENTATIONS)
    """Of minivit.recipes.data_size.AUGMENTATIONS."""
    seeds: tuple[int, ...] = (0,)
    """Of weights, shuffles, augmentation, and of which images are taken."""
    steps: int = 1000
    """Of each run, whatever the size of its training set."""
    batch_size: int = 64
    """Images in a step."""
    optimizer: str | None = None
    """As for train_cifar.py; by default what suits the model's family."""
    learning_rate: float | None = None
    """Of every run; by default what suits the model's family."""
    test: bool = True
    """Evaluate the test set once at the end of each run. Without it, the held-out images: for choosing settings."""
    out: Path = Path("runs/vit-or-resnet")
    """Folder of the runs and of the result."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""


def main(options: Options) -> int:
    """Run; the exit code is 0 when all is done, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    return exit_code(lambda: compare(options, console), console, lambda: shlex.join(sys.argv[1:]))


def compare(options: Options, console: Console) -> None:
    """Train every model on every size with every augmentation, and report."""
    check(options)
    backend_for_device(options.device)
    shared = TrainConfig(dataset=options.dataset, data_dir=options.data_dir)
    kind, splits = load_images(shared, console)
    records = []
    for seed in options.seeds:
        for size in options.sizes:
            for augmentation in options.augmentations:
                for model in options.models:
                    config = configuration(options, kind, model, size, augmentation, seed)
                    path = options.out / f"{model}-{augmentation}-{size or 'all'}-{seed}"
                    train = partial(train_once, config, kind, splits, path, console)
                    record = finished_or_trained(path, config, train, console)
                    records.append({**record, "model": model, "augmentation": augmentation})
                    console.message(
                        f"{model}, augmentation {augmentation}, {record['training_images']:,} images, seed {seed}: "
                        f"{100 * accuracy_of(record):.2f} %"
                    )
    report(options, records, console)


def check(options: Options) -> None:
    """Raise a ValueError for what cannot be compared."""
    unknown = [name for name in options.augmentations if name not in AUGMENTATIONS]
    if unknown:
        raise ValueError(f"no augmentation {', '.join(unknown)}; there is {', '.join(AUGMENTATIONS)}")
    unknown = [name for name in options.models if name not in models.list()]
    if unknown:
        models.create(unknown[0])  # raises, with the nearest names
    for name in ("models", "sizes", "augmentations", "seeds"):
        values = getattr(options, name)
        if not values or len(set(values)) < len(values):
            raise ValueError(f"--{name}: expected at least one and none twice, got {values}")


def configuration(options: Options, kind: str, model: str, size: int, augmentation: str, seed: int) -> TrainConfig:
    """The settings of one run: the data set's preset, with the family's training and the augmentation."""
    training = TRAINING[models.find(model).family.__name__]
    given = {"optimizer": options.optimizer, "learning_rate": options.learning_rate}
    return TrainConfig(
        dataset=options.dataset,
        data_dir=options.data_dir,
        model=model,
        training_images=size or None,
        steps=options.steps,
        batch_size=options.batch_size,
        seed=seed,
        test=options.test,
        validation=0.0 if options.test else None,
        device=options.device,
        threads=options.threads,
        **{**training, **AUGMENTATIONS[augmentation], **{key: value for key, value in given.items() if value}},
    ).filled(preset_settings(kind))


def train_once(
    config: TrainConfig, kind: str, splits: data.Splits, path: Path, console: Console, resume: bool
) -> dict[str, Any]:
    """One run, with its result in its folder."""
    trainer = Trainer(Supervised(config, splits, kind), path, console)

    def command(steps: int) -> str:
        return repeatable_command(
            "examples/train_cifar.py", config, preset_settings(kind), steps, trainer.workers.count
        )

    return run_to_result(trainer, command, resume=resume)


def report(options: Options, records: list[dict[str, Any]], console: Console) -> None:
    """The table, the result file and the picture."""
    first = records[0]
    found = curves({**record, "test_accuracy": accuracy_of(record)} for record in records)
    table = size_table(found)
    write_text(options.out / "table.md", table + "\n")
    console.message(table)
    write_result(
        options.out / "results.json",
        {
            **{name: first[name] for name in ("dataset", "split", "images", "steps", "epochs")},
            "batch_size": options.batch_size,
            "models": {record["model"]: {"parameters": record["parameters"]} for record in records},
            "augmentations": {name: AUGMENTATIONS[name] for name in options.augmentations},
            "curves": found,
            "by_size": by_size(found),
            "crossings": crossings(found, options.models[1], options.models[0]) if len(options.models) > 1 else [],
            "commands": [record["command"] for record in records],
        },
        command=shlex.join(["python", "examples/vit_or_resnet.py", *sys.argv[1:]]),
        seed=list(options.seeds),
        wall_seconds=sum(record["wall_seconds"] for record in records),
        device=options.device,
    )
    title = f"{first['dataset']}, {first['images']:,} {first['split']} images, {first['steps']:,} steps"
    picture = draw_sizes(found, options.out / "vit_or_resnet.png", title)
    console.message(f"everything is in {options.out}" + (f"; picture: {picture}" if picture else ""))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
