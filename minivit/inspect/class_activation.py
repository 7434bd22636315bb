"""Class activation maps: where in an image a convolutional network finds the evidence for a class.

A network whose head reads the mean over all positions (global average pooling) can be read backwards without any
gradient: the logit of a class is the mean over positions of what the head's row says of each position alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minivit.autograd import as_tensor, no_grad
from minivit.backend import to_host
from minivit.inspect.modes import evaluating
from minivit.nn import Linear, Module


class ClassActivation(NamedTuple):
    """Class activation maps.

    Attributes
    ----------
    output : ndarray (B, K)
        Logits.
    classes : ndarray (B, n)
        The classes that the maps are of.
    maps : ndarray (B, n, rows, columns)
        On the grid of the last feature map. The mean over a map plus the head's bias is the class's logit.
    """

    output: np.ndarray
    classes: np.ndarray
    maps: np.ndarray


def has_class_activation(model: Module) -> bool:
    """Whether a model is one that `class_activation` can read: a linear head `fc` on the mean of feature maps."""
    return hasattr(model, "forward_features") and isinstance(getattr(model, "fc", None), Linear)


def class_activation(model: Module, images: Any, count: int = 1) -> ClassActivation:
    """Class activation maps of the likeliest classes (Zhou et al. 2016, arXiv:1512.04150, equations 1 and 2).

    With features f (B, D, H', W'), the logit of class k is bias_k + sum over d of weight[k, d] mean over i, j of
    f[d, i, j], which is bias_k + the mean over i, j of map_k[i, j] = sum over d of weight[k, d] f[d, i, j].

    Parameters
    ----------
    model : Module
        A `minivit.models.ResNet` or `WideResNet` with a head, or another that `has_class_activation`. Runs in
        evaluation mode; it is left as it was.
    images : array or Tensor (B, C, H, W)
    count : int
        Maps for each image: of its `count` likeliest classes, likeliest first; no more than there are classes.

    Returns
    -------
    ClassActivation

    Raises
    ------
    ValueError
        If the model has no such head, or `count` is below 1.
    """
    if not has_class_activation(model):
        raise ValueError(
            f"{type(model).__name__} has no linear head `fc` on the mean of feature maps, so its logits do not fall "
            "into a map; take a ResNet with classes, or heat_maps for a Vision Transformer"
        )
    if count < 1:
        raise ValueError(f"class_activation: count must be at least 1, got {count}")
    with no_grad(), evaluating(model):
        features = model.forward_features(as_tensor(images))  # type: ignore[attr-defined]  # (B, D, H', W')
        output = to_host(model.fc(features.mean((2, 3))).data)  # type: ignore[attr-defined]  # (B, K)
    weight = to_host(model.fc.weight.data)  # type: ignore[attr-defined]  # (K, D)
    classes = np.argsort(-output, axis=1, kind="stable")[:, :count]  # (B, n)
    maps = np.einsum("bnd,bdij->bnij", weight[classes], to_host(features.data))
    return ClassActivation(output, classes, maps)
