"""Training steps of a perceptron so small that next to nothing is computed: what the engine itself takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit import ops
from minivit.autograd import Tensor
from minivit.nn import Linear, Module
from minivit.optim import SGD
from minivit.recipes.speed.turns import Step

LEARNING_RATE = 0.05


class TwoLayers(Module):
    """fc2(tanh(fc1(x))).

    Parameters
    ----------
    features, hidden : int
    """

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = Linear(features, hidden), Linear(hidden, 1)

    def forward(self, x: Any) -> Tensor:
        """(B, features) -> (B, 1)."""
        y: Tensor = self.fc2(ops.tanh(self.fc1(x)))
        return y


@dataclass(frozen=True)
class MlpWork:
    """Mean squared error and plain gradient descent on the whole of a tiny data set.

    Attributes
    ----------
    examples, features, hidden : int
    """

    examples: int = 32
    features: int = 16
    hidden: int = 16

    @property
    def gflop(self) -> float:
        """Of a step: the first layer's input needs no gradient."""
        return 2e-9 * self.examples * (2 * self.features * self.hidden + 3 * self.hidden)

    def build(self) -> TwoLayers:
        """The model."""
        model, generator = TwoLayers(self.features, self.hidden), np.random.default_rng(0)
        for parameter in model.parameters():
            bound = parameter.shape[-1] ** -0.5
            parameter.assign(generator.uniform(-bound, bound, parameter.shape).astype(np.float32))
        return model

    def inputs_and_targets(self) -> tuple[np.ndarray, np.ndarray]:
        """(B, features) and (B, 1), of float32."""
        generator = np.random.default_rng(1)
        x = generator.standard_normal((self.examples, self.features), np.float32)
        return x, np.sin(x.sum(1, keepdims=True))

    def told(self) -> dict[str, Any]:
        """The sizes; with so little to do no thread can help another."""
        return {
            "model": f"{self.features}-{self.hidden}-1",
            "mode": "mlp",
            "batch": self.examples,
            "optimizer": "sgd",
            "threads": 1,
        }

    @contextmanager
    def start(self) -> Iterator[Step]:
        """The step as one writes it with minivit."""
        model, (inputs, targets) = self.build(), self.inputs_and_targets()
        optimizer = SGD(model, learning_rate=LEARNING_RATE, momentum=0.0)
        x, y = Tensor(inputs), Tensor(targets)

        def step() -> Any:
            optimizer.zero_grad()
            loss = ops.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.data

        yield step
