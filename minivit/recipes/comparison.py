"""Methods compared over seeds: means and standard errors, differences paired by seed, a table.

Two runs with one seed share the weights they start from, the held-out images and the labelled ones, so that the
difference between methods is taken within each seed: what a lucky choice of labels adds to both cancels.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_DECIMALS = 12  # accuracies are counts over counts: what differs only further on is rounding, and equal


def summarize(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean and spread of each method's test accuracy over its seeds.

    Parameters
    ----------
    records : iterable of mappings
        One a run, with at least ``method``, ``seed`` and ``test_accuracy``, a fraction from 0 to 1.

    Returns
    -------
    dict
        For each method, in the order in which they come: ``n``; ``seed``, rising; ``test_accuracy`` of each seed;
        ``mean``; ``standard_deviation`` of the sample (divided by n - 1); and ``standard_error`` of the mean. The last
        two are None where n is 1.

    Raises
    ------
    ValueError
        If there is no record, one lacks a field, an accuracy is no fraction, or a method has a seed twice.
    """
    runs: dict[str, dict[int, float]] = {}
    for number, record in enumerate(records):
        missing = [name for name in ("method", "seed", "test_accuracy") if name not in record]
        if missing:
            raise ValueError(f"record number {number} has no {', '.join(missing)}; it has {', '.join(record)}")
        method, seed, accuracy = record["method"], record["seed"], record["test_accuracy"]
        if not isinstance(accuracy, int | float) or not 0 <= accuracy <= 1:
            raise ValueError(f"{method}, seed {seed}: expected a test accuracy from 0 to 1, got {accuracy!r}")
        seeds = runs.setdefault(method, {})
        if seed in seeds:
            raise ValueError(f"{method} has seed {seed} twice: leave out one of the two runs")
        seeds[seed] = float(accuracy)
    if not runs:
        raise ValueError("expected the record of at least one run, got none")
    return {
        method: {"n": len(seeds), "seed": sorted(seeds), "test_accuracy": (values := [seeds[s] for s in sorted(seeds)])}
        | _spread(values)
        for method, seeds in runs.items()
    }


def _spread(values: Sequence[float]) -> dict[str, float | None]:
    """Mean, sample standard deviation s = sqrt(sum (x - mean)^2 / (n - 1)), and its error s / sqrt(n)."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {
        "mean": statistics.fmean(values),
        "standard_deviation": deviation,
        "standard_error": None if deviation is None else deviation / math.sqrt(len(values)),
    }


def compare_methods(
    records: Iterable[Mapping[str, Any]], baseline: str = "supervised", method: str = "uda"
) -> dict[str, Any]:
    """Compare a method with a baseline, seed by seed.

    Parameters
    ----------
    records : iterable of mappings
        As for `summarize`. Other methods than the two are summarised beside them, with whatever seeds they have.
    baseline, method : str

    Returns
    -------
    dict
        Ready for a result file:

        ``baseline``, ``method``
            Their names.
        ``methods``
            As from `summarize`; the baseline first, then the method, then the others as they come.
        ``difference``
            Of the method's accuracy and the baseline's: ``n``, ``seed`` and ``values`` of each seed, ``mean``,
            ``standard_deviation``, ``standard_error``; ``every_seed_above``, whether all values are above 0;
            ``mean_over_error``, the mean in standard errors; and ``clear``, whether every seed is above and the mean
            is more than twice its standard error.

        With one seed there is no error: what depends on it is None, and nothing is clear. Where all differences are
        equal the error is 0, ``mean_over_error`` is None, and the difference is clear if it is above 0.

    Raises
    ------
    ValueError
        As `summarize` does; or if one of the two has no run, or has a seed that the other has not.
    """
    methods = summarize(records)
    for name in (baseline, method):
        if name not in methods:
            raise ValueError(f"no run of {name!r} to compare; there is {', '.join(methods)}")
    below, above = (
        dict(zip(methods[name]["seed"], methods[name]["test_accuracy"], strict=True)) for name in (baseline, method)
    )
    lonely = [f"{method}, seed {seed}" for seed in below if seed not in above]
    lonely += [f"{baseline}, seed {seed}" for seed in above if seed not in below]
    if lonely:
        raise ValueError(
            f"differences are taken within a seed, but these runs are missing: {'; '.join(lonely)}. Make them, "
            "or leave their partners out"
        )
    values = [round(above[seed] - below[seed], _DECIMALS) for seed in below]
    spread = _spread(values)
    mean, error = spread["mean"], spread["standard_error"]
    assert mean is not None
    all_above = min(values) > 0
    return {
        "baseline": baseline,
        "method": method,
        "methods": {name: methods[name] for name in dict.fromkeys([baseline, method, *methods])},
        "difference": {
            "n": len(values),
            "seed": list(below),
            "values": values,
            **spread,
            "every_seed_above": all_above,
            "mean_over_error": mean / error if error else None,
            "clear": error is not None and all_above and mean > 2 * error,
        },
    }


def comparison_table(summary: Mapping[str, Any]) -> str:
    """What `compare_methods` found, as a Markdown table and a sentence."""
    rows = [["method", "seeds", "test accuracy", "of each seed"], ["---"] * 4]
    for name, found in summary["methods"].items():
        each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in found["test_accuracy"])
        rows.append([in_words(name), str(found["n"]), f"{in_percent(found)} %", each])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    difference = summary["difference"]
    gains = ", ".join(f"{100 * value:+.2f}" for value in difference["values"])
    verdict = "every seed above its pair" if difference["every_seed_above"] else "not every seed above its pair"
    if difference["mean_over_error"] is not None:
        verdict += f", mean {difference['mean_over_error']:.1f} standard errors from 0"
    pair = f"{in_words(summary['method'])} - {in_words(summary['baseline'])}"
    gain = f"{in_percent(difference, '+')} points ({gains})"
    return "\n".join([*lines, "", f"{pair}: {gain}; {verdict}. ± is the standard error."])


def in_words(name: str) -> str:
    """A method's name as people write it: ``fully_supervised`` -> ``fully supervised``, ``uda`` -> ``UDA``."""
    return "UDA" if name == "uda" else name.replace("_", " ")


def in_percent(found: Mapping[str, Any], sign: str = "", decimals: int = 2) -> str:
    """A mean with its standard error, times a hundred: ``97.12 ± 0.30``, or ``97.12`` where one seed tells no error."""
    text = f"{100 * found['mean']:{sign}.{decimals}f}"
    return text if found["standard_error"] is None else f"{text} ± {100 * found['standard_error']:.{decimals}f}"
