"""Pictures of a transfer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minivit.data import Dataset
from minivit.recipes.figures import INK, RED, new_figure, save_figure


def draw_neighbours(
    queries: Dataset, bank: Dataset, neighbours: np.ndarray, path: Path, rows: int = 8, columns: int = 8
) -> Path:
    """Images, each with the training images whose features are most like its own.

    Parameters
    ----------
    queries, bank : Dataset
    neighbours : array (N, k)
        Where they are in the bank, most similar first.
    path : Path
    rows, columns : int
        Images that are shown, and neighbours of each, at most.
    """
    chosen = np.linspace(0, len(queries) - 1, min(rows, len(queries))).astype(int)
    columns = min(columns, neighbours.shape[1])
    figure = new_figure(1.15 * (columns + 1), 1.3 * len(chosen))
    for row, index in enumerate(chosen):
        label = queries.labels[index]
        shown = [(queries.images[index], label)]
        shown += [(bank.images[place], bank.labels[place]) for place in neighbours[index, :columns]]
        for column, (image, its_label) in enumerate(shown):
            axes = figure.add_subplot(len(chosen), columns + 1, 1 + column + row * (columns + 1))
            pixels = np.repeat(image, 3 // image.shape[0], 0).transpose(1, 2, 0)  # (C, H, W) -> (H, W, 3)
            axes.imshow(pixels, interpolation="nearest")
            axes.axis("off")
            name = bank.classes[its_label]
            title = f"{name}:" if column == 0 else name
            axes.set_title(title, fontsize=7, color=INK if its_label == label else RED)
    return save_figure(figure, path)
