"""Does it pay? Pre-train on images without labels, throw the head away, train on few labels; compare with not doing so.

    python examples/pretext_loop.py

    python examples/pretext_loop.py --tasks context rotation --labels 250 --seeds 0 1 2 --device cuda

The lecture's loop: train on an auxiliary task that is easy to label, throw away what is specific to it, train on the
task of interest, profit. For each seed an encoder is pre-trained on each task with the training images of CIFAR-10;
then a linear probe on its frozen features, and fine-tuning of all its weights, are trained on few labels. The same is
done from the random weights that pre-training began with. All runs of a kind are equally long. It writes a table, a
picture and a result file; run again, it goes on.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from minivit import interop
from minivit.backend import backend_for_device
from minivit.files import write_text
from minivit.recipes.comparison import compare_methods, comparison_table
from minivit.recipes.comparison_pictures import draw_comparison
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console, measured_in_words
from minivit.recipes.pretext import TASKS
from minivit.recipes.pretext.config import PretextConfig
from minivit.recipes.pretext.presets import pretext_preset
from minivit.recipes.pretext.pretraining import Pretraining
from minivit.recipes.program import exit_code, load_images, repeatable_command, run_to_result
from minivit.recipes.results import write_result
from minivit.recipes.studies import accuracy_of, finished_or_trained
from minivit.recipes.trainer import Trainer
from minivit.recipes.transfer.config import TransferConfig
from minivit.recipes.transfer.encoder import load_pretrained
from minivit.recipes.transfer.finetuning import Finetuning
from minivit.recipes.transfer.frozen import FrozenEvaluation
from minivit.recipes.transfer.presets import transfer_preset

RANDOM = "random_weights"
# As the data set's own model is trained from random weights, so that these are not at a disadvantage.
FINETUNING: dict[str, Any] = {"optimizer": "muon", "learning_rate": 2e-3, "layer_decay": 1.0}
MODES = {"probe": "linear probe", "full": "fine-tuning"}


@dataclass
class Options:
    """Pre-train, transfer, compare."""

    dataset: str = "cifar10"
    """cifar10, cifar100, digits, shapes, or a folder of images."""
    data_dir: str | None = None
    """Where data sets lie or are downloaded to; before it $MINIVIT_DATA and the user cache are searched."""
    tasks: tuple[str, ...] = tuple(TASKS)
    """Pretext tasks."""
    model: str | None = None
    """As for pretrain.py; by default the one of each task's preset."""
    labels: tuple[int, ...] = (500,)
    """Numbers of labelled images, as many of each class."""
    modes: tuple[str, ...] = tuple(MODES)
    """probe: a linear classifier of frozen features; full: all weights."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of weights, shuffles, tasks, and of which images are labelled."""
    pretrain_minutes: float = 4.0
    """Budget of each task: the first seed's run measures how many steps fit, the others make as many."""
    pretrain_steps: tuple[int, ...] = ()
    """Steps of each task, in the order of --tasks, in place of a budget."""
    finetune_steps: int = 300
    """Steps of each fine-tuning."""
    out: Path = Path("runs/pretext-loop")
    """Folder of the runs and of the result."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    test: bool = True
    """Evaluate the test set at the end of each run. Without it, the held-out images: for choosing settings."""


class Loop:
    """The runs of a comparison, each in a folder of its own.

    Parameters
    ----------
    options : Options
    console : Console
    """

    def __init__(self, options: Options, console: Console) -> None:
        check(options)
        self.options, self.console = options, console
        backend_for_device(options.device)
        self.kind, self.splits = load_images(TrainConfig(dataset=options.dataset, data_dir=options.data_dir), console)
        self.steps = dict(zip(options.tasks, options.pretrain_steps, strict=False))

    def run(self) -> None:
        """Make what is not there yet, and report."""
        pretext: list[dict[str, Any]] = []
        records: list[dict[str, Any]] = []
        for seed in self.options.seeds:
            starts = [(RANDOM, self.random_weights(seed))]
            for task in self.options.tasks:
                result, checkpoint = self.pretrained(task, seed)
                self.steps.setdefault(task, result["steps"])
                pretext.append(result)
                starts.append((task, checkpoint))
            for name, checkpoint in starts:
                for mode, labels in self.asked():
                    record = self.transferred(checkpoint, name, mode, labels, seed)
                    records.append({**record, "method": name, "asked": f"{mode}_{labels}"})
                    self.console.message(
                        f"{name}, {MODES[mode]}, {labels:,} labels, seed {seed}: {100 * accuracy_of(record):.2f} %"
                    )
        report(self.options, pretext, records, self.console)

    def asked(self) -> Iterator[tuple[str, int]]:
        """Every mode with every number of labels."""
        return ((mode, labels) for mode in self.options.modes for labels in self.options.labels)

    def _pretext_config(self, task: str, seed: int) -> PretextConfig:
        options = self.options
        steps = self.steps.get(task)
        return PretextConfig(
            task=task,
            model=options.model,
            minutes=None if steps else options.pretrain_minutes,
            steps=steps,
            seed=seed,
            **self._shared(),
        ).filled(pretext_preset(task, self.kind))

    def _shared(self) -> dict[str, Any]:
        options = self.options
        return {
            "dataset": options.dataset,
            "data_dir": options.data_dir,
            "device": options.device,
            "threads": options.threads,
            "test": options.test,
        }

    def random_weights(self, seed: int) -> Path:
        """The encoder as pre-training on the first task that takes whole images finds it."""
        path = self.options.out / f"random-{seed}" / "encoder.safetensors"
        if not path.exists():
            procedure = Pretraining(self._pretext_config("rotation", seed), self.splits, self.kind)
            interop.save(procedure.model.encoder, path, procedure.metadata())
            procedure.workers.close()
        return path

    def pretrained(self, task: str, seed: int) -> tuple[dict[str, Any], Path]:
        """The result of a task and its checkpoint."""
        config = self._pretext_config(task, seed)
        path = self.options.out / f"pretrain-{task}-{seed}"

        def train(resume: bool) -> dict[str, Any]:
            trainer = Trainer(Pretraining(config, self.splits, self.kind), path, self.console)

            def command(steps: int) -> str:
                preset = pretext_preset(task, self.kind)
                return repeatable_command("examples/pretrain.py", config, preset, steps, trainer.workers.count)

            result = run_to_result(trainer, command, resume=resume)
            self.console.message(
                f"{task}, seed {seed}: {trainer.split} {measured_in_words(trainer.final_result.values)}"
            )
            return result

        result = finished_or_trained(path, config, train, self.console)
        return result, path / "checkpoint.safetensors"

    def transferred(self, checkpoint: Path, name: str, mode: str, labels: int, seed: int) -> dict[str, Any]:
        """The result of training on few labels."""
        path = self.options.out / f"{mode}-{name.replace('_', '-')}-{labels}-{seed}"
        config = TransferConfig(
            weights=str(checkpoint),
            mode=mode,
            training_images=labels,
            steps=self.options.finetune_steps if mode == "full" else None,
            seed=seed,
            **(FINETUNING if mode == "full" else {}),
            **self._shared(),
        ).filled(transfer_preset(mode, "adamw", self.kind))
        preset = transfer_preset(mode, "adamw", self.kind)

        def train(resume: bool) -> dict[str, Any]:
            pretrained = load_pretrained(checkpoint)
            if mode == "full":
                trainer = Trainer(Finetuning(config, pretrained, self.splits, self.kind), path, self.console)
                command = partial(self._command, config, preset, trainer.workers.count)
                return run_to_result(trainer, command, resume=resume)
            begun = time.monotonic()
            evaluation = FrozenEvaluation(config, pretrained, self.splits, self.kind, path, self.console)
            measured = evaluation.run(resume=resume)
            return write_result(
                evaluation.folder.results,
                measured,
                command=self._command(config, preset, evaluation.workers.count, None),
                seed=seed,
                wall_seconds=time.monotonic() - begun,
                device=config.device,
            )

        return finished_or_trained(path, config, train, self.console)

    @staticmethod
    def _command(config: TransferConfig, preset: dict[str, Any], threads: int, steps: int | None) -> str:
        return repeatable_command("examples/finetune.py", config, preset, steps, threads)


def check(options: Options) -> None:
    """Raise a ValueError for what cannot be compared."""
    for name, allowed in {"tasks": TASKS, "modes": MODES}.items():
        unknown = [value for value in getattr(options, name) if value not in allowed]
        if unknown:
            raise ValueError(f"--{name}: there is no {', '.join(unknown)}; there is {', '.join(allowed)}")
    for name in ("tasks", "modes", "labels", "seeds"):
        values = getattr(options, name)
        if not values or len(set(values)) < len(values):
            raise ValueError(f"--{name}: expected at least one and none twice, got {values}")
    if options.pretrain_steps and len(options.pretrain_steps) != len(options.tasks):
        raise ValueError(
            f"--pretrain-steps: expected a number for each of {', '.join(options.tasks)}, got {options.pretrain_steps}"
        )


def report(options: Options, pretext: list[dict[str, Any]], records: list[dict[str, Any]], console: Console) -> None:
    """The table, the result file and the picture."""
    first = records[0]
    summaries: dict[str, dict[str, Any]] = {}
    tables = []
    for asked in dict.fromkeys(record["asked"] for record in records):
        runs = [{**r, "test_accuracy": accuracy_of(r)} for r in records if r["asked"] == asked]
        # Each task against the random weights, pair by pair; what `compare_methods` takes is one pair.
        pairs = {task: compare_methods(of(runs, RANDOM, task), RANDOM, task) for task in options.tasks}
        everything = compare_methods(runs, RANDOM, options.tasks[0])
        gains = {task: pair["difference"] for task, pair in pairs.items()}
        summaries[asked] = {**everything, "gains": gains}
        tables.append(f"{titled(asked)}:\n\n" + "\n\n".join(comparison_table(pair) for pair in pairs.values()))
    text = "\n\n".join(tables)
    write_text(options.out / "loop.md", text + "\n")
    console.message(text)
    write_result(
        options.out / "results.json",
        {
            **{name: first[name] for name in ("dataset", "split", "images")},
            "pretext": {
                task: [pretext_summary(result) for result in pretext if result["task"] == task]
                for task in options.tasks
            },
            "finetune_steps": options.finetune_steps,
            "summaries": summaries,
            "commands": [record["command"] for record in records],
        },
        command=shlex.join(["python", "examples/pretext_loop.py", *sys.argv[1:]]),
        seed=list(options.seeds),
        wall_seconds=sum(record["wall_seconds"] for record in [*pretext, *records]),
        device=options.device,
    )
    title = f"{first['dataset']}, {first['images']:,} {first['split']} images"
    drawn = {titled(asked): summary for asked, summary in summaries.items()}
    picture = draw_comparison(drawn, options.out / "loop.png", title=title)
    console.message(f"everything is in {options.out}" + (f"; picture: {picture}" if picture else ""))


def titled(asked: str) -> str:
    """``probe_500`` -> ``linear probe, 500 labels``."""
    mode, _, labels = asked.partition("_")
    return f"{MODES[mode]}, {int(labels):,} labels"


def of(runs: list[dict[str, Any]], *methods: str) -> list[dict[str, Any]]:
    """The runs of some methods."""
    return [run for run in runs if run["method"] in methods]


def pretext_summary(result: dict[str, Any]) -> dict[str, Any]:
    """What a pre-training reached, and from what."""
    measured = {name: value for name, value in result.items() if name.startswith(f"{result['split']}_")}
    shared = ("task", "chance", "seed", "steps", "epochs", "parameters", "examples_per_second", "command")
    return {**{name: result[name] for name in shared}, **measured}


def main(options: Options) -> int:
    """Run; the exit code is 0 when all is done, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    return exit_code(lambda: Loop(options, console).run(), console, lambda: shlex.join(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
