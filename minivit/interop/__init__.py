"""Weights in and out: minivit's own checkpoints, and files with timm's names, as DeiT's and torchvision's are."""

from minivit.interop.checkpoint import checkpoint_header
from minivit.interop.errors import WeightsError
from minivit.interop.weights import SUFFIXES, load, load_model, save

__all__ = ["SUFFIXES", "WeightsError", "checkpoint_header", "load", "load_model", "save"]
