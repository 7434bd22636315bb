"""Models: one family a file, readable in one sitting."""

from minivit.models.registry import CONFIGS, create, list
from minivit.models.text_transformer import TextTransformer
from minivit.models.vit import VisionTransformer
from minivit.models.whitening import whiten_first_layer

__all__ = ["CONFIGS", "TextTransformer", "VisionTransformer", "create", "list", "whiten_first_layer"]
