"""Decoders for inpainting: from what an encoder saw of an image with holes to the whole image.

D. Pathak, P. Krähenbühl, J. Donahue, T. Darrell, A. Efros: Context Encoders: feature learning by inpainting. CVPR 2016,
arXiv:1604.07379. Their encoder is convolutional; `PatchDecoder` is what its idea comes to for a Vision Transformer.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from minivit import ops
from minivit.autograd import Tensor
from minivit.backend import Array
from minivit.backend.random import generator
from minivit.nn import (
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    TransformerBlock,
    init,
)

WIDEST = 256  # channels of the convolutional decoder's first feature map


class PatchDecoder(Module):
    """Tokens to pixels: a few Transformer blocks, then a linear map of each token to the pixels of its patch.

    The encoder has mixed the tokens already; a light decoder leaves it the work, which is what pre-training is for
    (Xie et al. 2021, arXiv:2111.09886, section 4.1.3, find a linear map enough).

    Parameters
    ----------
    dim, heads : int
        Of the encoder's tokens.
    patch_size : int
        Side of the patch that a token stands for, in pixels.
    image_shape : (C, H, W)
    depth : int
        Transformer blocks; 0 leaves the linear map alone.
    seed : int
        Of the initial weights.
    """

    def __init__(
        self, dim: int, heads: int, patch_size: int, image_shape: tuple[int, int, int], depth: int = 1, seed: int = 0
    ) -> None:
        self.patch_size, self.image_shape = patch_size, image_shape
        with init.deferred():
            self.blocks = [TransformerBlock(dim, heads, 2 * dim) for _ in range(depth)]
            self.norm = LayerNorm(dim)
            self.proj = Linear(dim, image_shape[0] * patch_size**2)
        for path, parameter in self.named_parameters():
            if parameter.ndim > 1:
                parameter.assign(init.fan_in_normal(generator(seed, "decoder", path), parameter.shape))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D), without a class token -> (B, C, H, W)."""
        for block in self.blocks:
            tokens = block(tokens)
        pixels = self.proj(self.norm(tokens))  # (B, N, C p p)
        return ops.unpatchify(pixels, self.patch_size, self.image_shape)

    def describe(self) -> str:
        """The patches and the number of blocks."""
        return f"patch_size={self.patch_size}, depth={len(self.blocks)}"


class ChannelwiseLinear(Module):
    """Every position of a feature map to every other, each channel by itself (arXiv:1604.07379, section 3.1).

    Convolutions carry nothing from one corner of a map to the other. A linear layer over all of it would need
    (D n)^2 weights, with n positions; this one has D n^2.

    Parameters
    ----------
    channels, positions : int
        D and n = h w.
    generator : numpy Generator
        Draws the weight, normal with variance 1/n.
    """

    def __init__(self, channels: int, positions: int, generator: np.random.Generator) -> None:
        self.weight = Parameter(init.normal(positions**-0.5)(generator, (channels, positions, positions)))
        self.bias = Parameter(np.zeros((channels, 1, positions), np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, D, h, w)."""
        by_channel = x.reshape(*x.shape[:2], -1).swapaxes(0, 1)  # (D, B, n)
        mixed = by_channel @ self.weight + self.bias  # (D, B, n)
        return mixed.swapaxes(0, 1).reshape(*x.shape)

    def describe(self) -> str:
        """Channels and positions."""
        return "{}, {}".format(*self.weight.shape[:2])


class ConvolutionalDecoder(Module):
    """A feature map to pixels: a channel-wise linear layer, then transposed convolutions that double the sides.

    The layers of arXiv:1604.07379, sections 3.1 and 4: after the channel-wise layer a 1x1 convolution that mixes the
    channels, then 4x4 transposed convolutions of stride 2 with batch normalisation and ReLU, each half as wide as the
    one before. The last gives the pixels, without a bound: they are normalised, and the paper's tanh would not reach
    them. (The authors' code has a bottleneck of 4000 numbers in place of the channel-wise layer.)

    Parameters
    ----------
    features : (D, h, w)
        Shape of the feature map.
    image_shape : (C, H, W)
        H and W are h and w times one and the same power of two.
    seed : int
        Of the initial weights.

    Raises
    ------
    ValueError
        If doubling the sides of the map does not lead to the image's.
    """

    def __init__(self, features: tuple[int, int, int], image_shape: tuple[int, int, int], seed: int = 0) -> None:
        (channels, h, w), (image_channels, H, W) = features, image_shape
        doublings = (H // h).bit_length() - 1
        if doublings < 1 or (h << doublings, w << doublings) != (H, W):
            raise ValueError(
                f"ConvolutionalDecoder: a map of {h} x {w} doubled once or more does not become {H} x {W} pixels; "
                "resize the images, or take an encoder of another stride"
            )
        widths = [max(min(channels, WIDEST) >> k, 32) for k in range(doublings)]
        self.mixing = ChannelwiseLinear(channels, h * w, generator(seed, "decoder", "mixing"))
        with init.deferred():
            self.across = Conv2d(channels, widths[0], 1, bias=False)
            self.norms = [BatchNorm2d(width) for width in widths]
            self.ups = [ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False) for a, b in pairwise(widths)]
            self.pixels = ConvTranspose2d(widths[-1], image_channels, 4, stride=2, padding=1)
        for path, parameter in self.named_parameters():
            if parameter.ndim == 4:
                # Of a 4x4 kernel of stride 2, four weights meet at each pixel: a fan-in of 4 times the channels.
                fan_in = parameter.shape[1] if path.startswith("across") else 4 * parameter.shape[0]
                draw = init.normal((1 if path.startswith("pixels") else 2) ** 0.5 * fan_in**-0.5)
                parameter.assign(draw(generator(seed, "decoder", path), parameter.shape))

    def forward(self, features: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, C, H, W)."""
        x = self.across(self.mixing(features))
        for norm, up in zip(self.norms, self.ups, strict=False):
            x = up(ops.relu(norm(x)))  # (B, D / 2, 2 h, 2 w)
        return self.pixels(ops.relu(self.norms[-1](x)))  # type: ignore[no-any-return]


def wholly_hidden(hidden: Array, patch_size: int) -> Array:
    """Which patches of images show not one pixel.

    Parameters
    ----------
    hidden : array (B, 1, H, W) of bool
    patch_size : int
        p; divides H and W.

    Returns
    -------
    array (B, (H/p)(W/p)) of bool, in the order of `minivit.ops.patchify`
    """
    B, _, H, W = hidden.shape
    patches = hidden.reshape(B, H // patch_size, patch_size, W // patch_size, patch_size)
    return patches.all(axis=(2, 4)).reshape(B, -1)
