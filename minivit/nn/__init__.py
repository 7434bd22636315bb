"""Modules, parameters and layers: thin, they hold parameters and call ops."""

from minivit.nn import init
from minivit.nn.attention import MultiHeadSelfAttention
from minivit.nn.batch_norm import BatchNorm2d, frozen_running_statistics
from minivit.nn.block import TransformerBlock
from minivit.nn.buffer import Buffer
from minivit.nn.checkpointing import checkpoint
from minivit.nn.flat import FlatParameters, GradientBuffer
from minivit.nn.layers import Conv2d, ConvTranspose2d, Dropout, DropPath, LayerNorm, Linear
from minivit.nn.mlp import Mlp
from minivit.nn.module import Module
from minivit.nn.parameter import Parameter
from minivit.nn.patch_embedding import ConvolutionalStem, PatchEmbedding
from minivit.nn.randomness import manual_seed, mask_keys
from minivit.nn.state import StateError

__all__ = [
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "ConvTranspose2d",
    "ConvolutionalStem",
    "DropPath",
    "Dropout",
    "FlatParameters",
    "GradientBuffer",
    "LayerNorm",
    "Linear",
    "Mlp",
    "Module",
    "MultiHeadSelfAttention",
    "Parameter",
    "PatchEmbedding",
    "StateError",
    "TransformerBlock",
    "checkpoint",
    "frozen_running_statistics",
    "init",
    "manual_seed",
    "mask_keys",
]
