"""How a training step's time and memory grow: with the batch, depth, tokens and threads; ours and PyTorch's in turn.

    python examples/speed_curves.py

    python examples/speed_curves.py --short --against none

    python examples/speed_curves.py --redraw docs/results/speed_curves.json

Along each axis one size grows and all else stays. At each point three programs take turns in processes of their own:
minivit, minivit with activation checkpointing, and the same model in PyTorch. It writes a result file and draws it;
interrupted, it goes on where it was, as long as the commit is the same.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from minivit.compare.rivals import torch_contender
from minivit.recipes.console import Console
from minivit.recipes.program import exit_code
from minivit.recipes.results import read_result, write_result
from minivit.recipes.speed.curves import AXES, SHORT_AXES, Points, growth, possible_values, with_full_micro_batches
from minivit.recipes.speed.curves_picture import draw_curves


@dataclass
class Options:
    """Measure the curves."""

    model: str = "vit_tiny_cifar"
    """A Vision Transformer of minivit.models."""
    axes: tuple[str, ...] = tuple(AXES)
    """What grows: batch, depth, tokens, threads, micro_batch."""
    against: Literal["none", "torch"] = "torch"
    """The rival."""
    rounds: int = 3
    """Alternating rounds at each point; the median of all steps is drawn."""
    seconds: float = 0.7
    """Of a round: so many steps as take about as long, at least one."""
    short: bool = False
    """Few and small values, to see that all of it works."""
    out: Path = Path("runs/speed-curves")
    """Folder of the points that are measured, of the result and of the picture."""
    result: Path | None = None
    """File of the result, in place of results.json in the folder."""
    picture: Path | None = None
    """File of the picture, in place of speed_curves.png in the folder."""
    redraw: Path | None = None
    """Draw this result and measure nothing."""


def main(options: Options) -> int:
    """Run; the exit code is 0 when all is done, 130 after Ctrl-C, 1 for anything wrong."""
    console = Console()
    return exit_code(lambda: run(options, console), console, lambda: shlex.join(sys.argv[1:]))


def run(options: Options, console: Console) -> None:
    """Measure, write and draw."""
    if options.redraw is not None:
        record = read_result(options.redraw)
        if "curves" not in record:
            raise ValueError(f"{options.redraw} is no result of this program: it has no curves")
        draw(options, record, console)
        return
    if not options.axes or len(set(options.axes)) < len(options.axes) or not AXES.keys() >= set(options.axes):
        raise ValueError(f"--axes: expected at least one of {', '.join(AXES)}, none twice; got {options.axes}")
    if options.rounds < 1 or not options.seconds > 0:
        raise ValueError(f"expected a round and some time for it; got {options.rounds} and {options.seconds}")
    points = Points(options.out / "points.json")
    curves = measure(options, points, console)
    payload = {
        "model": options.model,
        "rounds": options.rounds,
        "curves": curves,
        "from_full_micro_batches": growth(with_full_micro_batches(curves.get("batch", []))),
    }
    record = write_result(
        options.result or options.out / "results.json",
        payload,
        command=shlex.join(["python", "examples/speed_curves.py", *sys.argv[1:]]),
        seed=0,
        wall_seconds=points.seconds,
        packages=[] if options.against == "none" else ["torch"],
    )
    draw(options, record, console)


def measure(options: Options, points: Points, console: Console) -> dict[str, list[dict[str, Any]]]:
    """The points of each axis."""
    rival = torch_contender if options.against == "torch" else None
    curves: dict[str, list[dict[str, Any]]] = {}
    for name in options.axes:
        axis = (SHORT_AXES if options.short else AXES)[name]
        curves[name] = []
        for value in possible_values(axis):
            found = points.measured(
                axis, value, options.model, seconds=options.seconds, rounds=options.rounds, rival=rival
            )
            curves[name].append(found)
            told = ", ".join(
                f"{contender} {found[contender]['ms_per_image']:.2f} ms an image, {found[contender]['rss_mb']:.0f} MiB"
                for contender in ("minivit", "checkpointed", "torch")
                if contender in found
            )
            console.message(f"{name} {found['value']}: {told}")
    return curves


def draw(options: Options, record: dict[str, Any], console: Console) -> None:
    """The picture of a result."""
    title = f"{record['model']}, {record['device_name']}, {record['cores']} cores"
    picture = draw_curves(record["curves"], options.picture or options.out / "speed_curves.png", title)
    console.message(f"picture: {picture}" if picture else "no picture: pip install matplotlib")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
