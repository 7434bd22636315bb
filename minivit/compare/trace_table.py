"""A trace as a table to print."""

from __future__ import annotations

from minivit.compare.trace import Trace, is_below


def show(found: Trace, everything: bool = False) -> str:
    """A trace as a table.

    Parameters
    ----------
    found : Trace
    everything : bool
        Every module; by default blocks and what is beside them, and what is inside the one where the two part.

    Returns
    -------
    str
    """
    guilty = found.guilty
    stacked = {"blocks", "layer1", "layer2", "layer3", "layer4", "block1", "block2", "block3"}

    def shown(name: str) -> bool:
        parts = name.split(".")
        outer = ".".join(parts[: 2 if parts[0] in stacked else 1])
        inside = guilty is not None and (guilty.name == outer or is_below(guilty.name, outer)) and bool(outer)
        return everything or name == outer or inside

    steps = [step for step in found.steps if shown(step.name)]
    width = max(len(step.name) for step in steps)
    heads = ("output: absolute", "relative", "ulps", "gradient: relative", "ulps", "parameters: relative")
    lines = [f"{'module':{width}s}  " + "  ".join(f"{head:>9s}" for head in heads)]
    for step in steps:
        values = (
            step.made.absolute,
            step.made.relative,
            step.made.ulps,
            step.gradient_given.relative,
            step.gradient_given.ulps,
            step.parameters.relative,
        )
        cells = "  ".join(f"{f'{value:.1e}':>{max(9, len(head))}s}" for value, head in zip(values, heads, strict=True))
        mark = "  <- here" if step is guilty else ""
        lines.append(f"{step.name or '(model)':{width}s}  {cells}{mark}")
    return "\n".join([*lines, "", found.verdict])
