"""Auxiliary tasks whose labels images give for free: what a network learns from them is kept, the rest thrown away.

A new task is one class, see `PretextTask`; `RotationPrediction` is a short one. It joins `TASKS` by its name.
"""

from minivit.recipes.pretext.context_prediction import ContextPrediction
from minivit.recipes.pretext.inpainting import Inpainting
from minivit.recipes.pretext.rotation import RotationPrediction
from minivit.recipes.pretext.task import MakeEncoder, PretextModel, PretextTask

TASKS: dict[str, type[PretextTask]] = {task.name: task for task in (RotationPrediction, ContextPrediction, Inpainting)}

__all__ = [
    "TASKS",
    "ContextPrediction",
    "Inpainting",
    "MakeEncoder",
    "PretextModel",
    "PretextTask",
    "RotationPrediction",
]
