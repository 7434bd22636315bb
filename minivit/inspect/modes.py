"""Running a model in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from minivit.nn import Module


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every module has the mode that it had."""
    training = {id(module): module.training for _, module in model.named_modules()}
    model.eval()
    try:
        yield
    finally:
        for _, module in model.named_modules():
            module.training = training[id(module)]
