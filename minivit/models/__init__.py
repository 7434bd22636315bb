"""Models: one family a file, readable in one sitting."""

from minivit.models.registry import CONFIGS, create, list
from minivit.models.vit import VisionTransformer

__all__ = ["CONFIGS", "VisionTransformer", "create", "list"]
