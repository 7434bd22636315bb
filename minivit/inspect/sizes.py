"""Shapes and bytes: how they are counted and how they are written."""

from __future__ import annotations

from typing import Any

Shape = tuple[int, ...]


def memory_of(array: Any) -> tuple[int, int]:
    """Identity and bytes of the memory behind an array: a view keeps all of what it views."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return id(array), int(array.nbytes)


def shape_text(shape: Shape) -> str:
    """As Python writes a tuple: ``(2,)``."""
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"


def bytes_text(size: int) -> str:
    """In the unit in which it reads best, of a thousand each."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if size >= 1000**power:
            return f"{size / 1000**power:.1f} {unit}"
    return f"{size} B"
