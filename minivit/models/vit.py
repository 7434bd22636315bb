"""The Vision Transformer (Dosovitskiy et al. 2020, arXiv:2010.11929), with timm's names for its parameters.

An image is cut into patches; each becomes a vector, a token. A class token joins them, positions are added, and a stack
of Transformer blocks lets the tokens exchange information. A linear head reads the class token (or the tokens' mean).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from minivit import ops
from minivit.autograd import Tensor
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.backend import move
from minivit.nn import (
    ConvolutionalStem,
    Dropout,
    LayerNorm,
    Linear,
    Module,
    Parameter,
    PatchEmbedding,
    TransformerBlock,
    checkpoint,
    init,
)


class VisionTransformer(Module):
    """Vision Transformer.

    Parameters
    ----------
    image_size : int
        Side of the square images, in pixels.
    patch_size : int
        Side of a patch, in pixels; divides `image_size`. With `stem` it has to be 2^len(stem).
    dim, depth, heads, mlp_dim : int
        Width, number of blocks, heads in each, width inside the perceptron.
    num_classes : int
        0 leaves out the head: the model then returns features.
    channels : int
        Of the images.
    pool : {"cls", "mean", "sequence"}
        Read the class token, the mean of the patches' tokens, or their mean weighted by a learned softmax (sequence
        pooling, Hassani et al. 2021, arXiv:2104.05704). Only "cls" has a class token.
    positions : {"learnable", "sincos2d", "none"}
        "sincos2d" is fixed: sines and cosines of the row and the column (Beyer et al. 2022, arXiv:2205.01580).
    stem : sequence of int, optional
        Use 3x3 convolutions with ReLU and max pooling of these widths in place of cutting patches.
    dropout, drop_path : float
        Of elements; of whole residual branches, growing linearly with depth to this rate.
    qkv_bias : bool
    gelu : {"none", "tanh"}
        Exact or approximate.
    eps : float
        Of the LayerNorms.
    representation_size : int, optional
        Width of a further linear map with tanh between the pooled vector and the head, called pre_logits: a part of the
        paper's models while they are pre-trained, dropped when they are fine-tuned (appendix B.1.1).
    initialization : {"timm", "paper", "fan_in", "none"}
        "timm": truncated normal of 0.02; the patches' projection uniform, as PyTorch's convolutions. "paper" (Google's
        code): LeCun normal for patches, Xavier uniform for the rest, a zero head. "fan_in": truncated normal of
        fan_in^-1/2, positions of 0.5, a zero head: for narrow models and short runs. "none": zeros, for weights that
        are loaded afterwards. A stem's convolutions are drawn normal with variance 2/fan_in.
    seed : int
        Of the initial weights.
    checkpoint_blocks : bool
        Keep only each block's input and recompute its inside in the backward.

    Raises
    ------
    ValueError
        For settings that do not fit together.
    """

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_dim: int = 3072,
        num_classes: int = 1000,
        *,
        channels: int = 3,
        pool: str = "cls",
        positions: str = "learnable",
        stem: Sequence[int] | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        qkv_bias: bool = True,
        gelu: str = "none",
        eps: float = 1e-6,
        representation_size: int | None = None,
        initialization: str = "timm",
        seed: int = 0,
        checkpoint_blocks: bool = False,
    ) -> None:
        self.config: dict[str, Any] = {key: value for key, value in locals().items() if key != "self"}
        _check(self.config)
        self.image_size, self.patch_size, self.channels = image_size, patch_size, channels
        self.checkpoint_blocks = checkpoint_blocks
        side = image_size // patch_size
        if pool == "cls":
            self.cls_token = Parameter(init.blank((1, 1, dim)))
        self.position_count = side * side + (pool == "cls")
        if positions == "learnable":
            self.pos_embed = Parameter(init.blank((1, self.position_count, dim)))
        self._fixed_positions: dict[tuple[str, Any], Tensor] = {}  # one for each device and dtype
        with init.deferred():  # all weights are drawn below, or loaded
            self.patch_embed: Module = (
                ConvolutionalStem(channels, stem, dim) if stem else PatchEmbedding(channels, dim, patch_size)
            )
            self.pos_drop = Dropout(dropout)
            self.blocks = [
                TransformerBlock(dim, heads, mlp_dim, qkv_bias, dropout, drop_path * i / max(depth - 1, 1), gelu, eps)
                for i in range(depth)
            ]
            self.norm = LayerNorm(dim, eps)
            if pool == "sequence":
                self.pool_score = Linear(dim, 1, bias=False)  # softmax would not see a bias
            if representation_size:
                self.pre_logits = PreLogits(dim, representation_size)
            if num_classes:
                self.head = Linear(representation_size or dim, num_classes)
        if initialization != "none":
            self.initialize(initialization, seed)
        for name, parameter in self.named_parameters():
            parameter.name = name

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that it takes."""
        return self.channels, self.image_size, self.image_size

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
        features = self.forward_features(images)  # (B, N, D)
        pooled = self.pool(features)  # (B, D)
        if self.config["representation_size"]:
            pooled = self.pre_logits(pooled)  # (B, R)
        return self.head(pooled) if self.config["num_classes"] else pooled

    def pool(self, features: Tensor) -> Tensor:
        """Tokens (B, N, D) to one vector (B, D)."""
        kind = self.config["pool"]
        if kind == "cls":
            return features[:, 0]
        if kind == "mean":
            return features.mean(1)
        weights = ops.softmax(self.pool_score(features), axis=1)  # (B, N, 1)
        return (weights.swapaxes(1, 2) @ features).reshape(features.shape[0], -1)  # (B, 1, D) -> (B, D)

    def forward_features(self, images: Tensor, masked: Any = None, mask_token: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) to the normalised tokens (B, N, D) of the last block.

        Parameters
        ----------
        images : Tensor of shape (B, C, H, W)
        masked : bool Tensor or array of shape (B, patches), optional
            Patches whose vectors `mask_token` replaces before positions are added (Dosovitskiy et al. 2020, B.1.2). A
            stem looks over a patch's edge: what no token may know has to be blanked in the images as well.
        mask_token : Tensor of shape (1, 1, D), optional
        """
        if images.shape[1:] != (self.channels, self.image_size, self.image_size):
            raise ShapeError(
                f"the model takes images (B, {self.channels}, {self.image_size}, {self.image_size}), got {images.shape}"
            )
        if images.dtype != self.norm.weight.dtype:
            raise DTypeError(
                f"the model takes normalised images of {self.norm.weight.dtype}, got {images.dtype}; "
                "convert (and normalise) them, or the model with model.astype(...)"
            )
        x = self.patch_embed(images)  # (B, N, D)
        if masked is not None:
            x = ops.where(masked[:, :, None], mask_token, x)
        x = self.pos_drop(ops.embed_tokens(x, getattr(self, "cls_token", None), self._positions(x)))
        for block in self.blocks:
            x = checkpoint(block, x) if self.checkpoint_blocks and self.training else block(x)
        return self.norm(x)  # type: ignore[no-any-return]

    def _positions(self, like: Tensor) -> Any:
        kind = self.config["positions"]
        if kind == "learnable":
            return self.pos_embed
        if kind == "none":
            return None
        key = like.device, like.dtype
        if key not in self._fixed_positions:
            side = self.image_size // self.patch_size
            table = sincos_positions(side, self.config["dim"], self.config["pool"] == "cls").astype(like.dtype)
            self._fixed_positions[key] = Tensor(move(table, like.device))
        return self._fixed_positions[key]

    @property
    def num_features(self) -> int:
        """Numbers in a feature vector, which the head reads."""
        return int(self.config["representation_size"] or self.config["dim"])

    def initialize(self, name: str, seed: int) -> None:
        """Draw all weights anew, each from a stream of its own.

        Parameters
        ----------
        name : {"timm", "paper", "fan_in"}
            See `initialization`.
        seed : int
        """
        initializers = {
            "timm": self._timm_initializer,
            "paper": self._paper_initializer,
            "fan_in": self._fan_in_initializer,
        }
        init.draw(self, initializers[name], seed)

    def _timm_initializer(self, path: str) -> init.Initializer:
        """Of timm's `init_weights_vit_timm`, which leaves PyTorch's own uniform numbers to the patches' projection."""
        if path == "cls_token":
            return init.normal(1e-6)
        if path.startswith("patch_embed.proj") and not self.config["stem"]:
            return init.uniform((self.channels * self.patch_size**2) ** -0.5)
        return self._common_initializer(path) or init.truncated_normal(0.02)

    def _paper_initializer(self, path: str) -> init.Initializer:
        """Of Google's `vit_jax/models_vit.py`."""
        if path == "pos_embed":
            return init.normal(0.02)
        if path == "pre_logits.fc.weight" or (path == "patch_embed.proj.weight" and not self.config["stem"]):
            return init.lecun_normal
        if path in ("cls_token", "head.weight"):
            return init.zeros
        if path.endswith("bias") and ".mlp." in path:
            return init.normal(1e-6)
        if path.endswith("qkv.weight"):
            return _each_third(init.xavier_uniform)  # query, key and value are three matrices there
        return self._common_initializer(path) or init.xavier_uniform

    def _fan_in_initializer(self, path: str) -> init.Initializer:
        if path == "head.weight":
            return init.zeros
        if path == "pos_embed":
            return init.normal(0.5)  # as large as the patches, so that tokens know from the start where they are
        if path == "cls_token":
            return init.normal(0.02)
        return self._common_initializer(path) or init.fan_in_normal

    def _common_initializer(self, path: str) -> init.Initializer | None:
        if "norm" in path and path.endswith("weight"):
            return init.ones
        if path.endswith("bias"):
            return init.zeros
        if path.startswith("patch_embed.convs"):
            return init.kaiming_normal_fan_in
        return init.fan_in_normal if self.config["stem"] and path == "patch_embed.proj.weight" else None

    def describe(self) -> str:
        """The model's settings."""
        return ", ".join(f"{key}={value!r}" for key, value in self.config.items() if key not in ("seed",))


