"""How fast minivit works: the kinds of work, turns in processes of their own, and what they amount to.

>>> from minivit.recipes.speed import Contender, ModelWork, alternate, summarize_speed
>>> work = ModelWork("vit_tiny_cifar", batch=128)
>>> found = alternate({"minivit": Contender(work.start)})  # doctest: +SKIP
>>> summarize_speed(work, found)["ms"]  # doctest: +SKIP

What others take for the same work is in `minivit.compare.rivals`.
"""

from minivit.recipes.speed.mlp_work import MlpWork
from minivit.recipes.speed.model_work import ModelWork
from minivit.recipes.speed.process_memory import PeakMemory
from minivit.recipes.speed.result import speed_ratios, summarize_measured, summarize_speed
from minivit.recipes.speed.run_work import RunWork, images_at_hand
from minivit.recipes.speed.turns import Contender, ContenderError, Measured, Step, alternate
from minivit.recipes.speed.work import Work

__all__ = [
    "Contender",
    "ContenderError",
    "Measured",
    "MlpWork",
    "ModelWork",
    "PeakMemory",
    "RunWork",
    "Step",
    "Work",
    "alternate",
    "images_at_hand",
    "speed_ratios",
    "summarize_measured",
    "summarize_speed",
]
