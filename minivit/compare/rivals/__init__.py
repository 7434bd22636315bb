"""The same work in other frameworks, written as one writes it well there: the rivals in speed.

>>> from minivit.compare.rivals import torch_contender
>>> from minivit.recipes.speed import Contender, ModelWork, alternate, summarize_speed
>>> work = ModelWork("vit_tiny_cifar")
>>> found = alternate({"minivit": Contender(work.start), "torch": torch_contender(work)})  # doctest: +SKIP
>>> summarize_speed(work, found)["speed_over_torch"]  # doctest: +SKIP
"""

from minivit.compare.rivals.torch_side import torch_contender

__all__ = ["torch_contender"]
