"""PyTorch's side of each kind of work, in eager mode."""

from __future__ import annotations

import importlib.util
from contextlib import AbstractContextManager
from functools import partial

from minivit.backend.mkl import VARIABLE
from minivit.recipes.speed import Contender, MlpWork, ModelWork, RunWork, Step, Work


def torch_contender(work: Work) -> Contender:
    """PyTorch for `minivit.recipes.speed.alternate`: without our MKL, which would take the place of its own.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    """
    if importlib.util.find_spec("torch") is None:  # nothing is imported: it would count in the memory of our side
        raise ImportError("PyTorch, to measure against, is not installed: pip install torch")
    return Contender(partial(start_torch, work), {VARIABLE: "0"})


def start_torch(work: Work) -> AbstractContextManager[Step]:
    """PyTorch's step of a kind of work, in this process.

    Raises
    ------
    ValueError
        For a kind of work, or settings, without a rival.
    """
    from minivit.compare.rivals import torch_mlp, torch_model, torch_run

    if isinstance(work, ModelWork):
        return torch_model.start(work)
    if isinstance(work, RunWork):
        return torch_run.start(work)
    if isinstance(work, MlpWork):
        return torch_mlp.start(work)
    raise ValueError(f"{type(work).__name__} has no rival in PyTorch; there is one of ModelWork, RunWork and MlpWork")
