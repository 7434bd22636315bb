"""What the tokens look at: attention maps of every block, and their rollout through the blocks.

The maps are read by a hook on the attention op, so no model has to be written for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minivit.autograd import Hook, Op, Tensor, as_tensor, hooked, no_grad
from minivit.backend import backend_of, to_host
from minivit.inspect.modes import evaluating
from minivit.nn import Module
from minivit.ops.softmax import stable_softmax


class AttentionMaps(Hook):
    """Collects the probabilities of every attention op that runs, and the weights of sequence pooling.

    The op does not hand them out (a kernel may never hold them as a whole), so they are computed again from its inputs.

    Attributes
    ----------
    maps : list of ndarray (B, h, N, M)
        In the order in which the ops ran; a row holds one token's attention to all tokens, and sums to 1.
    pooling : ndarray (B, N) or None
        The share of each token in what the head reads, where a softmax over the tokens, (B, N, 1), decides on it.
    """

    def __init__(self) -> None:
        self.maps: list[np.ndarray] = []
        self.pooling: np.ndarray | None = None

    def after_forward(
        self, op: type[Op], inputs: tuple[Tensor | None, ...], output: Tensor, attributes: dict[str, Any]
    ) -> None:
        """Recompute the probabilities of an attention op."""
        if op.name == "softmax" and output.ndim == 3 and output.shape[2] == 1:
            self.pooling = to_host(output.data)[:, :, 0]
        if op.name not in ("attention", "qkv_attention"):
            return
        arrays: list[Any] = [None if x is None else x.data for x in inputs]
        if op.name == "qkv_attention":
            qkv, mask = arrays  # (B, N, 3D)
            B, N, packed = qkv.shape
            heads = attributes["heads"]
            q, k, _ = qkv.reshape(B, N, 3, heads, packed // (3 * heads)).transpose(2, 0, 3, 1, 4)  # (B, h, N, d) each
        else:
            q, k, _, mask = arrays
        scores = (q @ k.swapaxes(-1, -2)) * attributes["scale"]  # (B, h, N, M)
        if mask is not None:
            scores = scores + mask
        self.maps.append(to_host(stable_softmax(backend_of(scores).F, scores, -1)))


def attention_maps(model: Module, images: Any) -> list[np.ndarray]:
    """The attention of every block of a model.

    Parameters
    ----------
    model : Module
        Runs in evaluation mode; it is left as it was.
    images : array or Tensor (B, C, H, W)

    Returns
    -------
    list of ndarray (B, h, N, N)
        First block first. [b, h, i, j] is how much of token j enters token i.

    Raises
    ------
    ValueError
        If the model has no attention.
    """
    return _run(model, images)[1].maps


def _run(model: Module, images: Any) -> tuple[np.ndarray, AttentionMaps]:
    collected = AttentionMaps()
    with no_grad(), hooked(collected), evaluating(model):
        output = to_host(model(as_tensor(images)).data)
    if not collected.maps:
        raise ValueError(f"{type(model).__name__} ran no attention op, so there is no attention to look at")
    return output, collected


class HeatMaps(NamedTuple):
    """Where a model looks, on the grid of patches.

    Attributes
    ----------
    output : ndarray (B, K)
        What the model returned.
    last_block : ndarray (B, rows, columns)
        Attention of the last block, averaged over its heads.
    rollout : ndarray (B, rows, columns)
        Attention rolled out over all blocks.
    """

    output: np.ndarray
    last_block: np.ndarray
    rollout: np.ndarray


def heat_maps(model: Module, images: Any) -> HeatMaps:
    """Where a Vision Transformer looks: how much each patch enters what its head reads.

    Parameters
    ----------
    model : Module
        With a `config` that names its `pool`. Runs in evaluation mode; it is left as it was.
    images : array or Tensor (B, C, H, W)

    Returns
    -------
    HeatMaps
    """
    output, collected = _run(model, images)
    pool = getattr(model, "config", {}).get("pool", "cls")
    if pool == "sequence" and collected.pooling is not None:
        pool = collected.pooling
    return HeatMaps(output, token_map(collected.maps[-1], pool), token_map(rollout(collected.maps), pool))


def rollout(maps: Sequence[np.ndarray], identity: float = 0.5) -> np.ndarray:
    """Attention rollout (Abnar & Zuidema 2020, arXiv:2005.00928, section 3): how much of each input token is in each
    token of the last block, if attention were all that mixed them.

    With A_l the attention of block l, averaged over its heads, a block with its residual connection mixes the tokens by
    (1 - identity) A_l + identity I, and the blocks in turn mix them by the product.

    Parameters
    ----------
    maps : sequence of array (B, h, N, N)
        First block first.
    identity : float
        Share of the residual connection.

    Returns
    -------
    ndarray (B, N, N)
        Rows sum to 1.
    """
    mixed: np.ndarray | None = None
    for attention in maps:
        average = attention.mean(1, dtype=np.float64)  # (B, h, N, N) -> (B, N, N)
        block = (1.0 - identity) * average + identity * np.eye(average.shape[-1])
        mixed = block if mixed is None else block @ mixed
    if mixed is None:
        raise ValueError("rollout of no attention map at all")
    rows = mixed.sum(-1)
    assert np.abs(rows - 1.0).max() < 1e-4, f"rows of a rollout sum to 1, these to {rows.min()} ... {rows.max()}"
    return mixed


def token_map(attention: np.ndarray, pool: str | np.ndarray = "cls") -> np.ndarray:
    """How much each patch of an image enters what the head reads.

    Parameters
    ----------
    attention : array (B, N, N) or (B, h, N, N)
        A rollout, or the maps of a block, which are then averaged over their heads.
    pool : {"cls", "mean"} or array (B, N)
        What the head reads: the class token (token 0), the mean of all tokens, or their sum with these weights. Only
        with "cls" is there a class token.

    Returns
    -------
    ndarray (B, rows, columns)
        On the grid of patches, rows = columns; sums to 1, but for what the class token keeps of itself.
    """
    if attention.ndim == 4:
        attention = attention.mean(1)  # (B, h, N, N) -> (B, N, N)
    if isinstance(pool, np.ndarray):
        read = np.einsum("bi,bij->bj", pool, attention)  # (B, number of patches)
    elif pool == "cls":
        read = attention[:, 0, 1:]
    elif pool == "mean":
        read = attention.mean(1)
    else:
        raise ValueError(f"pool has to be 'cls', 'mean' or an array of weights, got {pool!r}")
    side = math.isqrt(read.shape[1])
    if side * side != read.shape[1]:
        raise ValueError(f"{read.shape[1]} patches are no square; pool={pool!r} does not fit this model")
    return np.asarray(read.reshape(-1, side, side))


def overlay(image: np.ndarray, heat: np.ndarray, strength: float = 0.6) -> np.ndarray:
    """Lay a map over an image, for a picture.

    Parameters
    ----------
    image : array (H, W) or (H, W, 3)
        In [0, 1].
    heat : array (rows, columns)
        Enlarged to the image bilinearly; its lowest value is shown as nothing, its highest as full colour.
    strength : float
        0 shows the image alone.

    Returns
    -------
    ndarray (H, W, 3)
        In [0, 1].
    """
    from matplotlib import colormaps

    base = np.repeat(image[..., None], 3, -1) if image.ndim == 2 else image
    large = enlarge(heat, base.shape[:2])
    span = large.max() - large.min()
    level = (large - large.min()) / span if span > 0 else np.zeros_like(large)
    colour = np.asarray(colormaps["inferno"](level))[..., :3]  # (H, W, 3)
    return np.asarray(np.clip((1.0 - strength) * base + strength * colour, 0.0, 1.0))


def enlarge(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation of (rows, columns) to (H, W), with the values at the centres of the patches."""
    for axis, size in enumerate(shape):
        count = values.shape[axis]
        position = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
        low = np.minimum(position.astype(np.int64), max(count - 2, 0))
        share = np.expand_dims(position - low, 1 - axis)
        high = np.minimum(low + 1, count - 1)
        values = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return values
