"""Test accuracy over the size of the training set, for several models and augmentations at one budget."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from minivit.recipes.figures import BLUE, COLOURS, INK, RED, new_figure, save_figure, style

# How each family is trained, beside the data set's preset. With 5,000 images of CIFAR-10, on held-out ones: a ViT was
# tried with these settings alone, a ResNet with these and with SGD; a wide ResNet takes the ResNet's, untried.
TRAINING: dict[str, dict[str, Any]] = {
    "VisionTransformer": {"optimizer": "muon", "learning_rate": 2e-3},
    "ResNet": {"optimizer": "adamw", "learning_rate": 5e-3},
    "WideResNet": {"optimizer": "adamw", "learning_rate": 5e-3},
}

# What augmentation changes of a data set's preset.
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "none": {"crop": 0, "flip": False, "cutout": 0, "mixup": 0.0},
    "strong": {"crop": 4, "flip": True, "cutout": 8, "mixup": 0.2},
}


def curves(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds.

    Parameters
    ----------
    records : iterable of mappings
        One a run, with ``model``, ``augmentation``, ``training_images``, ``seed`` and ``test_accuracy``.

    Returns
    -------
    list of dict
        One for each model and augmentation, in the order in which they come: their names, and ``points``, by rising
        ``training_images``, each with the ``test_accuracy`` of each ``seed``, its ``mean`` and, from two seeds on, its
        ``standard_error``.
    """
    runs: dict[tuple[str, str], dict[int, dict[int, float]]] = {}
    for record in records:
        sizes = runs.setdefault((record["model"], record["augmentation"]), {})
        sizes.setdefault(record["training_images"], {})[record["seed"]] = record["test_accuracy"]
    return [
        {
            "model": model,
            "augmentation": augmentation,
            "points": [_point(size, sizes[size]) for size in sorted(sizes)],
        }
        for (model, augmentation), sizes in runs.items()
    ]


def _point(size: int, by_seed: Mapping[int, float]) -> dict[str, Any]:
    values = [by_seed[seed] for seed in sorted(by_seed)]
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return {
        "training_images": size,
        "seed": sorted(by_seed),
        "test_accuracy": values,
        "mean": statistics.fmean(values),
        "standard_error": error,
    }


def crossings(found: Sequence[Mapping[str, Any]], first: str, second: str) -> list[dict[str, Any]]:
    """Where the better of two models changes.

    Parameters
    ----------
    found : sequence
        From `curves`.
    first, second : str
        Models.

    Returns
    -------
    list of dict
        One for each augmentation: ``augmentation``, the ``lead`` of the first model by rising size (mean accuracy minus
        the second's) and ``between``, pairs of neighbouring sizes between which the lead changes its sign.
    """
    by_name = {
        (curve["model"], curve["augmentation"]): {p["training_images"]: p["mean"] for p in curve["points"]}
        for curve in found
    }
    result = []
    for augmentation in dict.fromkeys(curve["augmentation"] for curve in found):
        one, other = by_name.get((first, augmentation), {}), by_name.get((second, augmentation), {})
        sizes = sorted(one.keys() & other.keys())
        lead = [one[size] - other[size] for size in sizes]
        changes = [[sizes[i], sizes[i + 1]] for i in range(len(sizes) - 1) if lead[i] * lead[i + 1] < 0]
        result.append({"augmentation": augmentation, "training_images": sizes, "lead": lead, "between": changes})
    return result


def by_size(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The curves by rising size.

    Returns
    -------
    list of dict
        ``training_images``, and ``mean``: by augmentation, then by model, the mean accuracy; what was not run is left
        out.
    """
    rows: dict[int, dict[str, dict[str, float]]] = {}
    for curve in found:
        for point in curve["points"]:
            means = rows.setdefault(point["training_images"], {})
            means.setdefault(curve["augmentation"], {})[curve["model"]] = point["mean"]
    return [{"training_images": size, "mean": rows[size]} for size in sorted(rows)]


def size_table(found: Sequence[Mapping[str, Any]]) -> str:
    """The curves as a Markdown table: a row for each size."""
    header = ["training images", *(f"{curve['model']}, {curve['augmentation']}" for curve in found)]
    rows = [header, ["---"] * len(header)]
    for row in by_size(found):
        means = [row["mean"].get(curve["augmentation"], {}).get(curve["model"]) for curve in found]
        cells = ["" if mean is None else f"{100 * mean:.1f} %" for mean in means]
        rows.append([f"{row['training_images']:,}", *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def draw_sizes(found: Sequence[Mapping[str, Any]], path: Path, title: str = "") -> Path | None:
    """Draw accuracy over the number of training images, and the lead of the second model over the first.

    Parameters
    ----------
    found : sequence
        From `curves`; the models in the order of their colours. Other augmentations than the first are drawn dashed.
    path : Path
    title : str

    Returns
    -------
    Path or None
        None if matplotlib is not installed.
    """
    drawing = style()
    if drawing is None:
        return None
    models = list(dict.fromkeys(curve["model"] for curve in found))
    augmentations = list(dict.fromkeys(curve["augmentation"] for curve in found))
    colours = dict(zip(models, (BLUE, RED, *COLOURS[2:]), strict=False))
    lines = dict(zip(augmentations, ("-", "--", ":", "-."), strict=False))
    with drawing:
        figure = new_figure(9.5, 4)
        axes = figure.add_subplot(1, 2, 1)
        for curve in found:
            points = curve["points"]
            axes.errorbar(
                [p["training_images"] for p in points],
                [100 * p["mean"] for p in points],
                yerr=[100 * (p["standard_error"] or 0) for p in points],
                color=colours[curve["model"]],
                ls=lines[curve["augmentation"]],
                marker="o",
                ms=3.5,
                capsize=2,
                label=f"{curve['model']}, augmentation: {curve['augmentation']}",
            )
        axes.set_ylabel("test accuracy (%)")
        axes.set_title(title, loc="left", fontsize=9)
        axes.legend(frameon=False, fontsize=8)
        lead = figure.add_subplot(1, 2, 2)
        if len(models) > 1:
            for crossing in crossings(found, models[1], models[0]):
                lead.plot(
                    crossing["training_images"],
                    [100 * value for value in crossing["lead"]],
                    color=INK,
                    ls=lines[crossing["augmentation"]],
                    marker="o",
                    ms=3.5,
                    label=f"augmentation: {crossing['augmentation']}",
                )
            lead.axhline(0, color=INK, lw=0.8)
            lead.set_ylabel(f"lead of {models[1]} (points)")
            lead.legend(frameon=False, fontsize=8)
        for each in (axes, lead):
            each.set_xscale("log")
            each.set_xlabel("training images")
            each.grid(alpha=0.25)
        return save_figure(figure, path)