class PreLogits(Module):
    """Linear, tanh: timm's name for it, which holds the linear map as ``fc``.

    Parameters
    ----------
    dim, representation_size : int
    """

    def __init__(self, dim: int, representation_size: int) -> None:
        self.fc = Linear(dim, representation_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, R)."""
        return ops.tanh(self.fc(x))


def _each_third(draw: init.Initializer) -> init.Initializer:
    def thirds(numbers: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return np.concatenate([draw(numbers, (shape[0] // 3, *shape[1:])) for _ in range(3)])

    return thirds


def sincos_positions(side: int, dim: int, class_token: bool, temperature: float = 10_000.0) -> np.ndarray:
    """Fixed two-dimensional position embedding.

    Parameters
    ----------
    side : int
        Tokens in a row and in a column.
    dim : int
        A multiple of 4: a quarter each for the sine and cosine of the column, then of the row.
    class_token : bool
        Put a zero vector in front.
    temperature : float
        The longest wavelength over 2 pi.

    Returns
    -------
    ndarray of shape (1, side^2 (+ 1), dim), float64
    """
    frequencies = temperature ** -(np.arange(dim // 4) / max(dim // 4 - 1, 1))  # (D/4,)
    rows, columns = np.mgrid[:side, :side]
    angles = [axis.reshape(-1, 1) * frequencies for axis in (columns, rows)]  # (N, D/4) each
    table = np.concatenate([f(angle) for angle in angles for f in (np.sin, np.cos)], axis=1)  # (N, D)
    if class_token:
        table = np.concatenate([np.zeros((1, dim)), table])
    return table[None]


def _check(config: dict[str, Any]) -> None:
    """Raise a ValueError for settings that are no settings, or do not fit together."""
    for key, least in {
        **dict.fromkeys(("image_size", "patch_size", "dim", "depth", "heads", "mlp_dim", "channels"), 1),
        **dict.fromkeys(("num_classes", "representation_size"), 0),
    }.items():
        value = config[key] or 0
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(
                f"VisionTransformer: {key} has to be a whole number of at least {least}; got {config[key]!r}"
            )
    eps = config["eps"]
    if isinstance(eps, bool) or not isinstance(eps, int | float | np.floating) or not 0.0 < eps < math.inf:
        raise ValueError(f"VisionTransformer: eps has to be a positive number; got {eps!r}")
    for key, allowed in {
        "pool": ("cls", "mean", "sequence"),
        "positions": ("learnable", "sincos2d", "none"),
        "gelu": ("none", "tanh"),
        "initialization": ("timm", "paper", "fan_in", "none"),
    }.items():
        if config[key] not in allowed:
            raise ValueError(f"VisionTransformer: {key} must be one of {', '.join(allowed)}; got {config[key]!r}")
    if config["image_size"] % config["patch_size"]:
        raise ValueError(
            f"VisionTransformer: patch_size {config['patch_size']} does not divide image_size {config['image_size']}"
        )
    if config["positions"] == "sincos2d" and config["dim"] % 4:
        raise ValueError(f"VisionTransformer: sincos2d positions need a dim that 4 divides, got {config['dim']}")
    stem = config["stem"]
    if stem and 2 ** len(stem) != config["patch_size"]:
        raise ValueError(
            f"VisionTransformer: {len(stem)} stages of a stem make a token of {2 ** len(stem)} x {2 ** len(stem)} "
            f"pixels; that needs patch_size={2 ** len(stem)}, got {config['patch_size']}"
        )
