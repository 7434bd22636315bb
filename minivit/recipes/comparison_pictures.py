"""Pictures of a comparison: methods beside each other with their seeds and errors, variants below each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from minivit.recipes.comparison import in_percent, in_words
from minivit.recipes.figures import BLUE, COLOURS, INK, RED, new_figure, save_figure, style


def draw_comparison(
    summaries: Mapping[str, Mapping[str, Any]], path: Path, *, chance: float | None = None, title: str = ""
) -> Path | None:
    """Draw each method's accuracy as a bar from 0, with its standard error and a dot for every seed.

    Parameters
    ----------
    summaries : mapping
        From a name, such as ``"40 labels"``, to what `compare_methods` returned; drawn side by side in this order.
    path : Path
        The file to write.
    chance : float, optional
        Accuracy of guessing, drawn as a line.
    title : str
        Such as the data set and the number of its test images.

    Returns
    -------
    Path or None
        None if matplotlib is not installed.
    """
    drawing = style()
    if drawing is None:
        return None
    names = list(dict.fromkeys(name for summary in summaries.values() for name in summary["methods"]))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    with drawing:
        figure = new_figure(
            max(4.4, 1.2 + 0.8 * sum(len(summary["methods"]) + 0.6 for summary in summaries.values())), 4
        )
        axes = figure.add_subplot(1, 1, 1)
        left, ticks = 0.0, {}
        for group, summary in summaries.items():
            methods = summary["methods"]
            places = {name: left + number for number, name in enumerate(methods)}
            for name, place in places.items():
                _draw_bar(axes, place, methods[name], colours[name])
                ticks[place] = in_words(name).replace(" ", "\n")
            _draw_pairs(axes, places, summary)
            middle = left + (len(methods) - 1) / 2
            axes.text(middle, -0.14, group, transform=axes.get_xaxis_transform(), ha="center", va="top", weight="bold")
            left += len(methods) + 0.6
        axes.set_ylim(0, 112)  # room for a number above a bar of 100 %
        axes.set_yticks(range(0, 101, 20))
        axes.spines["left"].set_bounds(0, 100)
        axes.set_xlim(-0.7, left - 0.9)
        axes.set_xticks([*ticks], [*ticks.values()])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("test accuracy (%)")
        axes.set_title(title, loc="left", fontsize=9)
        handles, labels = axes.get_legend_handles_labels()
        if chance is not None:
            line = axes.axhline(100 * chance, color=INK, lw=0.9, ls="--")
            handles, labels = [*handles, line], [*labels, "chance"]
        legend = dict(zip(labels, handles, strict=True))
        figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
        return save_figure(figure, path)


_BESIDE = 0.18  # of a bar's middle: the standard error stands to the left, the seeds to the right


def _draw_bar(axes: Any, place: float, found: Mapping[str, Any], colour: str) -> None:
    """The mean as a bar from 0, its standard error, the single seeds and the numbers."""
    mean, error = 100 * found["mean"], 100 * (found["standard_error"] or 0)
    seeds = [100 * accuracy for accuracy in found["test_accuracy"]]
    axes.bar(place, mean, 0.8, color=colour, alpha=0.35)
    axes.hlines(mean, place - 0.4, place + 0.4, color=colour, lw=2)
    if error:
        axes.errorbar(place - _BESIDE, mean, error, color=INK, capsize=3, lw=1.2, label="standard error")
    axes.plot([place + _BESIDE] * len(seeds), seeds, "o", ms=4.5, color=INK, mec="white", mew=0.6, label="one seed")
    text = in_percent(found, decimals=1).replace(" ±", "\n±")
    axes.text(place, max(mean + error, *seeds) + 1.5, text, ha="center", va="bottom", fontsize=8, color=INK)


def _draw_pairs(axes: Any, places: Mapping[str, float], summary: Mapping[str, Any]) -> None:
    """A thin line from the baseline to the method for each seed: rising, where the seed is above its pair."""
    pair = [summary["baseline"], summary["method"]]
    ends = [places[name] + _BESIDE for name in pair]
    for values in zip(*(summary["methods"][name]["test_accuracy"] for name in pair), strict=True):
        axes.plot(ends, [100 * value for value in values], color=INK, lw=0.6, alpha=0.6)


def draw_ablation(
    methods: Mapping[str, Mapping[str, Any]],
    path: Path,
    *,
    reference: str = "uda",
    chance: float | None = None,
    title: str = "",
) -> Path | None:
    """Draw variants of a method below each other, best first, against the full method.

    Differences between variants can be small, so the axis shows the range of the data (at least ten points wide), not
    all from 0: each row says its number.

    Parameters
    ----------
    methods : mapping
        From a variant's name to what `summarize` found for it. Underscores in names are drawn as spaces.
    path : Path
        The file to write.
    reference : str
        The full method, drawn as a line with a band of its standard error.
    chance : float, optional
        Accuracy of guessing, drawn as a line where it lies within the range.
    title : str
        Such as the data set, the number of labels and of test images.

    Returns
    -------
    Path or None
        None if matplotlib is not installed.

    Raises
    ------
    ValueError
        If the reference is not among the methods.
    """
    if reference not in methods:
        raise ValueError(f"no method {reference!r} to refer to; there is {', '.join(methods)}")
    drawing = style()
    if drawing is None:
        return None
    rows = sorted(methods.items(), key=lambda row: -row[1]["mean"])
    full, band = 100 * methods[reference]["mean"], 100 * (methods[reference]["standard_error"] or 0)
    low, high = _ablation_range(methods.values())
    with drawing:
        figure = new_figure(7, 1.1 + 0.34 * len(rows))
        axes = figure.add_subplot(1, 1, 1)
        axes.axvline(full, color=BLUE, lw=1)
        axes.axvspan(full - band, full + band, color=BLUE, alpha=0.15, lw=0)
        if chance is not None and low <= 100 * chance <= high:
            axes.axvline(100 * chance, color=INK, lw=0.9, ls="--")
            axes.text(100 * chance, -0.9, "chance", fontsize=8, ha="center", va="bottom", color=INK)
        for row, (name, found) in enumerate(rows):
            mean, error = 100 * found["mean"], 100 * (found["standard_error"] or 0)
            colour = BLUE if name == reference else RED
            seeds = [100 * accuracy for accuracy in found["test_accuracy"]]
            axes.plot(seeds, [row] * len(seeds), "o", ms=3.5, color=colour, alpha=0.4, mew=0)
            axes.errorbar(mean, row, xerr=error or None, fmt="o", ms=6, color=colour, capsize=3, lw=1.4)
            axes.annotate(
                in_percent(found, decimals=1), (1.01, row), xycoords=("axes fraction", "data"), fontsize=8, va="center"
            )
        axes.set_xlim(low, high)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [in_words(name) for name, _ in rows])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", alpha=0.25)
        axes.set_xlabel("test accuracy (%), mean with its standard error; small dots: single seeds")
        axes.set_title(title, loc="left", fontsize=9)
        return save_figure(figure, path)


def _ablation_range(methods: Iterable[Mapping[str, Any]]) -> tuple[float, float]:
    """An axis in percent around all seeds and errors: at least ten points wide, hardly beyond 100."""
    values = [100 * accuracy for found in methods for accuracy in found["test_accuracy"]]
    low, high = min(values), max(values)
    half = max(10.0, 1.1 * (high - low)) / 2
    middle = min(max((low + high) / 2, half), 101 - half)
    return middle - half, middle + half
