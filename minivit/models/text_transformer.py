"""A Transformer encoder for texts: the Vision Transformer's blocks behind a table of words in place of patches."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit import ops
from minivit.autograd import Tensor, as_tensor
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.backend import array_module
from minivit.nn import Dropout, LayerNorm, Linear, Module, Parameter, TransformerBlock, init

PADDING = 0  # the token that fills up a text's row


class TextTransformer(Module):
    """Transformer encoder with a classifier.

    Padding is masked: no token attends to it and no mean counts it, so a text's logits do not depend on how far its
    row is filled up.

    Parameters
    ----------
    vocabulary_size : int
        V: tokens are integers from 0, which is padding, to V - 1.
    max_length : int
        Most tokens of a text; rows may be shorter.
    dim, depth, heads, mlp_dim : int
        Width, number of blocks, heads in each, width inside the perceptron.
    num_classes : int
    dropout, drop_path : float
        Of elements (of the embedded tokens, too); of whole residual branches, growing linearly with depth to this rate.
    pool : {"cls", "mean"}
        Read a class token, or the mean of the text's tokens.
    gelu : {"none", "tanh"}
    eps : float
        Of the LayerNorms.
    initialization : {"timm", "fan_in", "none"}
        "timm": truncated normal of 0.02, as for the Vision Transformer. "fan_in": the blocks' matrices truncated
        normal of fan_in^-1/2, a zero head: for narrow models and short runs. "none": zeros, for weights that are
        loaded afterwards.
    seed : int
        Of the initial weights.

    Raises
    ------
    ValueError
        For settings that do not fit together.
    """

    def __init__(
        self,
        vocabulary_size: int,
        max_length: int,
        dim: int = 128,
        depth: int = 2,
        heads: int = 4,
        mlp_dim: int = 256,
        num_classes: int = 2,
        *,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        pool: str = "cls",
        gelu: str = "none",
        eps: float = 1e-6,
        initialization: str = "timm",
        seed: int = 0,
    ) -> None:
        self.config: dict[str, Any] = {key: value for key, value in locals().items() if key != "self"}
        _check(self.config)
        self.vocabulary_size, self.max_length = vocabulary_size, max_length
        self.token_embed = Parameter(init.blank((vocabulary_size, dim)))
        if pool == "cls":
            self.cls_token = Parameter(init.blank((1, 1, dim)))
        self.pos_embed = Parameter(init.blank((1, max_length + (pool == "cls"), dim)))
        with init.deferred():  # all weights are drawn below, or loaded
            self.pos_drop = Dropout(dropout)
            self.blocks = [
                TransformerBlock(dim, heads, mlp_dim, True, dropout, drop_path * i / max(depth - 1, 1), gelu, eps)
                for i in range(depth)
            ]
            self.norm = LayerNorm(dim, eps)
            self.head = Linear(dim, num_classes)
        if initialization != "none":
            init.draw(self, self._initializer, seed)
        for path, parameter in self.named_parameters():
            parameter.name = path

    def forward(self, tokens: Any) -> Tensor:
        """Texts to logits.

        Parameters
        ----------
        tokens : integer Tensor of shape (B, T)
            T of at most `max_length`; 0 is padding.

        Returns
        -------
        Tensor of shape (B, num_classes)

        Raises
        ------
        ShapeError, DTypeError, ValueError
            For other tokens. (On a GPU, numbers out of range are not looked for: that would wait for it.)
        """
        tokens = self._trimmed(self._checked(tokens))
        is_word = tokens.data != PADDING  # (B, T)
        return self.head(self.pool(self.forward_features(tokens), is_word))  # type: ignore[no-any-return]

    def forward_features(self, tokens: Any) -> Tensor:
        """Tokens (B, T) to the normalised vectors of the last block: (B, T, D), or (B, T + 1, D) with a class token."""
        tokens = self._checked(tokens)
        allowed = tokens.data != PADDING  # (B, T)
        class_token = getattr(self, "cls_token", None)
        if class_token is not None:
            xp = array_module(tokens.data)
            allowed = xp.concatenate([xp.ones((allowed.shape[0], 1), bool), allowed], 1)  # (B, T + 1)
        positions: Tensor = self.pos_embed[:, : allowed.shape[1]]
        x = self.pos_drop(ops.embed_tokens(ops.embedding(tokens, self.token_embed), class_token, positions))
        mask = Tensor(allowed[:, None, None, :])  # (B, 1, 1, N): every token of every head may look at the words
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)  # type: ignore[no-any-return]

    def pool(self, features: Tensor, is_word: Any) -> Tensor:
        """Vectors (B, N, D) to the one (B, D) that the head reads; `is_word` (B, T) is False for padding."""
        if self.config["pool"] == "cls":
            return features[:, 0]
        xp = array_module(is_word)
        count = xp.maximum(is_word.sum(1, keepdims=True), 1)  # (B, 1); a text without words has the mean 0
        weights = Tensor((is_word / count).astype(features.dtype)[:, None])  # (B, 1, T)
        return (weights @ features).reshape(features.shape[0], -1)  # (B, 1, D) -> (B, D)

    def _checked(self, given: Any) -> Tensor:
        tokens: Tensor = as_tensor(given)
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= self.max_length:
            raise ShapeError(
                f"the model takes tokens (B, T) with T from 1 to {self.max_length}, got {tokens.shape}; "
                "cut the texts, or make the model for longer ones"
            )
        if tokens.dtype.kind not in "iu":
            raise DTypeError(f"the model takes tokens of an integer type, got {tokens.dtype}")
        if tokens.device == "cpu" and tokens.size:
            lowest, highest = int(tokens.data.min()), int(tokens.data.max())
            if lowest < 0 or highest >= self.vocabulary_size:
                raise ValueError(
                    f"the model knows the tokens 0..{self.vocabulary_size - 1}, got {lowest}..{highest}; "
                    "encode the texts with the vocabulary that it was made for"
                )
        return tokens

    def _trimmed(self, tokens: Tensor) -> Tensor:
        """Without the columns at the end that are padding in every row, which change nothing but cost as much as words.

        A GPU would have to be waited for, so there they stay.
        """
        if tokens.device != "cpu":
            return tokens
        used = np.flatnonzero((tokens.data != PADDING).any(0))  # columns
        return Tensor(tokens.data[:, : used[-1] + 1 if used.size else 1])

    def _initializer(self, path: str) -> init.Initializer:
        narrow = self.config["initialization"] == "fan_in"
        if "norm" in path and path.endswith("weight"):
            return init.ones
        if path.endswith("bias") or (narrow and path == "head.weight"):
            return init.zeros
        if path == "cls_token":
            return init.normal(0.02 if narrow else 1e-6)
        if narrow and path not in ("token_embed", "pos_embed"):
            return init.fan_in_normal
        return init.truncated_normal(0.02)  # of words small too, so that what a rare word learns soon outweighs it

    def describe(self) -> str:
        """The model's settings."""
        return ", ".join(f"{key}={value!r}" for key, value in self.config.items() if key != "seed")


def _check(config: dict[str, Any]) -> None:
    """Raise a ValueError for settings that do not fit together."""
    for key, allowed in {
        "pool": ("cls", "mean"),
        "gelu": ("none", "tanh"),
        "initialization": ("timm", "fan_in", "none"),
    }.items():
        if config[key] not in allowed:
            raise ValueError(f"TextTransformer: {key} must be one of {', '.join(allowed)}; got {config[key]!r}")
    for key, least in {"vocabulary_size": 2, "max_length": 1, "num_classes": 1}.items():
        if config[key] < least:
            raise ValueError(f"TextTransformer: {key} must be at least {least}, got {config[key]}")
