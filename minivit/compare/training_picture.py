"""The picture of training parity: both loss curves, and their difference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minivit.compare.training import Parity
from minivit.recipes.figures import COLOURS, GREY, new_figure, save_figure, style


def draw_parity(found: Sequence[Parity], path: Path) -> Path:
    """Draw the loss curves of both, and how far they are apart.

    Parameters
    ----------
    found : sequence of Parity
    path : path
        Its suffix decides on the format.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    drawing = style()
    if drawing is None:
        raise ImportError("pictures are drawn by matplotlib: pip install 'minivit[examples]'")
    with drawing:
        figure = new_figure(7.2, 2.9)
        curves, apart = figure.subplots(1, 2)
        for number, one in enumerate(found):
            name, colour = f"{one.recipe.optimizer}, {one.dtype}", COLOURS[number % len(COLOURS)]
            curves.plot(one.theirs, color=colour, linewidth=3.0, alpha=0.3)
            curves.plot(one.ours, color=colour, linewidth=0.8, label=name)
            steps = np.flatnonzero(one.ours != one.theirs)  # a logarithm has no zero
            apart.semilogy(steps, np.abs(one.ours - one.theirs)[steps], ".", color=colour, markersize=2.5)
        apart.axhline(1e-4, color=GREY, linestyle=":", linewidth=1.0)
        apart.text(0, 6e-5, "allowed", color=GREY, va="top")
        curves.set(xlabel="step", title="loss: minivit (thin) on PyTorch (broad)")
        apart.set(xlabel="step", title="difference of the two losses, where there is one")
        curves.legend(frameon=False, loc="upper right", fontsize=7)
        return save_figure(figure, path)
