"""A discriminator of pictures, as in DCGAN (Radford, Metz, Chintala 2016, arXiv:1511.06434)."""

from __future__ import annotations

from itertools import pairwise

from minivit import ops
from minivit.autograd import Tensor
from minivit.backend.random import generator
from minivit.nn import BatchNorm2d, Conv2d, Module, init

SLOPE = 0.2  # of the leaky ReLUs below 0


class Discriminator(Module):
    """Tells pictures that were made from true ones: DCGAN's, for pictures of any side.

    4x4 convolutions of stride 2, each twice as wide as the one before, with leaky ReLU and (but for the first) batch
    normalisation, until the map has a side of 4 or less; a last convolution takes the whole map to one number.

    Parameters
    ----------
    channels, side : int
        Of the pictures.
    width : int
        Channels of the first feature map.
    seed : int
        Of the initial weights, normal with a standard deviation of 0.02.
    """

    def __init__(self, channels: int, side: int, width: int = 64, seed: int = 0) -> None:
        self.side = side
        widths = [channels]
        while side > 4:
            widths.append(width << min(len(widths) - 1, 3))
            side //= 2
        with init.deferred():
            self.convs = [Conv2d(a, b, 4, stride=2, padding=1, bias=a == channels) for a, b in pairwise(widths)]
            self.norms = [BatchNorm2d(b) for b in widths[2:]]
            self.score = Conv2d(widths[-1], 1, side)
        for path, parameter in self.named_parameters():
            if parameter.ndim == 4:
                draw = init.normal(0.02)
                parameter.assign(draw(generator(seed, "discriminator", path), parameter.shape))

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, C, side, side) -> (B,): log-odds of being true."""
        x = pictures
        for number, conv in enumerate(self.convs):
            x = conv(x)  # (B, D, s, s) -> (B, 2 D, s / 2, s / 2)
            x = ops.leaky_relu(self.norms[number - 1](x) if number else x, SLOPE)
        return self.score(x).reshape(-1)  # type: ignore[no-any-return]

    def describe(self) -> str:
        """Side of the pictures."""
        return f"side={self.side}"
