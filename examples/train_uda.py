"""Train a Vision Transformer on few labels and many images with UDA, and compare it with training on the labels alone.

    python examples/train_uda.py --dataset digits --labels 40

    python examples/train_uda.py --dataset digits --labels 40 --compare

    python examples/train_uda.py --dataset cifar10 --labels 4000 --minutes 60 --device cuda

    python examples/train_uda.py --resume runs/uda-digits-40-0

The first trains once. The second trains UDA, the same model on the labelled images alone, and the same model with all
labels, each with three seeds and as many steps, and writes a table and a picture. The last goes on after Ctrl-C, with
a run or with a comparison.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

STARTED = time.monotonic()

import tyro  # noqa: E402

from minivit.backend import backend_for_device  # noqa: E402
from minivit.interop.atomic import written_whole  # noqa: E402
from minivit.recipes.comparison import compare_methods, comparison_table, draw_comparison  # noqa: E402
from minivit.recipes.console import Console  # noqa: E402
from minivit.recipes.pictures import draw_run  # noqa: E402
from minivit.recipes.program import KINDS, exit_code, load_images, repeatable_command, run_to_result  # noqa: E402
from minivit.recipes.results import read_result, write_result  # noqa: E402
from minivit.recipes.run_folder import RunFolder  # noqa: E402
from minivit.recipes.semi_supervised import SemiSupervised  # noqa: E402
from minivit.recipes.trainer import Trainer  # noqa: E402
from minivit.recipes.uda_config import METHODS, UdaConfig  # noqa: E402
from minivit.recipes.uda_presets import TRIALS, uda_preset  # noqa: E402

SCRIPT = "examples/train_uda.py"
COMPARISON = "comparison.json"  # in a comparison's folder: what it compares; its presence says that it is one


@dataclass
class Options(UdaConfig):
    """Train on few labels and test once at the end."""

    compare: bool = False
    """Train UDA, the labelled images alone and all labels, with every seed, and compare them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs that --compare makes; a seed also draws which images are labelled."""
    out: Path | None = None
    """Run folder; runs/uda-<data set>-<labels>-<seed> by default, without the seed for a comparison."""
    resume: Path | None = None
    """Go on with the run or the comparison in this folder. Its settings are used; only --threads and --device may be
    given beside it."""
    pictures: bool = True
    """Draw the learning curve, the confusion matrix and the attention maps at the end."""


class Program:
    """What the command line asks for.

    Parameters
    ----------
    options : Options
    console : Console
    """

    def __init__(self, options: Options, console: Console) -> None:
        self.options, self.console = options, console
        self.folder = options.resume or options.out or Path()

    def run(self) -> None:
        """Train, or compare, or go on with either."""
        backend_for_device(self.options.device)
        if self.options.resume is None:
            settings = UdaConfig(**{field.name: getattr(self.options, field.name) for field in fields(UdaConfig)})
            seeds = self.options.seeds if self.options.compare else ()
        else:
            settings, seeds = self._resumed(self.options.resume)
        self.kind, self.splits = load_images(settings, self.console)
        config = settings.filled(uda_preset(self.kind, settings.labels))
        if seeds:
            self._compare(config, seeds)
        else:
            self.folder = self.options.resume or self.options.out or self._default_folder(config, f"-{config.seed}")
            self._train(config, self.folder, resume=self.options.resume is not None)

    def _resumed(self, folder: Path) -> tuple[UdaConfig, tuple[int, ...]]:
        plan_of_comparison = folder / COMPARISON
        if plan_of_comparison.exists():
            plan = json.loads(plan_of_comparison.read_text(encoding="utf-8"))
            seeds = tuple(plan["seeds"])
        else:
            plan, seeds = RunFolder(folder).read_plan(), ()
        config = UdaConfig.from_dict(plan["config"])
        config.threads = self.options.threads or plan.get("threads", config.threads)
        if self.options.device != "cpu":
            config.device = self.options.device
        return config, seeds

    def _default_folder(self, config: UdaConfig, ending: str) -> Path:
        name = self.kind if self.kind in KINDS else Path(config.dataset).name
        return Path("runs") / f"uda-{name}-{config.labels}{ending}"

    def _train(self, config: UdaConfig, out: Path, resume: bool) -> dict[str, Any]:
        procedure = SemiSupervised(config, self.splits, self.kind)
        trainer = Trainer(procedure, out, self.console, STARTED if not self.options.compare else None)
        self.console.message(
            f"{config.method}, seed {config.seed}: {self.splits.train.name}, {len(procedure.labelled)} labelled and "
            f"{len(procedure.split.unlabelled) if config.method == 'uda' else 0} unlabelled images, "
            f"{procedure.validation_size} held out, {procedure.test_size} for the test at the end"
        )

        def command(steps: int) -> str:
            preset = uda_preset(self.kind, config.labels)
            return repeatable_command(SCRIPT, config, preset, steps, trainer.workers.count)

        results = run_to_result(trainer, command, resume=resume)
        self.console.message(
            f"{config.method}, seed {config.seed}: {trainer.split} accuracy "
            f"{100 * results[f'{trainer.split}_accuracy']:.2f} % on {results['images']} images; everything is in {out}"
        )
        if self.options.pictures:
            for path in draw_run(
                out,
                trainer.model,
                procedure.dataset(trainer.split),
                trainer.final_result,
                procedure.mean,
                procedure.std,
            ):
                self.console.message(f"picture: {path}")
        return results

    def _compare(self, config: UdaConfig, seeds: tuple[int, ...]) -> None:
        if not config.test:
            raise ValueError("a comparison is one of test accuracies: leave out --no-test, or --compare")
        begun = time.monotonic()
        self.folder = out = self.options.resume or self.options.out or self._default_folder(config, "")
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / COMPARISON) as temporary:
            plan = {"config": dataclasses.asdict(config), "seeds": list(seeds)}
            temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
        records: list[dict[str, Any]] = []
        # UDA comes first: where the budget is a time, its run says how many steps all others make.
        for seed in seeds:
            for method in METHODS:
                folder = RunFolder(out / f"{method}-{seed}")
                if self.options.resume is not None and folder.finished:
                    records.append(read_result(folder.results))
                    continue
                length = {"steps": records[0]["steps"], "minutes": None, "epochs": None} if records else {}
                run = dataclasses.replace(config, seed=seed, method=method, **length)
                going_on = self.options.resume is not None and folder.begun
                records.append(self._train(run, folder.path, resume=going_on))
        summary = compare_methods(records)
        self.console.message(comparison_table(summary))
        first = records[0]
        shared = ("dataset", "split", "images", "labels", "steps", "training_images", "validation_images")
        command = shlex.join([*shlex.split(first["command"]), "--compare", "--seeds", *map(str, seeds)])
        write_result(
            out / "results.json",
            {
                **{name: first[name] for name in shared},
                "unlabelled_images": first["unlabelled_images"],
                "parameters": first["parameters"],
                "trials": TRIALS.get(self.kind),
                "settings": first["settings"],
                "summary": summary,
            },
            command=command,
            seed=list(seeds),
            wall_seconds=sum(record["wall_seconds"] for record in records),
            device=config.device,
        )
        self.console.message(f"{(time.monotonic() - begun) / 60:.1f} minutes; everything is in {out}")
        if self.options.pictures:
            path = draw_comparison(
                {f"{first['labels']} labels": summary},
                out / "comparison.png",
                chance=1 / self.splits.train.num_classes,
                title=f"{first['dataset']}, {first['images']:,} test images",
            )
            self.console.message(f"picture: {path}")


def main(options: Options) -> int:
    """Run; the exit code is 0 for a finished run, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    program = Program(options, console)
    return exit_code(program.run, console, lambda: f"--resume {shlex.quote(str(program.folder))}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
