"""Turning patches or indices into tokens: class token, position embedding, table lookup."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import DTypeError, ShapeError


class EmbedTokens(Op):
    """z = [class_token; patches] + positions (Dosovitskiy et al. 2020, equation 1).

    patches (B, N, D); class_token (1, 1, D) or None; positions (1, N + 1, D) or None (N without a class token).
    """

    @staticmethod
    def forward(F: Any, patches: Any, class_token: Any, positions: Any) -> Any:
        tokens = patches
        if class_token is not None:
            first = F.broadcast_to(class_token, (patches.shape[0], 1, patches.shape[2]))
            tokens = F.concatenate([first, patches], 1)  # (B, N+1, D)
        return tokens if positions is None else tokens + positions

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, patches: Any, class_token: Any, positions: Any) -> tuple[Any, Any, Any]:
        dpositions = None if positions is None else F.sum_to(dy, positions.shape)
        if class_token is None:
            return dy, None, dpositions
        dclass_token = F.sum_to(F.take(dy, (slice(None), slice(0, 1))), class_token.shape)  # shared by the batch
        return F.take(dy, (slice(None), slice(1, None))), dclass_token, dpositions


class Embedding(Op):
    """y = weight[indices].   weight (V, D), indices (...), y (..., D)."""

    keeps = ("indices",)

    @staticmethod
    def forward(F: Any, indices: Any, weight: Any) -> Any:
        return F.take(weight, indices)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, indices: Any, weight: Any) -> tuple[None, Any]:
        return None, F.place(dy, indices, weight.shape)  # a row that was taken twice gets both gradients


def embed_tokens(patches: Any, class_token: Any = None, positions: Any = None) -> Tensor:
    """Prepend the class token and add the position embedding.

    Parameters
    ----------
    patches : Tensor of shape (B, N, D)
    class_token : Tensor of shape (1, 1, D), optional
    positions : Tensor of shape (1, N, D), or (1, N + 1, D) with a class token, optional

    Returns
    -------
    Tensor of shape (B, N, D), or (B, N + 1, D) with a class token

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    """
    patches = as_tensor(patches)
    class_token = None if class_token is None else as_tensor(class_token)
    positions = None if positions is None else as_tensor(positions)
    n, d = patches.shape[1] + (class_token is not None), patches.shape[2]
    if class_token is not None and class_token.shape != (1, 1, d):
        raise ShapeError(
            f"embed_tokens: patches {patches.shape} need a class token (1, 1, {d}), got {class_token.shape}"
        )
    if positions is not None and positions.shape != (1, n, d):
        raise ShapeError(
            f"embed_tokens: {n} tokens of width {d} need positions (1, {n}, {d}), got {positions.shape}; "
            "a model made for another image size needs its positions resized"
        )
    return apply(EmbedTokens, patches, class_token, positions)


def embedding(indices: Any, weight: Any) -> Tensor:
    """Rows of a table.

    Parameters
    ----------
    indices : integer Tensor of shape (...)
    weight : Tensor of shape (V, D)

    Returns
    -------
    Tensor of shape (..., D)
    """
    indices, weight = as_tensor(indices), as_tensor(weight)
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"embedding: indices must be integers, got {indices.dtype}")
    return apply(Embedding, indices, weight)
