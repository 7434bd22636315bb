"""Train a Vision Transformer or a ResNet on few labels and many images with UDA; compare with the labels alone.

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

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STARTED = time.monotonic()

import tyro  # noqa: E402

from minivit.recipes.console import Console  # noqa: E402
from minivit.recipes.pictures import draw_run  # noqa: E402
from minivit.recipes.program import KINDS, exit_code, load_images  # noqa: E402
from minivit.recipes.semi_supervised import SemiSupervised  # noqa: E402
from minivit.recipes.trainer import Trainer  # noqa: E402
from minivit.recipes.uda_config import UdaConfig  # noqa: E402
from minivit.recipes.uda_pictures import draw_quantities  # noqa: E402
from minivit.recipes.uda_presets import TRIALS, uda_preset  # noqa: E402
from minivit.recipes.uda_program import UdaProgram  # noqa: E402


@dataclass
class Options(UdaConfig):
    """Train on few labels and test once at the end."""

    compare: bool = False
    """Train UDA, the labelled images alone and all labels, with every seed, and compare them."""
    ablate: bool = False
    """Train UDA and variants that each lack or change a part of it, with every seed, and compare them."""
    variants: tuple[str, ...] = ()
    """Those that --ablate looks at, beside UDA and the labels alone; all by default."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs that --compare and --ablate make; a seed also draws which images are labelled."""
    out: Path | None = None
    """Run folder; runs/uda-<data set>-<labels>-<seed> by default, with the study's name for the seed if it is one."""
    resume: Path | None = None
    """Go on with the run, the comparison or the ablation in this folder. Its settings are used; only --threads and
    --device may be given beside it."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; cpu by default, and the device of a run that goes on is its own."""
    pictures: bool = True
    """Draw the learning curve, the confusion matrix and the maps of attention or class activation at the end."""


class Program(UdaProgram):
    """What the command line asks for: see `UdaProgram`."""

    script, prefix, examples = "examples/train_uda.py", "uda", "images"
    config_type, trials = UdaConfig, TRIALS

    def load(self, config: UdaConfig) -> None:
        """A data set by name, or a folder of images."""
        self.dataset_kind, self.splits = load_images(config, self.console)
        self.kind = self.dataset_kind if self.dataset_kind in KINDS else Path(config.dataset).name

    def preset(self, config: UdaConfig) -> dict[str, Any]:
        """Of the data set, for a number of labels."""
        return uda_preset(self.dataset_kind, config.labels)

    def procedure(self, config: UdaConfig) -> SemiSupervised:
        """Training on images."""
        return SemiSupervised(config, self.splits, self.dataset_kind)

    def draw(self, trainer: Trainer, procedure: SemiSupervised) -> list[Path]:
        """Learning curve, confusion matrix, where the model looks, and for UDA the parts of its loss."""
        folder, shown = trainer.folder, procedure.dataset(trainer.split)
        pictures = draw_run(folder.path, trainer.model, shown, trainer.final_result, procedure.mean, procedure.std)
        if pictures and procedure.config.method == "uda":
            pictures.append(draw_quantities(folder.metrics, folder.path / "uda.png"))
        return pictures


def main(options: Options) -> int:
    """Run; the exit code is 0 for a finished run, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    program = Program(options, console, STARTED)
    return exit_code(program.run, console, lambda: f"--resume {shlex.quote(str(program.folder))}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
