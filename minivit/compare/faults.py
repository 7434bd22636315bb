"""Faults that ports of Vision Transformers really have, planted one at a time in a model, for `trace` to find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minivit.autograd import Tensor, stop_gradient
from minivit.models import VisionTransformer
from minivit.nn import LayerNorm, Mlp, TransformerBlock


def plant(model: VisionTransformer, fault: str, block: int) -> str:
    """Plant a fault in one block of a model.

    Parameters
    ----------
    model : VisionTransformer
        Changed in place.
    fault : str
        One of `FAULTS`.
    block : int
        From 0.

    Returns
    -------
    str
        Name of the guilty module, such as ``"blocks.3.mlp"``: the innermost one that computes something else from what
        it is given.

    Raises
    ------
    ValueError
        For an unknown fault, or a block that the model does not have.
    """
    if fault not in FAULTS:
        raise ValueError(f"unknown fault {fault!r}; there is {', '.join(FAULTS)}")
    if not 0 <= block < len(model.blocks):
        raise ValueError(f"the model has the blocks 0 to {len(model.blocks) - 1}, not {block}")
    place = FAULTS[fault](model, block)
    return f"blocks.{block}.{place}" if place else f"blocks.{block}"


def _tanh_gelu(model: VisionTransformer, block: int) -> str:
    """The approximate GELU in place of the exact one."""
    model.blocks[block].mlp.gelu = "tanh"
    return "mlp"


def _wrong_eps(model: VisionTransformer, block: int) -> str:
    """PyTorch's default eps of a LayerNorm, 1e-5, in place of 1e-6."""
    norm: LayerNorm = model.blocks[block].norm2
    norm.eps *= 10.0
    return "norm2"


class _PostNorm(TransformerBlock):
    """A block as in Vaswani et al. 2017: each sum is normalised, not what goes into a branch."""

    def __init__(self, block: TransformerBlock) -> None:
        for name, child in block.named_children():
            setattr(self, name, child)
        self.training = block.training

    def forward(self, x: Tensor, mask: Any = None) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        x = self.norm1(x + self.drop_path1(self.attn(x, mask)))
        return self.norm2(x + self.drop_path2(self.mlp(x)))  # type: ignore[no-any-return]


def _post_ln(model: VisionTransformer, block: int) -> str:
    """LayerNorm after the sum in place of before the branch."""
    model.blocks[block] = _PostNorm(model.blocks[block])
    return ""


def _transposed_qkv(model: VisionTransformer, block: int) -> str:
    """Query, key and value read with rows and columns exchanged, as if a (in, out) kernel were (out, in)."""
    weight = model.blocks[block].attn.qkv.weight
    thirds = np.split(np.array(weight.data), 3)  # (D, D) each
    weight.assign(np.concatenate([third.T for third in thirds]))
    return "attn.qkv"


class _Detached(Mlp):
    """A perceptron through which no gradient reaches what it is given."""

    def __init__(self, mlp: Mlp) -> None:
        for name, child in mlp.named_children():
            setattr(self, name, child)
        self.gelu, self.training = mlp.gelu, mlp.training

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return super().forward(stop_gradient(x))


def _lost_gradient(model: VisionTransformer, block: int) -> str:
    """The right output, but no gradient through the perceptron to its input."""
    model.blocks[block].mlp = _Detached(model.blocks[block].mlp)
    return "mlp"


FAULTS: dict[str, Callable[[VisionTransformer, int], str]] = {
    "tanh_gelu": _tanh_gelu,
    "wrong_eps": _wrong_eps,
    "post_ln": _post_ln,
    "transposed_qkv": _transposed_qkv,
    "lost_gradient": _lost_gradient,
}
