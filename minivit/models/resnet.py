"""Residual networks (He et al. 2015, arXiv:1512.03385), with timm's and torchvision's names for their parameters.

A stem of one convolution, then stages of residual blocks: each stage but the first halves the rows and columns and
doubles the channels. A block adds what its convolutions make of the stream to the stream itself. A linear head reads
the mean over all positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minivit import ops
from minivit.autograd import Tensor
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.nn import BatchNorm2d, Conv2d, Linear, Module, init


class BasicBlock(Module):
    """y = relu(shortcut(x) + bn(conv3x3(relu(bn(conv3x3(x)))))): He et al. 2015, figure 5 left.

    Parameters
    ----------
    in_channels, width : int
        The block returns `expansion` times `width` channels.
    stride : int
        Of the first convolution and of the shortcut.
    bn_eps, bn_momentum : float
        See `minivit.nn.BatchNorm2d`.
    """

    expansion = 1
    last_norm = "bn2"

    def __init__(self, in_channels: int, width: int, stride: int, bn_eps: float, bn_momentum: float) -> None:
        self.conv1 = Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(width, bn_eps, bn_momentum)
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width, bn_eps, bn_momentum)
        self.downsample = _projection(in_channels, width, stride, bn_eps, bn_momentum)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H / stride, W / stride)."""
        y = ops.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return ops.relu(y + _in_turn(self.downsample, x))


