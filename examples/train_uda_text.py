"""Train a Transformer on few labelled texts and many others with UDA, and compare it with training on the labels alone.

    python examples/train_uda_text.py

    python examples/train_uda_text.py --compare

    python examples/train_uda_text.py --dataset imdb:FOLDER --labels 20

    python examples/train_uda_text.py --export-for-translation texts.jsonl

    python examples/train_uda_text.py --augmentation both --paraphrases texts.jsonl

    python examples/train_uda_text.py --resume runs/uda-docstrings-110-0

The first reads docstrings of this very installation and learns which package each is from. The second trains UDA, the
same model on the labelled texts alone, and the same model with all labels, each with three seeds and as many steps, and
writes a table and a picture. The third reads movie reviews. The fourth writes the training texts for a translator, and
the fifth uses what came back. The last goes on after Ctrl-C, with a run or with a comparison.
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

from minivit.data.text import TextSplits, export_lines, load_docstrings, load_imdb, without_copies  # noqa: E402
from minivit.files import write_text  # noqa: E402
from minivit.recipes.console import Console  # noqa: E402
from minivit.recipes.figures import style  # noqa: E402
from minivit.recipes.pictures import draw_learning_curve  # noqa: E402
from minivit.recipes.program import exit_code  # noqa: E402
from minivit.recipes.semi_supervised_text import SemiSupervisedText, training_corpus  # noqa: E402
from minivit.recipes.text_config import TextConfig  # noqa: E402
from minivit.recipes.text_presets import TRIALS, text_preset  # noqa: E402
from minivit.recipes.trainer import Trainer  # noqa: E402
from minivit.recipes.uda_pictures import draw_quantities  # noqa: E402
from minivit.recipes.uda_program import UdaProgram  # noqa: E402

OfImages = tyro.conf.Suppress


@dataclass
class Options(TextConfig):
    """Train on few labelled texts and test once at the end."""

    compare: bool = False
    """Train UDA, the labelled texts alone and all labels, with every seed, and compare them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the runs that --compare makes; a seed also draws which texts are labelled."""
    out: Path | None = None
    """Run folder; runs/uda-<data set>-<labels>-<seed> by default, with "comparison" for the seed if it is one."""
    resume: Path | None = None
    """Go on with the run or the comparison in this folder. Its settings are used; only --threads and --device may be
    given beside it."""
    export_for_translation: Path | None = None
    """Write the training texts to this file, in the format of --paraphrases, and stop."""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; cpu by default, and the device of a run that goes on is its own."""
    pictures: bool = True
    """Draw the learning curve and what the loss was made of at the end."""

    # Settings that texts do not have.
    training_images: OfImages[int | None] = None
    image_size: OfImages[int] = 32
    preprocessing: OfImages[str] = "timm"
    crop_fraction: OfImages[float] = 1.0
    crop_area: OfImages[float | None] = None
    download: OfImages[bool] = True
    model: OfImages[str | None] = None
    crop: OfImages[int | None] = None
    flip: OfImages[bool | None] = None
    rotate_colors: OfImages[bool | None] = None
    cutout: OfImages[int | None] = None
    mixup: OfImages[float | None] = None
    whitening: OfImages[bool | None] = None


class Program(UdaProgram):
    """What the command line asks for: see `UdaProgram`."""

    script, prefix, examples = "examples/train_uda_text.py", "uda", "texts"
    config_type, trials = TextConfig, TRIALS

    def load(self, config: TextConfig) -> None:
        """Docstrings, or IMDb."""
        self.kind, self.splits = load_texts(config, self.console)

    def preset(self, _: TextConfig) -> dict[str, Any]:
        """Of the data set."""
        return text_preset(self.kind)

    def procedure(self, config: TextConfig) -> SemiSupervisedText:
        """Training on texts."""
        return SemiSupervisedText(config, self.splits, self.kind)

    def draw(self, trainer: Trainer, procedure: SemiSupervisedText) -> list[Path]:
        """The learning curve, and for UDA the parts of its loss."""
        drawing, folder = style(), trainer.folder
        if drawing is None:
            return []
        with drawing:
            pictures = [draw_learning_curve(folder.metrics, folder.path / "learning_curve.png")]
        if procedure.config.method == "uda":
            pictures.append(draw_quantities(folder.metrics, folder.path / "uda.png"))
        return pictures

    def export(self, path: Path) -> None:
        """Write the training texts for a translator."""
        self.load(self.options)
        corpus = training_corpus(self.splits)
        write_text(path, "".join(f"{line}\n" for line in export_lines(corpus)))
        self.console.message(
            f"{len(corpus)} texts are in {path}: translate each into another language and back, put the result into "
            f'its list "paraphrases", and train with --augmentation back_translation --paraphrases {path}'
        )


def load_texts(config: TextConfig, console: Console) -> tuple[str, TextSplits]:
    """The kind of a configuration's data set and its splits."""
    kind, _, folder = config.dataset.partition(":")
    if config.dataset == "docstrings":
        return kind, load_docstrings()
    if kind != "imdb":
        raise ValueError(f"unknown dataset {config.dataset!r}; expected docstrings, imdb, or imdb:FOLDER")
    return kind, imdb_without_copies(load_imdb(folder or config.data_dir), console)


def imdb_without_copies(splits: TextSplits, console: Console) -> TextSplits:
    """IMDb without the few training reviews that its test set has word for word."""
    train = without_copies(splits.train, splits.test)
    unlabelled = splits.unlabelled and without_copies(splits.unlabelled, splits.test)
    left_out = len(splits.train) - len(train) + len(splits.unlabelled or ()) - len(unlabelled or ())
    if left_out:
        console.message(f"left out {left_out} training reviews that are, word for word, test reviews too")
    return TextSplits(train=train, test=splits.test, unlabelled=unlabelled)


def main(options: Options) -> int:
    """Run; the exit code is 0 for a finished run, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    program = Program(options, console, STARTED)
    work = program.run
    if options.export_for_translation is not None:
        work = lambda: program.export(options.export_for_translation)  # noqa: E731
    return exit_code(work, console, lambda: f"--resume {shlex.quote(str(program.folder))}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
