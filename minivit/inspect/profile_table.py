"""What a profiler saw as tables: by op, and by layer of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from minivit.inspect.profiler import OpTime, Profiler
from minivit.nn import Module

OUTSIDE_A_LAYER = "(outside the model)"  # the loss


@dataclass
class LayerTime:
    """A layer, or several of one name.

    Attributes
    ----------
    name : str
        Its path in the model; numbers are ``*`` where equal layers of several blocks are taken together.
    layers : int
        How many layers these are.
    forward, backward : OpTime
    """

    name: str
    layers: int = 0
    forward: OpTime = field(default_factory=OpTime)
    backward: OpTime = field(default_factory=OpTime)

    @property
    def both(self) -> OpTime:
        """Forward and backward together."""
        both = OpTime()
        both += self.forward
        both += self.backward
        return both


def layer_times(profiler: Profiler, model: Module, depth: int | None = None, together: bool = False) -> list[LayerTime]:
    """The records of a profiler by layer, in the model's order; what ran outside of it, such as the loss, comes last.

    Parameters
    ----------
    profiler : Profiler
    model : Module
    depth : int, optional
        Levels of the model that are told apart: 1 is the blocks, 2 their attention and perceptron. All by default.
    together : bool
        Take layers that differ only in numbers together, as ``blocks.*.attn.qkv``.

    Raises
    ------
    ValueError
        If the depth is below 1.
    """
    if depth is not None and depth < 1:
        raise ValueError(f"depth has to be at least 1, got {depth}")
    names = _shown_names(model, depth)

    def row_name(path: str) -> str:
        return re.sub(r"\.\d+(?=\.|$)", ".*", path) if together else path

    rows: dict[str, LayerTime] = {}
    layers: dict[str, set[str]] = {}
    for (_, direction, module), entry in profiler.records.items():
        path = OUTSIDE_A_LAYER if module is None else names.get(id(module), type(module).__name__)
        name = row_name(path)
        row = rows.setdefault(name, LayerTime(name))
        layers.setdefault(name, set()).add(path)
        if direction == "forward":
            row.forward += entry
        else:
            row.backward += entry
    order: dict[str, int] = {}
    for path in names.values():
        order.setdefault(row_name(path), len(order))
    for name, row in rows.items():
        row.layers = len(layers[name])
    return sorted(rows.values(), key=lambda row: order.get(row.name, len(order)))


def op_table(profiler: Profiler) -> str:
    """A row for each op and direction, the slowest first, and what is outside the ops."""
    total = profiler.seconds - profiler.own or profiler.total.seconds
    header = ("op", "direction", "calls", "ms", "share", "MB made", "GFLOP", "GFLOP/s")
    ordered = sorted(profiler.times.items(), key=lambda item: -item[1].seconds)
    rows = [(name, direction, str(e.calls), *_cells(e, total)) for (name, direction), e in ordered]
    ops = profiler.total
    rows.append(("all ops", "", str(ops.calls), *_cells(ops, total)))
    labels = {
        "forward": "Python between ops",
        "backward": "the walk, sums and delivery of gradients",
        "rest": "before the first op and after the last",
    }
    for kind, label in labels.items():
        if profiler.outside[kind]:
            rows.append((label, kind.replace("rest", ""), "", *_cells(OpTime(0, profiler.outside[kind]), total)))
    rows.append(("total", "", "", *_cells(OpTime(0, total), total)))
    return _table(header, rows, left=2, rules=(len(profiler.times), len(rows) - 1))


def layer_table(rows: Sequence[LayerTime], total: float) -> str:
    """A row for each layer.

    Parameters
    ----------
    rows : sequence of LayerTime
    total : float
        Seconds that are the whole of which shares are taken.
    """
    header = ("layer", "layers", "forward ms", "backward ms", "share", "MB made", "GFLOP", "GFLOP/s")
    cells = []
    for row in rows:
        _, *others = _cells(row.both, total)
        times = f"{1e3 * row.forward.seconds:.2f}", f"{1e3 * row.backward.seconds:.2f}"
        cells.append((row.name or "(the model itself)", str(row.layers), *times, *others))
    return _table(header, cells, left=1)


def _cells(entry: OpTime, total: float) -> tuple[str, ...]:
    """Milliseconds, share, MB made, GFLOP, GFLOP/s; the last two where there are products."""
    flop = 2 * entry.multiply_adds
    speed = f"{1e-9 * flop / entry.product_seconds:.1f}" if flop and entry.product_seconds else ""
    return (
        f"{1e3 * entry.seconds:.2f}",
        f"{entry.seconds / total if total else 0:.1%}",
        f"{1e-6 * entry.bytes:.2f}" if entry.bytes else "",
        f"{1e-9 * flop:.3f}" if flop else "",
        speed,
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int, rules: Sequence[int] = ()) -> str:
    """Aligned columns, the first `left` to the left; a rule below the header and before the rows in `rules`."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = []
    for row in (header, *rows):
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    for position in sorted((0, *rules), reverse=True):
        lines.insert(position + 1, rule)
    return "\n".join(lines)


def _shown_names(model: Module, depth: int | None) -> dict[int, str]:
    """For each module (by id) the name that it goes under: its own path, or that of the module it is in."""
    names: dict[int, str] = {}

    def visit(module: Module, path: str, shown: str, level: int) -> None:
        if id(module) in names:
            return
        names[id(module)] = shown
        for name, child in module.named_children():
            below = f"{path}.{name}" if path else name
            visit(child, below, below if depth is None or level < depth else shown, level + 1)

    visit(model, "", "", 0)
    return names
