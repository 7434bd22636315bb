"""Decoders for inpainting: from what an encoder saw of an image with holes to the whole image.

D. Pathak, P. Krähenbühl, J. Donahue, T. Darrell, A. Efros: Context Encoders: feature learning by inpainting. CVPR 2016,
arXiv:1604.07379. Their encoder is convolutional; `PatchDecoder` is what its idea comes to for a Vision Transformer.
"""

from __future__ import annotations

from minivit import ops
from minivit.autograd import Tensor
from minivit.backend import Array
from minivit.backend.random import generator
from minivit.nn import (
    LayerNorm,
    Linear,
    Module,
    TransformerBlock,
    init,
)


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
