"""What the programs that train with few labels share: a run, or a study of several, from a command line; resuming."""

from __future__ import annotations

import dataclasses
import json
import shlex
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from minivit.files import write_text, written_whole
from minivit.recipes.comparison import compare_methods, comparison_table
from minivit.recipes.comparison_pictures import draw_ablation, draw_comparison
from minivit.recipes.console import Console
from minivit.recipes.procedure import Procedure
from minivit.recipes.program import new_settings, repeatable_command, resumed_settings, run_to_result
from minivit.recipes.results import write_result
from minivit.recipes.run_folder import RunFolder
from minivit.recipes.studies import finished_or_trained, same_run
from minivit.recipes.trainer import NonFiniteError, Trainer
from minivit.recipes.uda_config import UdaConfig
from minivit.recipes.uda_presets import ABLATION, COMPARISON, variants

STUDY = "study.json"  # in the folder of a comparison or an ablation: what is compared; it says that it is one
STUDIES = {"comparison": COMPARISON, "ablation": ABLATION}
FLAGS = {"comparison": "--compare", "ablation": "--ablate"}


@dataclass(frozen=True)
class Study:
    """Several runs to be compared.

    Attributes
    ----------
    name : {"comparison", "ablation"}
    seeds : tuple of int
    variants : tuple of str
        Those that are looked at beside UDA and the labels alone; empty for all.
    """

    name: str
    seeds: tuple[int, ...]
    variants: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Of the command line."""
        chosen = ["--variants", *self.variants] if self.variants else []
        return [FLAGS[self.name], *chosen, "--seeds", *map(str, self.seeds)]

    def runs(self, config: UdaConfig) -> dict[str, UdaConfig]:
        """The configurations by name, UDA's first.

        Raises
        ------
        ValueError
            For a variant that there is none of.
        """
        found = variants(config, STUDIES[self.name])
        unknown = set(self.variants) - set(found)
        if unknown:
            raise ValueError(f"no variant {', '.join(sorted(unknown))}; there is {', '.join(found)}")
        wanted = {"uda", "supervised", *self.variants} if self.variants else set(found)
        return {name: variant for name, variant in found.items() if name in wanted}


class UdaProgram(ABC):
    """What a command line asks for.

    Parameters
    ----------
    options
        The settings of `config_type`, and ``out``, ``resume``, ``compare``, ``seeds``, ``pictures``; ``ablate`` where
        the program has it.
    console : Console
    started : float
        `time.monotonic()` when the program began.

    Attributes
    ----------
    script : str
        Path of the program from the root of a checkout.
    prefix : str
        Of run folders: ``runs/<prefix>-<data set>-<labels>-<seed or study>``.
    examples : str
        What is learned from, in the plural.
    config_type : type
    trials : dict of str to int
        Settings that were looked at for each data set.
    kind : str
        Of the data set; set by `load`.
    """

    script: str
    prefix: str
    examples: str
    config_type: type[UdaConfig]
    trials: dict[str, int]
    kind: str

    def __init__(self, options: Any, console: Console, started: float) -> None:
        self.options, self.console, self.started = options, console, started
        self.folder: Path = options.resume or options.out or Path()

    @abstractmethod
    def load(self, config: UdaConfig) -> None:
        """Read the data and set `kind`."""

    @abstractmethod
    def preset(self, config: UdaConfig) -> dict[str, Any]:
        """What a configuration is filled with."""

    @abstractmethod
    def procedure(self, config: UdaConfig) -> Procedure:
        """What a run trains; its `results` say the method and the numbers of examples."""

    @abstractmethod
    def draw(self, trainer: Trainer, procedure: Procedure) -> list[Path]:
        """Pictures of a finished run."""

    def run(self) -> None:
        """Train, or compare, or go on with either."""
        options = self.options
        study = self._asked()
        if options.resume is None:
            settings = new_settings(options, self.config_type)
        else:
            plan, study = _planned(options.resume)
            settings = resumed_settings(plan, self.config_type, options.threads, options.device)
        self.load(settings)
        config = settings.filled(self.preset(settings))
        ending = study.name if study else str(config.seed)
        default = Path("runs") / f"{self.prefix}-{self.kind}-{config.labels}-{ending}"
        self.folder = options.resume or options.out or default
        if study is not None:
            self._study(config, study)
        else:
            self._train(config, self.folder, resume=options.resume is not None)

    def _asked(self) -> Study | None:
        """The study that the options name."""
        options = self.options
        asked = [name for name, flag in FLAGS.items() if getattr(options, flag.removeprefix("--"), False)]
        if len(asked) > 1:
            raise ValueError(f"give only one of {' and '.join(FLAGS[name] for name in asked)}")
        if not asked:
            return None
        if not options.seeds or len(set(options.seeds)) < len(options.seeds):
            seeds = ", ".join(map(str, options.seeds)) or "none"
            raise ValueError(f"a study needs seeds, each of them once; got {seeds}")
        return Study(asked[0], options.seeds, getattr(options, "variants", ()))

    def _train(self, config: UdaConfig, out: Path, resume: bool) -> dict[str, Any]:
        procedure = self.procedure(config)
        trainer = Trainer(procedure, out, self.console, self.started if out == self.folder else None)
        sizes = procedure.results()
        self.console.message(
            f"{config.method}, seed {config.seed}: {sizes['dataset']}, {sizes['labels']} labelled and "
            f"{sizes[f'unlabelled_{self.examples}']} unlabelled {self.examples}, {procedure.validation_size} held out, "
            f"{procedure.test_size} for the test at the end"
        )

        def command(steps: int) -> str:
            return repeatable_command(self.script, config, self.preset(config), steps, trainer.workers.count)

        results = run_to_result(trainer, command, resume=resume)
        self.console.message(
            f"{config.method}, seed {config.seed}: {trainer.split} accuracy "
            f"{100 * results[f'{trainer.split}_accuracy']:.2f} % on {results['images']} {self.examples}; everything is "
            f"in {out}"
        )
        if self.options.pictures:
            for path in self.draw(trainer, procedure):
                self.console.message(f"picture: {path}")
        return results

    def _study(self, config: UdaConfig, study: Study) -> None:
        if not config.test:
            raise ValueError(
                f"a study compares test accuracies: leave out --no-test, or {' and '.join(FLAGS.values())}"
            )
        runs, out = study.runs(config), self.folder
        out.mkdir(parents=True, exist_ok=True)
        with written_whole(out / STUDY) as temporary:
            plan = {
                "study": study.name,
                "config": dataclasses.asdict(config),
                "seeds": list(study.seeds),
                "variants": list(study.variants),
            }
            temporary.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
        records: list[dict[str, Any]] = []
        failed: list[str] = []
        # UDA comes first: where the budget is a time, its run says how many steps all others make.
        for seed in study.seeds:
            for name, variant in runs.items():
                length = {"steps": records[0]["steps"], "minutes": None, "epochs": None} if records else {}
                run = dataclasses.replace(variant, seed=seed, **length)
                path = out / f"{in_path(name)}-{seed}"
                try:
                    record = finished_or_trained(
                        path,
                        run,
                        partial(self._train, run, path),
                        self.console,
                        goes_on=self.options.resume is not None,
                    )
                    records.append({**record, "method": name})
                except NonFiniteError as error:
                    self.console.message(f"{name}, seed {seed}, is left out: {error}")
                    failed.append(f"{name}, seed {seed}")
        self._report(config, study, records, failed)

    def _report(self, config: UdaConfig, study: Study, records: list[dict[str, Any]], failed: list[str]) -> None:
        """The table, the result file and the picture of a study."""
        first = records[0]
        summary = compare_methods(records)
        if study.name == "ablation":
            variants_alone = [name for name in summary["methods"] if name != "uda"]
            summary["uda_over"] = {
                name: compare_methods(paired(records, name), baseline=name)["difference"] for name in variants_alone
            }
        table = comparison_table(summary)
        write_text(self.folder / f"{study.name}.md", table + "\n")
        self.console.message(table)
        sizes = [f"{part}_{self.examples}" for part in ("training", "validation", "unlabelled")]
        shared = ["dataset", "split", "images", "labels", *sizes, "parameters", "steps", "settings", "model"]
        write_result(
            self.folder / "results.json",
            {
                **{name: first[name] for name in [*shared, *(["corpus"] if "corpus" in first else [])]},
                "study": study.name,
                "trials": self._trials(config),
                "runs": [{"method": r["method"], "command": r["command"], "commit": r["commit"]} for r in records],
                "failed": failed,
                "summary": summary,
            },
            command=shlex.join([*shlex.split(first["command"]), *study.arguments()]),
            seed=list(study.seeds),
            wall_seconds=sum(record["wall_seconds"] for record in records),
            device=config.device,
        )
        self.console.message(f"everything is in {self.folder}")
        if not self.options.pictures:
            return
        picture, title = (
            self.folder / f"{study.name}.png",
            f"{first['dataset']}, {first['images']:,} test {self.examples}",
        )
        chance = 1 / first["model"]["num_classes"]
        if study.name == "comparison":
            path = draw_comparison({f"{first['labels']} labels": summary}, picture, chance=chance, title=title)
        else:
            title = f"{title}, {first['labels']} labels"
            path = draw_ablation(summary["methods"], picture, chance=chance, title=title)
        if path is not None:
            self.console.message(f"picture: {path}")

    def _trials(self, config: UdaConfig) -> int | None:
        """Settings that were looked at to choose these; None where they are not the preset's."""
        preset = {**self.preset(config), "labels": config.labels}
        usual = self.config_type(dataset=config.dataset).filled(preset)
        chosen = same_run(dataclasses.asdict(usual), dataclasses.asdict(config))
        return self.trials.get(self.kind) if chosen else None


def _planned(folder: Path) -> tuple[dict[str, Any], Study | None]:
    """What a folder holds: the plan of a run, or that of a study, and the study."""
    if not (folder / STUDY).exists():
        return RunFolder(folder).read_plan(), None
    plan = json.loads((folder / STUDY).read_text(encoding="utf-8"))
    return plan, Study(plan["study"], tuple(plan["seeds"]), tuple(plan["variants"]))


def in_path(name: str) -> str:
    """A variant's name as a folder's."""
    return name.replace(" ", "-")


def paired(records: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The records of UDA and of a variant, at the seeds that both have."""
    both = [{r["seed"] for r in records if r["method"] == method} for method in ("uda", name)]
    return [r for r in records if r["method"] in ("uda", name) and r["seed"] in both[0] & both[1]]
