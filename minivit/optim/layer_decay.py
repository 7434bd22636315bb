"""Layer-wise learning rates: the nearer to the input, the slower."""

from __future__ import annotations

import re
from collections.abc import Callable

from minivit.nn import Module, Parameter

# Of the Transformers; of residual networks; of wide ones.
BLOCK = re.compile(r"(blocks\.\d+|layer\d+\.\d+|block\d+\.layer\.\d+)\.")


def layer_numbers(module: Module) -> dict[str, int]:
    """The layer that each parameter belongs to.

    0 for what comes before the first block (patches, class token, positions; a residual network's stem), then 1 to L
    for the L blocks, and L + 1 for what comes after the last (the last norm, the head), as in BEiT's code.

    Parameters
    ----------
    module : Module
        Its blocks are named ``blocks.3``, ``layer2.0`` or ``block1.layer.2``, as those of `minivit.models` are.

    Returns
    -------
    dict of str to int

    Raises
    ------
    ValueError
        If it has no block.
    """
    blocks = _blocks(module)
    found: dict[str, int] = {}
    behind = 0  # parameters come in the order of the model's parts: what precedes the first block lies below it
    for name, _ in module.named_parameters():
        match = BLOCK.match(name)
        if match:
            behind = len(blocks) + 1
        found[name] = blocks.index(match[1]) + 1 if match else behind
    return found


def _blocks(module: Module) -> list[str]:
    matches = (BLOCK.match(name) for name, _ in module.named_parameters())
    blocks = list(dict.fromkeys(match[1] for match in matches if match))
    if not blocks:
        raise ValueError(
            f"{type(module).__name__} has no blocks named blocks.<n>, layer<n>.<m> or block<n>.layer.<m>, so its "
            "layers cannot be counted; leave the layer-wise decay at 1"
        )
    return blocks


def layer_wise_decay(module: Module, decay: float) -> Callable[[str, Parameter], float]:
    """Factors of the learning rate that fall from the head to the input (Clark et al. 2020, arXiv:2003.10555).

    factor = decay^(L + 1 - layer), with the layers of `layer_numbers`: the head learns at the full rate, the
    embedding at decay^(L + 1) of it. BEiT (Bao et al. 2021, arXiv:2106.08254) fine-tunes with 0.65 to 0.85.

    Parameters
    ----------
    module : Module
    decay : float in (0, 1]

    Returns
    -------
    callable
        (name, parameter) -> factor: what an `Optimizer` takes as `learning_rate_scale`.

    Raises
    ------
    ValueError
        If the decay is out of range, or the module has no blocks to count.
    """
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"layer_wise_decay: expected a decay in (0, 1], got {decay}")
    numbers = layer_numbers(module)
    top = len(_blocks(module)) + 1
    return lambda name, _: decay ** (top - numbers[name])
