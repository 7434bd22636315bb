"""From images to tokens: cutting into patches, or a small stack of convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from minivit import ops
from minivit.autograd import Tensor
from minivit.nn import init
from minivit.nn.layers import Conv2d, LayerNorm, Linear
from minivit.nn.module import Module
from minivit.nn.parameter import Parameter


class PatchProjection(Module):
    """The linear map of flattened patches, in the layout of a convolution's weight: (D, C, p, p)."""

    def __init__(self, channels: int, dim: int, patch_size: int) -> None:
        self.weight = Parameter(init.blank((dim, channels, patch_size, patch_size)))
        self.bias = Parameter(init.blank((dim,)))

    def forward(self, patches: Tensor) -> Tensor:
        """(B, N, C p p) -> (B, N, D)."""
        return ops.linear(patches, self.weight.reshape(self.weight.shape[0], -1), self.bias)


class PatchEmbedding(Module):
    """Cut an image into p x p patches and map each linearly (Dosovitskiy et al. 2020, section 3.1).

    Parameters
    ----------
    channels, dim, patch_size : int
    """

    def __init__(self, channels: int, dim: int, patch_size: int) -> None:
        self.patch_size = patch_size
        self.proj = PatchProjection(channels, dim, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D)."""
        return self.proj(ops.patchify(images, self.patch_size))  # type: ignore[no-any-return]

    def describe(self) -> str:
        """The patch size."""
        return f"patch_size={self.patch_size}"


class ConvolutionalStem(Module):
    """3x3 convolutions with max pooling and ReLU in place of cutting (Hassani et al. 2021, arXiv:2104.05704).

    Each stage halves the sides; the positions of the last feature map become the tokens. They are normalised before the
    last ReLU, which makes short runs steadier, and mapped linearly to the width of the tokens.

    Parameters
    ----------
    channels : int
        Of the image.
    widths : sequence of int
        Output channels of each stage.
    dim : int
        Width of the tokens.
    """

    def __init__(self, channels: int, widths: Sequence[int], dim: int) -> None:
        sizes = [channels, *widths]
        self.convs = [Conv2d(c, o, 3, padding=1) for c, o in pairwise(sizes)]
        self.norm = LayerNorm(sizes[-1])
        self.proj = Linear(sizes[-1], dim)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, D), N = H W / 4^stages."""
        x = images
        for number, conv in enumerate(self.convs):
            # ReLU is monotonic, so it commutes with the maximum: after pooling it has a quarter of the work.
            x = ops.max_pool2d(conv(x), 2)  # (B, O, H/2, W/2)
            if number < len(self.convs) - 1:
                x = ops.relu(x)
        x = x.reshape(x.shape[0], x.shape[1], -1).swapaxes(1, 2)  # (B, O, H', W') -> (B, N, O)
        return self.proj(ops.relu(self.norm(x)))  # type: ignore[no-any-return]
