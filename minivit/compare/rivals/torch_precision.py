"""The precision of a configuration in PyTorch."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


def autocast(precision: str) -> AbstractContextManager[Any]:
    """What a forward and its loss run in: as they are with ``"float32"``, in bfloat16 where autocast says so else.

    With ``"bf16"``, PyTorch keeps the activations between linear layers in bfloat16 too, as well as attention and GELU;
    the master weights, the sums in products, losses and the optimiser are in float32.
    """
    import torch

    context: AbstractContextManager[Any] = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    return context
