"""The flavour of weights: what a model has to know beside the arrays, and where each fact was found.

The same shapes serve models that compute different things: GELU exact or by tanh, LayerNorms with an epsilon of 1e-6,
1e-5 or 1e-12, a head on the class token or on a further map of it, pixels normalised by 0.5 or by ImageNet's mean and
std.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minivit.interop.errors import WeightsError

CONVENTION = "convention"  # what the format's own code does where its files say nothing
SHAPES = "shapes"

Facts = Mapping[str, tuple[Any, str]]


def described(format: str, facts: Facts) -> dict[str, Any]:
    """The metadata of a file: its flavour in words, and what programs use.

    Parameters
    ----------
    format : str
    facts : mapping of str to (value, where it was found)
        The names ``mean``, ``std``, ``classes``, ``preprocessing`` and ``crop_fraction`` become metadata.

    Returns
    -------
    dict
        With ``flavour``: name -> text such as ``"erf (config.json)"``.
    """
    used = {name: value for name, (value, _) in facts.items() if name in USED}
    words = {name: f"{_words(name, value)} ({source})" for name, (value, source) in facts.items() if name != "classes"}
    return {**used, "flavour": {"format": format, **words}}


USED = ("mean", "std", "classes", "preprocessing", "crop_fraction")


def model_facts(settings: Mapping[str, Any], source: str, heads: str) -> dict[str, tuple[Any, str]]:
    """GELU, epsilon, heads, head and pre_logits of a Vision Transformer.

    Parameters
    ----------
    settings : mapping
    source, heads : str
        Where GELU and epsilon were found, and where the number of heads.
    """
    classes, representation = settings.get("num_classes"), settings.get("representation_size")
    return {
        "gelu": ("erf" if settings["gelu"] == "none" else "tanh", source),
        "eps": (settings["eps"], source),
        "heads": (settings.get("heads", "unknown"), heads),
        "head": (f"{classes} classes" if classes else "none", SHAPES),
        "pre_logits": (f"{representation}, tanh" if representation else "none", SHAPES),
    }


def flavour_text(metadata: Mapping[str, Any]) -> str:
    """The flavour that `load_model` found, in one line; empty for minivit's own files, which state their settings.

    Parameters
    ----------
    metadata : mapping
        As `load_model` returns it.
    """
    flavour = metadata.get("flavour")
    if not isinstance(flavour, Mapping):
        return ""
    facts = ", ".join(f"{name} {text}" for name, text in flavour.items() if name != "format")
    return f"weights of format {flavour.get('format')}: {facts}"


def statistics(values: Any, count: int, name: str, path: Path) -> tuple[float, ...]:
    """Mean or std out of a configuration, checked.

    Raises
    ------
    WeightsError
        If they are not `count` finite numbers, or a std is not above 0.
    """
    fits = (
        isinstance(values, Sequence)
        and len(values) == count
        and all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    )
    if not fits or (name.endswith("std") and min(values) <= 0):
        raise WeightsError(f"{path}: {name} has to be {count} finite numbers, got {str(values)[:80]}")
    return tuple(float(v) for v in values)


def _words(name: str, value: Any) -> str:
    if name in ("mean", "std"):
        return " ".join(f"{number:g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
