"""What all pictures of recipes share: colours, style, a figure without a window, files that are whole."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from minivit.files import written_whole

INK, BLUE, RED, GREY = "#333333", "#4477aa", "#cc6677", "#999999"
COLOURS = (RED, BLUE, GREY, "#ddaa33", "#117733", "#aa4499")


def style() -> AbstractContextManager[None] | None:
    """The style that pictures are drawn in, to enter; None if matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    return mpl.rc_context({"backend": "agg", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure, whole or not at all, in the format of the path's suffix."""
    with written_whole(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png")
    return path
