"""Training steps of a tiny perceptron in PyTorch: nn.Sequential and optim.SGD."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from minivit.recipes.speed import MlpWork, Step
from minivit.recipes.speed.mlp_work import LEARNING_RATE


@contextmanager
def start(work: MlpWork) -> Iterator[Step]:
    """The step as one writes it with PyTorch; in one thread, there is nothing to share out."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(work.features, work.hidden), nn.Tanh(), nn.Linear(work.hidden, 1))
    for ours, theirs in zip(work.build().parameters(), model.parameters(), strict=True):
        theirs.data.copy_(torch.from_numpy(np.array(ours.data)))
    x, y = (torch.from_numpy(array) for array in work.inputs_and_targets())
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def step() -> Any:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    yield step
