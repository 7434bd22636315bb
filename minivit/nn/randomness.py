"""Where layers get their random masks from.

A mask is keyed by (seed, step, op, image index), so it has the same bits on every device and for every split of a
batch. A training step says which step it is and which images are in the batch; layers are numbered in the order they
run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.autograd import Tensor
from minivit.autograd.errors import ShapeError
from minivit.backend import array_module
from minivit.backend.random import uniform
from minivit.nn.init import seed_layers


@dataclass
class MaskKeys:
    """The keys of the masks to come.

    Attributes
    ----------
    seed, step : int
    image_index : array (B,) of integers or None
        Which image of the whole batch each row is; None counts from 0.
    next_op : int
        Number of the next layer that draws.
    """

    seed: int = 0
    step: int = 0
    image_index: Any = None
    next_op: int = 0

    def copy(self) -> MaskKeys:
        """The same keys, counting on independently."""
        return MaskKeys(self.seed, self.step, self.image_index, self.next_op)


class _State(threading.local):
    keys: MaskKeys | None = None


_STATE = _State()
_DEFAULT = MaskKeys()


def manual_seed(seed: int) -> None:
    """Seed the initial weights of layers made from now on, and the masks drawn outside a `mask_keys` block."""
    seed_layers(seed)
    _DEFAULT.seed, _DEFAULT.step, _DEFAULT.next_op = int(seed), 0, 0


@contextmanager
def mask_keys(seed: int, step: int, image_index: Any = None) -> Iterator[None]:
    """Draw the masks of a block with these keys, in this thread."""
    yield from _with_keys(MaskKeys(int(seed), int(step), image_index))


@contextmanager
def restored_keys(keys: MaskKeys) -> Iterator[None]:
    """Draw again what was drawn from `keys` on: for recomputing a forward."""
    yield from _with_keys(keys.copy())


def _with_keys(keys: MaskKeys) -> Iterator[None]:
    before = _STATE.keys
    _STATE.keys = keys
    try:
        yield
    finally:
        _STATE.keys = before


def current_keys() -> MaskKeys:
    """The keys that the next mask is drawn with."""
    return _STATE.keys if _STATE.keys is not None else _DEFAULT


def keep_mask(like: Tensor, rate: float, per_image: int) -> Tensor:
    """Zeros with probability `rate`, else ones: `per_image` for each row of `like`.

    Returns
    -------
    Tensor of shape (B, per_image)
        In the dtype and on the device of `like`.
    """
    keys = current_keys()
    xp = array_module(like.data)
    if keys.image_index is None:
        index = xp.arange(like.shape[0])
    else:
        index = xp.asarray(keys.image_index)
        if index.shape != like.shape[:1]:
            raise ShapeError(
                f"a mask for {like.shape[0]} rows needs an image_index ({like.shape[0]},), mask_keys was given "
                f"{index.shape}; pass the indices of the images that are in this part of the batch"
            )
    numbers = uniform(xp, keys.seed, keys.step, f"mask {keys.next_op}", index, per_image, np.float32)  # (B, per_image)
    keys.next_op += 1
    return Tensor((numbers >= rate).astype(like.dtype))
