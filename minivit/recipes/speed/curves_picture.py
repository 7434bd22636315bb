"""The picture of the curves: time above, memory below, a column for each size that grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minivit.recipes.figures import BLUE, GREY, RED, new_figure, save_figure, style

LABELS = {
    "batch": "images in a step",
    "depth": "blocks",
    "tokens": "tokens of an image",
    "threads": "threads",
    "micro_batch": "images in a micro-batch",
}
DOUBLING = ("batch", "micro_batch")  # drawn on an axis on which a doubling is a step
LINES = {
    "minivit": ("minivit", BLUE, "-", "o"),
    "checkpointed": ("minivit, activation checkpointing", BLUE, "--", "s"),
    "torch": ("PyTorch", RED, "-", "D"),
    "ideal": ("one thread's time over the threads", GREY, ":", ""),
}


def draw_curves(curves: Mapping[str, Sequence[Mapping[str, Any]]], path: Path, title: str = "") -> Path | None:
    """Draw time per image and memory of a step along every axis.

    Parameters
    ----------
    curves : mapping
        From the name of an axis to its points, see `minivit.recipes.speed.curves.point`.
    path : Path
        The file to write.
    title : str
        Such as the model and the processor.

    Returns
    -------
    Path or None
        None if matplotlib is not installed.
    """
    drawing = style()
    if drawing is None:
        return None
    with drawing:
        figure = new_figure(max(6.0, 3.1 * len(curves)), 6.4)
        grid = figure.subplots(2, len(curves), squeeze=False)
        for column, (name, points) in enumerate(curves.items()):
            above, below = grid[0][column], grid[1][column]
            fixed = "" if name == "batch" else f"{points[0]['batch']} images in a step"
            above.set_title(f"{LABELS[name]}\n{fixed}", fontsize=9)
            _draw(above, name, points, "ms_per_image")
            if name == "threads":
                first = points[0]
                ideal = [first["minivit"]["ms_per_image"] * first["value"] / one["value"] for one in points]
                _, colour, line, _ = LINES["ideal"]
                above.plot([one["value"] for one in points], ideal, color=colour, ls=line, label=LINES["ideal"][0])
            _draw(below, name, points, "rss_mb")
            below.set_xlabel(LABELS[name])
            if name == "batch":  # PyTorch's memory grows with it, by far
                below.set_yscale("log")
                below.yaxis.set_major_formatter("{x:g}")
                below.minorticks_off()
                _ticks_of_memory(below, points)
        grid[0][0].set_ylabel("time of a training step per image (ms)")
        grid[1][0].set_ylabel("memory at the peak (MiB)")
        handles: dict[str, Any] = {}
        for axes in grid.flat:
            handles.update(dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True)))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10)
        return save_figure(figure, path)


def _draw(axes: Any, name: str, points: Sequence[Mapping[str, Any]], quantity: str) -> None:
    """A line for each contender, from 0 up."""
    for contender, (label, colour, line, marker) in LINES.items():
        if contender in points[0]:
            values = [one[contender][quantity] for one in points]
            axes.plot([one["value"] for one in points], values, color=colour, ls=line, marker=marker, ms=4, label=label)
    values = [one["value"] for one in points]
    if name in DOUBLING:
        axes.set_xscale("log", base=2)
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)


def _ticks_of_memory(axes: Any, points: Sequence[Mapping[str, Any]]) -> None:
    """Round numbers, each twice the one before, around all that is drawn."""
    drawn = [one[name]["rss_mb"] for one in points for name in LINES if name in one]
    ticks = [50.0]
    while ticks[-1] < max(drawn):
        ticks.append(2 * ticks[-1])
    while len(ticks) > 2 and ticks[1] < min(drawn):
        ticks.pop(0)
    axes.set_ylim(ticks[0], ticks[-1])
    axes.set_yticks(ticks)
