"""How good a model is on a data set; what a classifier's logits are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minivit import augment
from minivit.autograd import Tensor, no_grad
from minivit.backend import Array, backend_for_device, to_host
from minivit.backend.cpu.threads import Workers
from minivit.data import Dataset, StoredImages
from minivit.data.imagenet_labels import RealLabels
from minivit.nn import Module
from minivit.ops import cross_entropy
from minivit.recipes.parallel import evaluate_parts


@dataclass(frozen=True)
class Evaluation:
    """Result of an evaluation.

    Attributes
    ----------
    examples : int
        How many were looked at.
    values : dict of str to float
        Means over them, by name: ``"loss"``, and what else was measured, such as ``"accuracy"``.
    """

    examples: int
    values: dict[str, float]

    @property
    def loss(self) -> float:
        """Mean loss."""
        return self.values["loss"]


@dataclass(frozen=True)
class Classification(Evaluation):
    """What a classifier reached: the loss is the mean cross-entropy in nats.

    Attributes
    ----------
    confusion : array (K, K)
        Examples of class i (row) that were taken for class j (column).
    predictions : array (N,)
    """

    confusion: np.ndarray
    predictions: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of the examples whose class got the largest logit."""
        return self.values["accuracy"]


def predict_logits(
    model: Module,
    dataset: Dataset,
    mean: Sequence[float],
    std: Sequence[float],
    workers: Workers,
    part: int = 64,
) -> np.ndarray:
    """Logits (N, K) of every image, in order, without augmentation and with dropout off."""
    return logits_of_inputs(model, dataset.images, workers, part, lambda images: augment.normalize(images, mean, std))


def logits_of_inputs(
    model: Module,
    inputs: np.ndarray | StoredImages,
    workers: Workers,
    part: int,
    prepare: Callable[[Array], Array] = lambda x: x,
) -> np.ndarray:
    """Logits (N, K) of inputs (N, ...), in order, with dropout off; `prepare` makes what the model takes."""
    was_training = model.training
    model.eval()
    device = model.device
    backend = backend_for_device(device)

    def logits_of(piece: slice) -> np.ndarray:
        with no_grad():
            return to_host(model(Tensor(prepare(backend.from_host(inputs[piece], device)))).data)

    try:
        return np.concatenate(evaluate_parts(workers, logits_of, len(inputs), part))
    finally:
        model.train(was_training)


def evaluate(
    model: Module,
    dataset: Dataset,
    mean: Sequence[float],
    std: Sequence[float],
    workers: Workers,
    part: int = 64,
) -> Classification:
    """Accuracy, loss and confusion matrix of a model on a data set.

    Parameters
    ----------
    model : Module
        Images (B, C, H, W) -> logits (B, K).
    dataset : Dataset
    mean, std : sequence of C floats
        The normalisation that the model was trained with.
    workers : Workers
    part : int
        Images in one forward.
    """
    return judge(predict_logits(model, dataset, mean, std, workers, part), dataset.labels)


class RealAccuracy(NamedTuple):
    """Result on ImageNet-ReaL.

    Attributes
    ----------
    accuracy : float
    images : int
        Photos that have a label: what the accuracy is of.
    """

    accuracy: float
    images: int


def real_accuracy(predictions: Sequence[int] | np.ndarray, labels: RealLabels) -> RealAccuracy:
    """The share of the photos that have any label whose predicted class is one of their labels.

    L. Beyer et al.: Are we done with ImageNet? arXiv:2006.07159, section 3. Photos without a label do not count.

    Parameters
    ----------
    predictions : array (N,) of int
        Of ImageNet's validation photos in the order of their numbers, as `minivit.data.load_imagenet` has them.
    labels : N tuples of int
        By `minivit.data.load_real_labels`.

    Raises
    ------
    ValueError
        If there are not as many predictions as lists of labels, or no label at all.
    """
    if len(predictions) != len(labels):
        raise ValueError(f"expected a prediction for each of {len(labels):,} photos, got {len(predictions):,}")
    hits = [int(predicted) in right for predicted, right in zip(predictions, labels, strict=True) if right]
    if not hits:
        raise ValueError("none of the photos has a label")
    return RealAccuracy(sum(hits) / len(hits), len(hits))


def judge(logits: np.ndarray, labels: np.ndarray) -> Classification:
    """What logits (N, K) are worth where the labels (N,) are known."""
    predictions = logits.argmax(1)
    classes = logits.shape[1]
    confusion = np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
    with no_grad():
        loss = cross_entropy(Tensor(logits), labels).item()
    values = {"accuracy": float((predictions == labels).mean()), "loss": float(loss)}
    return Classification(len(labels), values, confusion, predictions)
