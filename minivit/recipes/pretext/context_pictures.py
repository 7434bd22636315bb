"""Pictures of context prediction: what is cut from images after each treatment of colours; what was answered."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from minivit.augment.context_colors import COLORS
from minivit.augment.context_patches import CENTRE, NEIGHBOURS, PATCHES, SIDE, ContextPatches, patch_corners
from minivit.backend import Array
from minivit.recipes.figures import BLUE, INK, RED, new_figure, save_figure

TITLES = {
    "none": "standardised",
    "drop": "one channel kept",
    "project": "green against magenta\nprojected out",
    "gray": "grey, or left",
}
CONTRAST = 0.2  # of a standardised patch's deviation, where black to white is 1


def draw_sampler(sampler: ContextPatches, images: Array, index: Array, path: Path, step: int = 0) -> Path:
    """Draw images with their grids of patches, and beside each the patches after every treatment of colours.

    Parameters
    ----------
    sampler : ContextPatches
        Its own treatment is drawn in bold type.
    images : array (B, C, H, H) of uint8
        On the host; a row of the picture each.
    index : array (B,) of integers
        What the random numbers are keyed by.
    path : Path
        The file to write.
    step : int

    Returns
    -------
    Path
        The file. matplotlib has to be installed.
    """
    kinds = [kind for kind in TITLES if kind != "project" or images.shape[1] == 3]
    assert set(TITLES) == set(COLORS)
    grid, rows, columns = sampler.grid, len(images), len(kinds) + 1
    corners = patch_corners(np, grid, seed=sampler.seed, step=step, image_index=index)
    sheets = [dataclasses.replace(sampler, colors=kind, standardize=True)(images, step, index) for kind in kinds]
    figure = new_figure(1.9 * columns, 1.9 * rows + 0.5)
    for row in range(rows):
        axes = figure.add_subplot(rows, columns, 1 + row * columns)
        axes.imshow(_rgb(images[row] / 255.0), interpolation="nearest")
        for patch, (top, left) in enumerate(zip(*(corner[row] for corner in corners), strict=True)):
            outline = RED if patch == CENTRE else BLUE
            axes.add_patch(_box(top, left, grid.patch_size, "white", 2.4))  # seen on any colour
            axes.add_patch(_box(top, left, grid.patch_size, outline, 1.2))
        axes.axis("off")
        if row == 0:
            axes.set_title(f"patches {grid.patch_size} px,\ngap {grid.gap}, jitter {grid.jitter}", fontsize=8)
        for column, (kind, sheet) in enumerate(zip(kinds, sheets, strict=True), 2):
            axes = figure.add_subplot(rows, columns, column + row * columns)
            axes.imshow(_mosaic(sheet[row]), interpolation="nearest")
            axes.axis("off")
            if row == 0:
                weight = "bold" if kind == sampler.colors else "normal"
                axes.set_title(TITLES[kind], fontsize=8, fontweight=weight)
    return save_figure(figure, path)


def draw_answers(answers: np.ndarray, path: Path) -> Path:
    """Draw what was answered about each neighbour, each in its place around the middle patch.

    Parameters
    ----------
    answers : array (8, 8)
        How often neighbour i (row) was taken for neighbour j (column).
    path : Path
        The file to write.

    Returns
    -------
    Path
        The file. matplotlib has to be installed.
    """
    percent = 100 * answers / np.maximum(answers.sum(1, keepdims=True), 1)
    darkest = max(50.0, percent.max())
    figure = new_figure(5.2, 5.4)
    figure.suptitle(
        f"{100 * np.trace(answers) / answers.sum():.1f} % of {answers.sum():,} answers are right. Each square is a\n"
        "neighbour of the middle patch: how often it was taken for which (%)",
        fontsize=9,
    )
    for number, neighbour in enumerate(NEIGHBOURS):
        axes = figure.add_subplot(3, 3, neighbour + 1)
        cells = np.full(PATCHES, np.nan)
        cells[list(NEIGHBOURS)] = percent[number]
        axes.imshow(cells.reshape(SIDE, SIDE), cmap="Blues", vmin=0, vmax=darkest)
        for answer, share in zip(NEIGHBOURS, percent[number], strict=True):
            row, column = divmod(answer, SIDE)
            colour = "white" if share > 0.55 * darkest else INK
            weight = "bold" if answer == neighbour else "normal"
            axes.text(
                column, row, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour, fontweight=weight
            )
        axes.set_xticks([])
        axes.set_yticks([])
    return save_figure(figure, path)


def _box(top: int, left: int, side: int, colour: str, width: float) -> object:
    """The outline of a patch: pixels are drawn around their whole numbers."""
    from matplotlib.patches import Rectangle

    return Rectangle((left - 0.5, top - 0.5), side, side, fill=False, edgecolor=colour, linewidth=width)


def _mosaic(patches: np.ndarray) -> np.ndarray:
    """Nine standardised patches (9, C, p, p) side by side on white, for a picture."""
    p = patches.shape[-1]
    space = max(1, p // 6)
    step = p + space
    sheet = np.ones((3 * p + 2 * space, 3 * p + 2 * space, 3))
    for number, patch in enumerate(patches):
        row, column = divmod(number, 3)
        sheet[row * step : row * step + p, column * step : column * step + p] = _rgb(0.5 + CONTRAST * patch)
    return sheet


def _rgb(image: np.ndarray) -> np.ndarray:
    """(C, H, W) to (H, W, 3) in [0, 1]: what has not three channels is drawn in grey by its first."""
    shown = image if image.shape[0] == 3 else np.repeat(image[:1], 3, axis=0)
    return np.asarray(np.clip(shown.transpose(1, 2, 0), 0.0, 1.0))