class Bottleneck(Module):
    """y = relu(shortcut(x) + bn(conv1x1(relu(bn(conv3x3(relu(bn(conv1x1(x)))))))): He et al. 2015, figure 5 right.

    The stride is the 3x3 convolution's, as in torchvision and timm ("ResNet v1.5"); in the paper it is the first 1x1's,
    which then never sees three quarters of its input.

    Parameters
    ----------
    in_channels, width, stride, bn_eps, bn_momentum
        As for `BasicBlock`.
    """

    expansion = 4
    last_norm = "bn3"

    def __init__(self, in_channels: int, width: int, stride: int, bn_eps: float, bn_momentum: float) -> None:
        out_channels = self.expansion * width
        self.conv1 = Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = BatchNorm2d(width, bn_eps, bn_momentum)
        self.conv2 = Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(width, bn_eps, bn_momentum)
        self.conv3 = Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = BatchNorm2d(out_channels, bn_eps, bn_momentum)
        self.downsample = _projection(in_channels, out_channels, stride, bn_eps, bn_momentum)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 width, H / stride, W / stride)."""
        y = ops.relu(self.bn1(self.conv1(x)))  # (B, width, H, W)
        y = ops.relu(self.bn2(self.conv2(y)))  # (B, width, H / stride, W / stride)
        y = self.bn3(self.conv3(y))  # (B, 4 width, H / stride, W / stride)
        return ops.relu(y + _in_turn(self.downsample, x))


def _projection(in_channels: int, out_channels: int, stride: int, bn_eps: float, bn_momentum: float) -> list[Module]:
    """The shortcut of a block that changes the shape (the paper's option B); nothing where x can be added as it is."""
    if stride == 1 and in_channels == out_channels:
        return []
    return [
        Conv2d(in_channels, out_channels, 1, stride, bias=False),
        BatchNorm2d(out_channels, bn_eps, bn_momentum),
    ]


def _in_turn(modules: Sequence[Module], x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x


BLOCKS: dict[str, type[BasicBlock | Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(Module):
    """Residual network.

    Parameters
    ----------
    layers : sequence of int
        Blocks in each stage.
    block : {"basic", "bottleneck"}
        Two 3x3 convolutions, or 1x1, 3x3 and 1x1 with four times as many channels at the end.
    width : int
        Of the stem and of the first stage; each later one is twice as wide as the one before.
    num_classes : int
        0 leaves out the head: the model then returns features.
    channels : int
        Of the images, which may be of any size.
    stem : {"imagenet", "cifar"}
        A 7x7 convolution of stride 2 and a max pooling of stride 2; or, for small images, a 3x3 convolution alone.
    zero_init_last : bool
        Start the last batch norm of each residual branch with weight 0, so that each block begins as the identity
        (Goyal et al. 2017, arXiv:1706.02677, section 5.1): timm's default.
    bn_eps, bn_momentum : float
        Of the batch norms, as PyTorch counts momentum.
    initialization : {"timm", "none"}
        "timm": convolutions normal with variance 2/fan_out, the head uniform in +-fan_in^-1/2. "none": zeros, for
        weights that are loaded afterwards.
    seed : int
        Of the initial weights.

    Attributes
    ----------
    num_features : int
        Channels of the last stage: D of what `pool` returns.

    Raises
    ------
    ValueError
        For settings that do not fit together.
    """

    def __init__(
        self,
        layers: Sequence[int] = (3, 4, 6, 3),
        block: str = "bottleneck",
        width: int = 64,
        num_classes: int = 1000,
        *,
        channels: int = 3,
        stem: str = "imagenet",
        zero_init_last: bool = True,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
        initialization: str = "timm",
        seed: int = 0,
    ) -> None:
        self.config: dict[str, Any] = {key: value for key, value in locals().items() if key != "self"}
        _check(self.config)
        kind = BLOCKS[block]
        self.channels, self.stage_count = channels, len(layers)
        with init.deferred():  # all weights are drawn below, or loaded
            if stem == "imagenet":
                self.conv1 = Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
            else:
                self.conv1 = Conv2d(channels, width, 3, padding=1, bias=False)
            self.bn1 = BatchNorm2d(width, bn_eps, bn_momentum)
            entering = width
            for stage, count in enumerate(layers):
                blocks = []
                for number in range(count):
                    stride = 2 if stage > 0 and number == 0 else 1
                    blocks.append(kind(entering, width * 2**stage, stride, bn_eps, bn_momentum))
                    entering = kind.expansion * width * 2**stage
                setattr(self, f"layer{stage + 1}", blocks)
            self.num_features = entering
            if num_classes:
                self.fc = Linear(self.num_features, num_classes)
        if initialization != "none":
            init.draw(self, self._timm_initializer, seed)
        for name, parameter in self.named_parameters():
            parameter.name = name

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that the stem is made for; any other size works."""
        side = 224 if self.config["stem"] == "imagenet" else 32
        return self.channels, side, side

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
        """Images (B, C, H, W) to the feature maps of the last stage: (B, num_features, H', W')."""
        check_images(images, self.channels, self.conv1.weight.dtype)
        x = ops.relu(self.bn1(self.conv1(images)))
        if self.config["stem"] == "imagenet":
            x = ops.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(self.stage_count):
            x = _in_turn(getattr(self, f"layer{stage + 1}"), x)  # each but the first halves rows and columns
        return x

    def pool(self, features: Tensor) -> Tensor:
        """Feature maps (B, D, H', W') to their means (B, D), which the head reads."""
        return features.mean((2, 3))

    def _timm_initializer(self, path: str) -> init.Initializer:
        """Of timm's `ResNet.init_weights`, which leaves PyTorch's own uniform numbers to the head."""
        if path.startswith("fc."):
            return init.uniform(self.num_features**-0.5)
        layer, kind = path.split(".")[-2:]
        if kind == "bias":
            return init.zeros
        if not _is_norm(path):
            return init.kaiming_normal
        last = BLOCKS[self.config["block"]].last_norm
        return init.zeros if self.config["zero_init_last"] and layer == last and path.count(".") > 1 else init.ones

    def describe(self) -> str:
        """The model's settings."""
        return ", ".join(f"{key}={value!r}" for key, value in self.config.items() if key != "seed")


def _is_norm(path: str) -> bool:
    layer = path.split(".")[-2]
    return layer.startswith("bn") or path.endswith(("downsample.1.weight", "downsample.1.bias"))


def check_images(images: Tensor, channels: int, dtype: Any) -> None:
    """Raise if images are not (B, channels, H, W) of `dtype`."""
    if images.ndim != 4 or images.shape[1] != channels:
        raise ShapeError(f"the model takes images (B, {channels}, H, W), got {images.shape}")
    if images.dtype != dtype:
        raise DTypeError(
            f"the model takes normalised images of {dtype}, got {images.dtype}; "
            "convert (and normalise) them, or the model with model.astype(...)"
        )


def _check(config: dict[str, Any]) -> None:
    """Raise a ValueError for settings that do not fit together."""
    for key, allowed in {
        "block": tuple(BLOCKS),
        "stem": ("imagenet", "cifar"),
        "initialization": ("timm", "none"),
    }.items():
        if config[key] not in allowed:
            raise ValueError(f"ResNet: {key} must be one of {', '.join(allowed)}; got {config[key]!r}")
    if not config["layers"] or any(count < 1 for count in config["layers"]):
        raise ValueError(f"ResNet: layers are the blocks of each stage, at least 1 in each; got {config['layers']}")
    if config["width"] < 1:
        raise ValueError(f"ResNet: width must be at least 1, got {config['width']}")
