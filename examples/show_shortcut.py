"""Show the shortcut that a lens offers to context prediction, and what takes it away.

    python examples/show_shortcut.py

    python examples/show_shortcut.py --steps 10 --train 500 --held-out 100 --out /tmp/shortcut.json

A lens that enlarges green a little more than red and blue displaces it, the further from the middle the more. A small
network is asked where in the image single patches lie: on images and on grey noise, with and without the lens' fault,
after each treatment of the colours, always from the same weights and in the same order. Noise has no content: whatever
is told of its patches, the lens has told. It takes a few minutes on a CPU.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from minivit import data
from minivit.augment import ContextPatches, PatchGrid, lens
from minivit.backend.cpu.threads import Workers
from minivit.recipes.config import TrainConfig
from minivit.recipes.console import Console
from minivit.recipes.figures import style
from minivit.recipes.pretext.shortcut import CHANCE, draw_shortcut, grey_noise, learn_positions
from minivit.recipes.program import load_images
from minivit.recipes.results import write_result

DEFENCES = ("none", "gray", "project", "drop")
SOURCES = ("images", "noise")


@dataclass
class Options:
    """Ask a small network where patches lie."""

    dataset: str = "cifar10"
    """cifar10, cifar100, shapes or a folder of images."""
    shift: float = 0.06
    """By which share green is enlarged more than red and blue."""
    side: int = 64
    """Side of what the lens shows, in pixels."""
    zoom: float = 1.15
    """By which red and blue are enlarged: the edges of the images stay out of sight."""
    steps: int = 120
    """Of training, each time."""
    batch_size: int = 32
    """Images in a step, each with its nine patches."""
    train: int = 10_000
    """Images to learn from."""
    held_out: int = 1000
    """Images whose patches are asked about: of the data set's training images too, but none that is learned from."""
    seed: int = 0
    """Of weights, order, patches and noise."""
    threads: int = 0
    """CPU threads; 0 takes all cores that this process may use."""
    data_dir: str | None = None
    """Where data sets lie or are downloaded to."""
    out: Path | None = None
    """Write the result to this file."""
    picture: Path | None = None
    """Draw the result into this file."""


def main(options: Options) -> int:
    """Measure and report."""
    begun = time.monotonic()
    config = TrainConfig(dataset=options.dataset, data_dir=options.data_dir, seed=options.seed)
    _, splits = load_images(config, Console())
    photos = choose(splits.train, options)
    channels, height, _ = splits.train.image_shape
    noise = grey_noise(options.train + options.held_out, channels, height, options.seed)
    accuracy: dict[str, dict[str, float]] = {defence: {} for defence in DEFENCES}
    shown = {}
    with Workers(options.threads or None) as workers:
        for source, pictures in zip(SOURCES, (photos, noise), strict=True):
            for shift in (0.0, options.shift):
                seen = through_lens(pictures, shift, options)
                name = f"{source}_{'shifted' if shift else 'plain'}"
                shown[name] = seen[-3:]
                for defence in DEFENCES:
                    sampler = ContextPatches(
                        splits.train.mean, splits.train.std, options.seed, PatchGrid.fit(options.side), defence
                    )
                    accuracy[defence][name] = learn_positions(
                        seen[: options.train],
                        seen[options.train :],
                        sampler,
                        workers,
                        steps=options.steps,
                        batch_size=options.batch_size,
                    )
                    print(f"{name:16} colours {defence:8} {100 * accuracy[defence][name]:5.1f} % of the patches placed")
        threads = workers.count
    print(f"guessing: {100 * CHANCE:.1f} %")
    if options.out:
        payload: dict[str, Any] = {
            "dataset": config.dataset,
            "split": "held out of training",
            "images": options.held_out,
            "chance": CHANCE,
            "position_accuracy": accuracy,
            "settings": {field.name: getattr(options, field.name) for field in fields(options) if field.type == "int"}
            | {"shift": options.shift, "zoom": options.zoom, "threads": threads},
        }
        seconds = time.monotonic() - begun
        write_result(options.out, payload, command=command(options), seed=options.seed, wall_seconds=seconds)
    if options.picture and (drawing := style()) is not None:
        with drawing:
            print(f"picture: {draw_shortcut(accuracy, shown, options.picture)}")
    return 0


def choose(dataset: data.Dataset, options: Options) -> np.ndarray:
    """As many images as are asked for, from the whole data set."""
    wanted = options.train + options.held_out
    if wanted > len(dataset):
        raise SystemExit(f"the data set has {len(dataset)} training images; --train and --held-out ask for {wanted}")
    return dataset.images[np.random.default_rng(options.seed).permutation(len(dataset))[:wanted]]


def through_lens(images: np.ndarray, shift: float, options: Options) -> np.ndarray:
    """Images as a lens shows them that enlarges green more than the others by `shift`."""
    if images.shape[1] != 3:
        raise SystemExit(f"a lens displaces colours; these images have {images.shape[1]} channel")
    factors = [options.zoom, options.zoom * (1 + shift), options.zoom]
    parts = [lens(images[start : start + 500], options.side, factors) for start in range(0, len(images), 500)]
    return np.concatenate(parts)


def command(options: Options) -> str:
    """The command line that measures the same."""
    usual = Options()
    given = [field.name for field in fields(options) if getattr(options, field.name) != getattr(usual, field.name)]
    arguments = ["python", "examples/show_shortcut.py"]
    for name in given:
        if name != "data_dir":
            arguments += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    return shlex.join(arguments)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
