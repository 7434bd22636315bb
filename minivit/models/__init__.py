"""Models: one family a file, readable in one sitting."""

from minivit.models.positions import resize_positions
from minivit.models.registry import CONFIGS, create, find, list, settings
from minivit.models.resnet import ResNet
from minivit.models.text_transformer import TextTransformer
from minivit.models.transfer import TransferReport, transfer
from minivit.models.vit import VisionTransformer
from minivit.models.whitening import whiten_first_layer
from minivit.models.wide_resnet import WideResNet

__all__ = [
    "CONFIGS",
    "ResNet",
    "TextTransformer",
    "TransferReport",
    "VisionTransformer",
    "WideResNet",
    "create",
    "find",
    "list",
    "resize_positions",
    "settings",
    "transfer",
    "whiten_first_layer",
]
