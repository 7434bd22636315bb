"""Models: one family a file, readable in one sitting."""

from minivit.models.positions import resize_positions
from minivit.models.registry import CONFIGS, create, list
from minivit.models.text_transformer import TextTransformer
from minivit.models.transfer import TransferReport, transfer
from minivit.models.vit import VisionTransformer
from minivit.models.whitening import whiten_first_layer

__all__ = [
    "CONFIGS",
    "TextTransformer",
    "TransferReport",
    "VisionTransformer",
    "create",
    "list",
    "resize_positions",
    "transfer",
    "whiten_first_layer",
]
