"""Weights in and out: minivit's own checkpoints, and the files of timm, DeiT, Google, Hugging Face and torchvision."""

from minivit.interop.checkpoint import checkpoint_header
from minivit.interop.errors import WeightsError
from minivit.interop.flavour import flavour_text
from minivit.interop.reading import SUFFIXES
from minivit.interop.saving import FORMATS, save
from minivit.interop.weights import load, load_model, read_metadata

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "WeightsError",
    "checkpoint_header",
    "flavour_text",
    "load",
    "load_model",
    "read_metadata",
    "save",
]
