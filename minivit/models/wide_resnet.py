"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146): WRN-28-2 is UDA's and FixMatch's on CIFAR.

Pre-activation blocks: batch norm and leaky ReLU stand before each convolution, so nothing but additions lies on the
stream itself (He et al. 2016, arXiv:1603.05027). Names and initial weights are those of kekmodel/FixMatch-pytorch.
"""

from __future__ import annotations

from typing import Any

from minivit import ops
from minivit.autograd import Tensor
from minivit.models.resnet import check_images
from minivit.nn import BatchNorm2d, Conv2d, Dropout, Linear, Module, init


class WideBlock(Module):
    """y = shortcut(x) + conv(act(bn(conv(act(bn(x)))))), both convolutions 3x3.

    The shortcut is x, or in the first block of the network (`activate_shortcut`) act(bn(x)); where the number of
    channels changes, a 1x1 convolution of that. (In UDA's code it is x in the first block too.)

    In kekmodel's code (models/wideresnet.py) the first block of the second and of the third group does not use its
    first batch norm and activation: there the first convolution reads x. Here it reads act(bn(x)), as in the paper, in
    UDA's code (image/randaugment/wrn.py) and in FixMatch's (libml/models.py); weights trained with kekmodel's code
    would not give its logits.

    Parameters
    ----------
    in_channels, out_channels : int
    stride : int
        Of the first convolution and of the shortcut.
    activate_shortcut : bool
    slope : float
        Of the leaky ReLU below 0.
    dropout : float
        Between the convolutions.
    bn_eps, bn_momentum : float
        See `minivit.nn.BatchNorm2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        activate_shortcut: bool,
        slope: float,
        dropout: float,
        bn_eps: float,
        bn_momentum: float,
    ) -> None:
        self.bn1 = BatchNorm2d(in_channels, bn_eps, bn_momentum)
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels, bn_eps, bn_momentum)
        self.dropout = Dropout(dropout)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.convShortcut = (
            Conv2d(in_channels, out_channels, 1, stride, bias=False) if in_channels != out_channels else None
        )
        self.activate_shortcut, self.slope = activate_shortcut, slope

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        activated = ops.leaky_relu(self.bn1(x), self.slope)
        y = ops.leaky_relu(self.bn2(self.conv1(activated)), self.slope)
        y = self.conv2(self.dropout(y))
        stream = activated if self.activate_shortcut else x
        return y + (stream if self.convShortcut is None else self.convShortcut(stream))  # type: ignore[no-any-return]


class WideGroup(Module):
    """Blocks of one width, the first of which may halve rows and columns.

    Parameters
    ----------
    count : int
        Of the blocks.
    in_channels, out_channels, stride, activate_shortcut
        Of the first block; see `WideBlock`.
    **options
        Of every block.
    """

    def __init__(
        self, count: int, in_channels: int, out_channels: int, stride: int, activate_shortcut: bool, **options: float
    ) -> None:
        first = WideBlock(in_channels, out_channels, stride, activate_shortcut, **options)
        self.layer = [first] + [WideBlock(out_channels, out_channels, 1, False, **options) for _ in range(1, count)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out_channels, H / stride, W / stride)."""
        for block in self.layer:
            x = block(x)
        return x


class WideResNet(Module):
    """Wide residual network for small images.

    Parameters
    ----------
    depth : int
        Of the network in convolutions on the longest way: 6 n + 4 with n blocks in each of three groups.
    widen : int
        The groups have 16, 32 and 64 times as many channels.
    num_classes : int
        0 leaves out the head: the model then returns features.
    channels : int
        Of the images, which may be of any size.
    slope : float
        Of the leaky ReLU below 0: 0.1 as in FixMatch's code; with 0 it is a ReLU, as in the paper and in UDA's code.
    dropout : float
        Between the convolutions of each block.
    bn_eps : float
        1e-5 as in UDA's code (image/main.py) and kekmodel's; FixMatch's has TensorFlow's 1e-3.
    bn_momentum : float
        Weight of the new batch in the running statistics, as PyTorch counts it; TensorFlow counts the weight of the old
        ones. UDA's code has a decay of 0.9, which is 0.1 here; FixMatch's a momentum of 0.999, which is 0.001 here and
        in kekmodel's. With 0.001 the running statistics follow the weights over thousands of steps: a short run would
        be evaluated with those of its beginning.
    initialization : {"kekmodel", "none"}
        "kekmodel": convolutions normal with variance 2/fan_out, as in FixMatch's code, the head Xavier normal. "none":
        zeros, for weights that are loaded afterwards.
    seed : int
        Of the initial weights.

    Attributes
    ----------
    num_features : int
        64 `widen`: D of what `pool` returns.

    Raises
    ------
    ValueError
        For settings that do not fit together.
    """

    def __init__(
        self,
        depth: int = 28,
        widen: int = 2,
        num_classes: int = 10,
        *,
        channels: int = 3,
        slope: float = 0.1,
        dropout: float = 0.0,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
        initialization: str = "kekmodel",
        seed: int = 0,
    ) -> None:
        self.config: dict[str, Any] = {key: value for key, value in locals().items() if key != "self"}
        _check(self.config)
        count, self.channels, self.slope = (depth - 4) // 6, channels, slope
        norm = {"bn_eps": bn_eps, "bn_momentum": bn_momentum}
        options = {"slope": slope, "dropout": dropout, **norm}
        with init.deferred():  # all weights are drawn below, or loaded
            self.conv1 = Conv2d(channels, 16, 3, padding=1, bias=False)
            self.block1 = WideGroup(count, 16, 16 * widen, 1, True, **options)
            self.block2 = WideGroup(count, 16 * widen, 32 * widen, 2, False, **options)
            self.block3 = WideGroup(count, 32 * widen, 64 * widen, 2, False, **options)
            self.num_features = 64 * widen
            self.bn1 = BatchNorm2d(self.num_features, bn_eps, bn_momentum)
            if num_classes:
                self.fc = Linear(self.num_features, num_classes)
        if initialization != "none":
            init.draw(self, _initializer, seed)
        for name, parameter in self.named_parameters():
            parameter.name = name

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W) of CIFAR's images; any other size works."""
        return self.channels, 32, 32

    def forward(self, images: Tensor) -> Tensor:
        """Images to logits.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
            Normalised as in training, in the dtype of the parameters.

        Returns
        -------
        Tensor of shape (B, num_classes), or (B, num_features) without a head

        Raises
        ------
        ShapeError, DTypeError
            For other images.
        """
        pooled = self.pool(self.forward_features(images))  # (B, D)
        return self.fc(pooled) if self.config["num_classes"] else pooled

    def forward_features(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to the activated feature maps of the last group: (B, num_features, H / 4, W / 4)."""
        check_images(images, self.channels, self.conv1.weight.dtype)
        x = self.conv1(images)  # (B, 16, H, W)
        x = self.block1(x)  # (B, 16 k, H, W), k = widen
        x = self.block2(x)  # (B, 32 k, H / 2, W / 2)
        x = self.block3(x)  # (B, 64 k, H / 4, W / 4)
        return ops.leaky_relu(self.bn1(x), self.slope)

    def pool(self, features: Tensor) -> Tensor:
        """Feature maps (B, D, H', W') to their means (B, D), which the head reads."""
        return features.mean((2, 3))

    def describe(self) -> str:
        """The model's settings."""
        return ", ".join(f"{key}={value!r}" for key, value in self.config.items() if key != "seed")


def _initializer(path: str) -> init.Initializer:
    layer, kind = path.split(".")[-2:]
    if kind == "bias":
        return init.zeros
    if layer.startswith("bn"):
        return init.ones
    return init.xavier_normal if layer == "fc" else init.kaiming_normal


def _check(config: dict[str, Any]) -> None:
    """Raise a ValueError for settings that do not fit together."""
    if config["initialization"] not in ("kekmodel", "none"):
        raise ValueError(f"WideResNet: initialization must be one of kekmodel, none; got {config['initialization']!r}")
    if config["depth"] < 10 or (config["depth"] - 4) % 6:
        raise ValueError(f"WideResNet: depth must be 6 n + 4 (10, 16, 22, 28, 40, ...), got {config['depth']}")
    if config["widen"] < 1:
        raise ValueError(f"WideResNet: widen must be at least 1, got {config['widen']}")
