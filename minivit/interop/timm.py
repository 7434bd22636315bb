"""Vision Transformers with timm's names, as timm and DeiT write them: the names that minivit's models use themselves.

The flavour is timm's: exact GELU, LayerNorm eps 1e-6 (timm/layers/norm.py). Which model it is, is told from the shapes.
A config.json beside the file, as timm writes it for the Hugging Face hub, adds mean, std and the share that is cropped.
"""

from __future__ import annotations

from typing import Any

from minivit.interop.companion import read_beside
from minivit.interop.contents import Contents, WeightsFile
from minivit.interop.errors import WeightsError
from minivit.interop.flavour import CONVENTION, SHAPES, described, model_facts, statistics
from minivit.interop.shapes import rows, settings_of

FLAVOUR: dict[str, Any] = {"gelu": "none", "eps": 1e-6}


def recognises(file: WeightsFile) -> bool:
    """Whether the names are timm's for a Vision Transformer."""
    return any(name.startswith("blocks.0.") for name in file.arrays)


def read(file: WeightsFile) -> Contents:
    """The weights, and the model that has their shapes (no settings if its number of heads is not known).

    Raises
    ------
    WeightsError
        If they are of a variant that `minivit.models.VisionTransformer` is not, or config.json is damaged.
    """
    distilled = [name for name in file.arrays if name.startswith(("dist_token", "head_dist"))]
    if distilled:
        raise WeightsError(
            f"{file.path} is a distilled DeiT ({', '.join(distilled)}), which has a second head; "
            "take the weights of the plain one"
        )
    config = settings_of(file.arrays, None, **FLAVOUR)
    flavour = {**FLAVOUR, "representation_size": rows(file.arrays, "pre_logits.fc.weight") or None}
    settings = config or {**flavour, "num_classes": rows(file.arrays, "head.weight")}
    facts = {**model_facts(settings, CONVENTION, SHAPES), **_hub_facts(file)}
    return Contents(file.arrays, "VisionTransformer", config, flavour=flavour, metadata=described("timm", facts))


def _hub_facts(file: WeightsFile) -> dict[str, tuple[Any, str]]:
    """What timm's config.json says of the pixels."""
    beside = file.path.with_name("config.json")
    found = read_beside(file.path, beside.name)
    if found is None or "architecture" not in found:  # none of timm's
        return {}
    pixels = found.get("pretrained_cfg", found)
    if not isinstance(pixels, dict):
        raise WeightsError(f"{beside}: pretrained_cfg has to be an object")
    facts: dict[str, tuple[Any, str]] = {}
    patch = file.arrays.get("patch_embed.proj.weight")
    channels = patch.shape[1] if patch is not None and patch.ndim == 4 else 3
    for name in ("mean", "std"):
        if name in pixels:
            facts[name] = list(statistics(pixels[name], channels, name, beside)), "config.json"
    crop = pixels.get("crop_pct")
    if isinstance(crop, int | float) and 0 < crop <= 1:
        facts["crop_fraction"] = float(crop), "config.json"
        facts["preprocessing"] = "timm", "config.json"
    return facts
