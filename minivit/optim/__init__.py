"""Optimisers, schedules, clipping, averaging of weights: each one pass over the flat buffers."""

from minivit.optim.adamw import AdamW
from minivit.optim.clipping import clip_grad_norm, grad_norm
from minivit.optim.ema import ExponentialMovingAverage
from minivit.optim.layer_decay import layer_numbers, layer_wise_decay
from minivit.optim.muon import Muon
from minivit.optim.optimizer import Optimizer, decays_matrices
from minivit.optim.schedules import SCHEDULES, warmup_constant, warmup_cosine, warmup_linear
from minivit.optim.sgd import SGD

__all__ = [
    "SCHEDULES",
    "SGD",
    "AdamW",
    "ExponentialMovingAverage",
    "Muon",
    "Optimizer",
    "clip_grad_norm",
    "decays_matrices",
    "grad_norm",
    "layer_numbers",
    "layer_wise_decay",
    "warmup_constant",
    "warmup_cosine",
    "warmup_linear",
]
