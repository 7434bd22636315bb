"""Weights in and out: minivit's checkpoints, the files of timm, Google, Hugging Face and torchvision; ONNX out."""

from minivit.interop.checkpoint import checkpoint_header
from minivit.interop.errors import WeightsError
from minivit.interop.flavour import flavour_text
from minivit.interop.onnx_export import export_onnx, onnx_model
from minivit.interop.reading import SUFFIXES
from minivit.interop.saving import FORMATS, save
from minivit.interop.weights import load, load_model, read_metadata

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "WeightsError",
    "checkpoint_header",
    "export_onnx",
    "flavour_text",
    "load",
    "load_model",
    "onnx_model",
    "read_metadata",
    "save",
]
