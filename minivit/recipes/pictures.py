"""Pictures of a run: learning curve, confusion matrix, test images and what the model looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from minivit import augment
from minivit.backend import backend_for_device
from minivit.data import Dataset
from minivit.inspect import class_activation, has_class_activation, heat_maps, overlay
from minivit.nn import Module
from minivit.recipes.evaluation import Classification
from minivit.recipes.figures import BLUE, INK, RED, new_figure, save_figure, style
from minivit.recipes.metrics import read_metrics

TRAIN, HELD_OUT = BLUE, RED
CLASSIFICATION = {"loss": "cross-entropy (nats)", "accuracy": "accuracy"}


def draw_run(
    out: Path, model: Module, test_set: Dataset, test: Classification, mean: Sequence[float], std: Sequence[float]
) -> list[Path]:
    """Draw every picture of a finished run into its folder.

    Returns
    -------
    list of Path
        The files, none if matplotlib is not installed.
    """
    drawing = style()
    if drawing is None:
        return []
    with drawing:
        return [
            draw_learning_curve(out / "metrics.jsonl", out / "learning_curve.png"),
            draw_confusion(test.confusion, test_set.classes, test.accuracy, out / "confusion.png"),
            draw_heat(model, test_set, test, mean, std, out / f"{kind_of_heat(model)}.png"),
        ]


def draw_learning_curve(
    metrics: Path, path: Path, titles: Mapping[str, str] = MappingProxyType(CLASSIFICATION)
) -> Path:
    """Measured quantities over epochs, in training and on the held-out examples.

    Parameters
    ----------
    metrics, path : Path
        The log to read, the picture to write.
    titles : mapping of str to str
        What to draw: names in the log, with what stands on the axis.
    """
    records = read_metrics(metrics)
    training = [r for r in records if "loss" in r]
    validation = [r for r in records if "validation_loss" in r]
    figure = new_figure(4.5 * len(titles), 3.4)
    for place, (name, title) in enumerate(titles.items(), 1):
        axes = figure.add_subplot(1, len(titles), place)
        axes.plot([r["epoch"] for r in training], [r[name] for r in training], color=TRAIN, lw=1, label="training")
        if validation:
            held_out = [r[f"validation_{name}"] for r in validation]
            axes.plot([r["epoch"] for r in validation], held_out, color=HELD_OUT, marker="o", ms=3, label="validation")
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    return save_figure(figure, path)


def draw_confusion(confusion: np.ndarray, classes: Sequence[str], accuracy: float, path: Path) -> Path:
    """Confusion matrix: rows are the true classes, each row adds up to 100 %."""
    count = len(classes)
    share = 100.0 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side = min(14.0, 2.0 + 0.5 * count)
    figure = new_figure(side + 0.8, side)
    axes = figure.add_subplot(1, 1, 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    if count <= 20:
        for i in range(count):
            for j in range(count):
                if share[i, j] >= 0.5:
                    axes.text(
                        j,
                        i,
                        f"{share[i, j]:.0f}",
                        ha="center",
                        va="center",
                        fontsize=7,
                        color="white" if share[i, j] > 55 else INK,
                    )
    if count <= 40:
        axes.set_xticks(range(count), classes, rotation=60, ha="right")
        axes.set_yticks(range(count), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{100 * accuracy:.2f} % of {int(confusion.sum())} test images")
    return save_figure(figure, path)


def kind_of_heat(model: Module) -> str:
    """What shows where a model looks: "class_activation" of a ResNet, "attention" of a Transformer."""
    return "class_activation" if has_class_activation(model) else "attention"


def draw_heat(
    model: Module,
    test_set: Dataset,
    test: Classification,
    mean: Sequence[float],
    std: Sequence[float],
    path: Path,
    count: int = 10,
) -> Path:
    """Test images, and below each what its prediction looks at.

    Of a Transformer, attention rolled out over the blocks; of a ResNet, the class activation map of its prediction.
    """
    chosen = np.linspace(0, len(test_set) - 1, count).astype(int)
    images = test_set.images[chosen]  # (n, C, H, W)
    model_input = backend_for_device(model.device).from_host(augment.normalize(images, mean, std), model.device)
    if kind_of_heat(model) == "class_activation":
        heat = class_activation(model, model_input).maps[:, 0]  # (n, rows, columns)
    else:
        heat = heat_maps(model, model_input).rollout  # (n, rows, columns)
    figure = new_figure(1.25 * count, 3.0)
    for column, index in enumerate(chosen):
        pixels = images[column].transpose(1, 2, 0) / 255.0  # (H, W, C)
        pixels = pixels if pixels.shape[2] == 3 else np.repeat(pixels[:, :, :1], 3, axis=2)
        for row, picture in enumerate((pixels, overlay(pixels, heat[column]))):
            axes = figure.add_subplot(2, count, 1 + column + row * count)
            axes.imshow(picture, interpolation="nearest")
            axes.axis("off")
            if row == 0:
                right = test.predictions[index] == test_set.labels[index]
                axes.set_title(test_set.classes[test.predictions[index]], fontsize=7, color=INK if right else HELD_OUT)
    return save_figure(figure, path)
