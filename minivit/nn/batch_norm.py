"""Batch normalisation as a layer: scale and shift, and the statistics for evaluation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from minivit import ops
from minivit.autograd import Tensor
from minivit.backend import array_module
from minivit.backend.cpu.rendezvous import current_part
from minivit.nn.buffer import Buffer
from minivit.nn.module import Module
from minivit.nn.parameter import Parameter
from minivit.ops.batch_norm import BatchStatistics


class _State(threading.local):
    frozen: bool = False


_STATE = _State()


@contextmanager
def frozen_running_statistics() -> Iterator[None]:
    """Leave the running statistics of every layer as they are inside the block, in this thread.

    For a forward that is no step of training: one that is recomputed, or run for measuring.
    """
    before = _STATE.frozen
    _STATE.frozen = True
    try:
        yield
    finally:
        _STATE.frozen = before


class BatchNorm2d(Module):
    """Batch normalisation of each channel over the batch and all positions (Ioffe & Szegedy 2015, arXiv:1502.03167).

    While training it normalises with the statistics of the batch, and averages them into running ones:
    running = (1 - momentum) running + momentum batch's. In evaluation it normalises with the running ones. Names,
    defaults and semantics are those of `torch.nn.BatchNorm2d`: the batch is normalised with the variance divided by the
    number n of values in a channel, the running variance averages the one divided by n - 1.

    Inputs (B, C) are taken too.

    Parameters
    ----------
    channels : int
    eps : float
        Added to the variance.
    momentum : float in [0, 1]
        Weight of the newest batch in the running statistics.
    affine : bool
        With scale and shift.
    """

    mixes_examples = True

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"BatchNorm2d: the momentum must lie in [0, 1], got {momentum}")
        self.weight = Parameter(np.ones(channels, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(channels, np.float32)) if affine else None
        self.running_mean = Buffer(np.zeros(channels, np.float32))
        self.running_var = Buffer(np.ones(channels, np.float32))
        self.num_batches_tracked = Buffer(np.zeros((), np.int64))
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training:
            return ops.batch_norm(
                x, self.weight, self.bias, eps=self.eps, mean=self.running_mean, variance=self.running_var
            )
        y, statistics = ops.batch_norm(x, self.weight, self.bias, eps=self.eps, return_statistics=True)
        part = current_part()
        if not _STATE.frozen and (part is None or part.index == 0):  # all parts have the same statistics
            self._track(statistics)
        return y

    def _track(self, batch: BatchStatistics) -> None:
        keep, take = 1.0 - self.momentum, self.momentum
        unbiased = batch.count / (batch.count - 1)
        mean, var, tracked = self.running_mean, self.running_var, self.num_batches_tracked
        mean.replace(keep * mean.data + take * batch.mean)
        var.replace(keep * var.data + (take * unbiased) * batch.variance)
        tracked.replace(array_module(tracked.data).asarray(tracked.data + 1))

    def describe(self) -> str:
        """The layer's settings."""
        affine = "" if self.weight is not None else ", affine=False"
        return f"{self.running_mean.shape[0]}, eps={self.eps:g}, momentum={self.momentum:g}{affine}"
