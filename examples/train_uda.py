"""Train a Vision Transformer on few labels and many images with UDA, and compare it with training on the labels alone.

    python examples/train_uda.py --dataset digits --labels 40

    python examples/train_uda.py --dataset digits --labels 40 --compare

    python examples/train_uda.py --dataset cifar10 --labels 4000 --minutes 60 --device cuda

    python examples/train_uda.py --dataset digits --labels 40 --ablate

    python examples/train_uda.py --resume runs/uda-digits-40-0

The first trains once. The second trains UDA, the same model on the labelled images alone, and the same model with all
labels, each with three seeds and as many steps, and writes a table and a picture; the fourth does so with UDA and with
variants that each lack or change a part of it. The last goes on after Ctrl-C, with a run or with a study.
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
from minivit.recipes.comparison import compare_methods, comparison_table, draw_ablation, draw_comparison  # noqa: E402
from minivit.recipes.console import Console  # noqa: E402
from minivit.recipes.pictures import draw_run  # noqa: E402
from minivit.recipes.program import KINDS, exit_code, load_images, repeatable_command, run_to_result  # noqa: E402
from minivit.recipes.results import read_result, write_result  # noqa: E402
from minivit.recipes.run_folder import RunFolder  # noqa: E402
from minivit.recipes.semi_supervised import SemiSupervised  # noqa: E402
from minivit.recipes.trainer import Trainer  # noqa: E402
from minivit.recipes.uda_config import UdaConfig  # noqa: E402
from minivit.recipes.uda_pictures import draw_quantities  # noqa: E402
from minivit.recipes.uda_presets import ABLATION, COMPARISON, TRIALS, uda_preset, variants  # noqa: E402

SCRIPT = "examples/train_uda.py"
STUDY = "study.json"  # in the folder of a comparison or an ablation: what is compared; it says that it is one
STUDIES = {"comparison": COMPARISON, "ablation": ABLATION}


@dataclass
class Options(UdaConfig):
    """Train on few labels and test once at the end."""

    compare: bool = False
    """Train UDA, the labelled images alone and all labels, with every seed, and compare them."""
    ablate: bool = False
    """Train UDA and variants that each lack or change a part of it, with every seed, and compare them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs that --compare and --ablate make; a seed also draws which images are labelled."""
    out: Path | None = None
    """Run folder; runs/uda-<data set>-<labels>-<seed> by default, with the study's name for the seed if it is one."""
    resume: Path | None = None
    """Go on with the run, the comparison or the ablation in this folder. Its settings are used; only --threads and
    --device may be given beside it."""
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
        options = self.options
        backend_for_device(options.device)
        study = "comparison" if options.compare else "ablation" if options.ablate else None
        seeds = options.seeds
        if options.resume is None:
            settings = UdaConfig(**{field.name: getattr(options, field.name) for field in fields(UdaConfig)})
        elif (options.resume / STUDY).exists():
            plan = json.loads((options.resume / STUDY).read_text(encoding="utf-8"))
            settings, study, seeds = self._resumed(plan), plan["study"], tuple(plan["seeds"])
        else:
            settings, study = self._resumed(RunFolder(options.resume).read_plan()), None
        self.kind, self.splits = load_images(settings, self.console)
        config = settings.filled(uda_preset(self.kind, settings.labels))
        self.folder = options.resume or options.out or self._default_folder(config, study or str(config.seed))
        if study is not None:
            self._study(config, study, seeds)
        else:
            self._train(config, self.folder, resume=options.resume is not None)

    def _resumed(self, plan: dict[str, Any]) -> UdaConfig:
        config = UdaConfig.from_dict(plan["config"])
        config.threads = self.options.threads or plan.get("threads", config.threads)
        if self.options.device != "cpu":
            config.device = self.options.device
        return config

    def _default_folder(self, config: UdaConfig, ending: str) -> Path:
        name = self.kind if self.kind in KINDS else Path(config.dataset).name
        return Path("runs") / f"uda-{name}-{config.labels}-{ending}"

    def _train(self, config: UdaConfig, out: Path, resume: bool) -> dict[str, Any]:
        procedure = SemiSupervised(config, self.splits, self.kind)
        trainer = Trainer(procedure, out, self.console, STARTED if out == self.folder else None)
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
            shown = procedure.dataset(trainer.split)
            pictures = draw_run(out, trainer.model, shown, trainer.final_result, procedure.mean, procedure.std)
            if pictures and config.method == "uda":
                pictures.append(draw_quantities(trainer.folder.metrics, out / "uda.png"))
            for path in pictures:
                self.console.message(f"picture: {path}")
        return results

    def _study(self, config: UdaConfig, study: str, seeds: tuple[int, ...]) -> None:
        if not config.test:
            raise ValueError("a study compares test accuracies: leave out --no-test, or --compare and --ablate")
        out = self.folder
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / STUDY) as temporary:
            plan = {"study": study, "config": dataclasses.asdict(config), "seeds": list(seeds)}
            temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
        records: list[dict[str, Any]] = []
        # UDA comes first: where the budget is a time, its run says how many steps all others make.
        for seed in seeds:
            for name, variant in variants(config, STUDIES[study]).items():
                folder = RunFolder(out / f"{name.replace(' ', '-')}-{seed}")
                if self.options.resume is not None and folder.finished:
                    result = read_result(folder.results)
                else:
                    length = {"steps": records[0]["steps"], "minutes": None, "epochs": None} if records else {}
                    run = dataclasses.replace(variant, seed=seed, **length)
                    result = self._train(run, folder.path, self.options.resume is not None and folder.begun)
                records.append({**result, "method": name})
        self._report(config, study, seeds, records)

    def _report(self, config: UdaConfig, study: str, seeds: tuple[int, ...], records: list[dict[str, Any]]) -> None:
        """The table, the result file and the picture of a study."""
        first = records[0]
        summary = compare_methods(records)
        self.console.message(comparison_table(summary))
        shared = ("dataset", "split", "images", "training_images", "validation_images", "unlabelled_images", "labels")
        flag = "--compare" if study == "comparison" else "--ablate"
        write_result(
            self.folder / "results.json",
            {
                **{name: first[name] for name in (*shared, "parameters", "steps", "settings")},
                "study": study,
                "trials": TRIALS.get(self.kind),
                "runs": [record["command"] for record in records],
                "summary": summary,
            },
            command=shlex.join([*shlex.split(first["command"]), flag, "--seeds", *map(str, seeds)]),
            seed=list(seeds),
            wall_seconds=sum(record["wall_seconds"] for record in records),
            device=config.device,
        )
        self.console.message(f"everything is in {self.folder}")
        if not self.options.pictures:
            return
        picture, title = self.folder / f"{study}.png", f"{first['dataset']}, {first['images']:,} test images"
        chance = 1 / self.splits.train.num_classes
        if study == "comparison":
            path = draw_comparison({f"{first['labels']} labels": summary}, picture, chance=chance, title=title)
        else:
            title = f"{title}, {first['labels']} labels"
            path = draw_ablation(summary["methods"], picture, chance=chance, title=title)
        self.console.message(f"picture: {path}")


def main(options: Options) -> int:
    """Run; the exit code is 0 for a finished run, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    program = Program(options, console)
    return exit_code(program.run, console, lambda: f"--resume {shlex.quote(str(program.folder))}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
