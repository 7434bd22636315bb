"""A picture of what UDA's loss was made of while a run went on."""

from __future__ import annotations

from pathlib import Path

from minivit.recipes.figures import COLOURS, new_figure, save_figure, style
from minivit.recipes.metrics import read_metrics

PANELS = {
    "terms of the loss (nats)": ("supervised_loss", "consistency_loss", "entropy_loss"),
    "shares of the batch": ("accuracy", "kept_share", "confident_share", "agreement"),
    "the teacher": ("original_confidence", "original_entropy", "tsa_threshold"),
}


def draw_quantities(metrics: Path, path: Path) -> Path | None:
    """Draw every named quantity of the loss over the steps.

    Parameters
    ----------
    metrics : Path
        The log of a run.
    path : Path
        The file to write.

    Returns
    -------
    Path or None
        None if matplotlib is not installed.
    """
    drawing = style()
    if drawing is None:
        return None
    records = [record for record in read_metrics(metrics) if "loss" in record]
    steps = [record["step"] for record in records]
    with drawing:
        figure = new_figure(11, 3.2)
        for place, (title, names) in enumerate(PANELS.items(), start=1):
            axes = figure.add_subplot(1, len(PANELS), place)
            for name, colour in zip(names, COLOURS, strict=False):
                if all(name in record for record in records):
                    values = [record[name] for record in records]
                    axes.plot(steps, values, color=colour, lw=1.2, label=name.replace("_", " "))
            axes.set_ylim(bottom=0)
            axes.set_xlabel("step")
            axes.set_title(title, loc="left", fontsize=9)
            axes.grid(alpha=0.25)
            axes.legend(frameon=False, fontsize=8)
        return save_figure(figure, path)
