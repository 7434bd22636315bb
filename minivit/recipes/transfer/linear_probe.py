"""A linear classifier on features that stay as they are: softmax regression, solved to the optimum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from minivit.autograd import Tensor
from minivit.backend.cpu.threads import Workers
from minivit.data.split import stratified_split
from minivit.nn import Linear
from minivit.ops import cross_entropy
from minivit.optim import SGD
from minivit.recipes.parallel import ParallelGradients

PENALTIES = (1.0, 0.1, 1e-2, 1e-3, 1e-4)
HELD_OUT = 0.2  # share of the training features on which the penalty is chosen


@dataclass(frozen=True)
class SoftmaxRegression:
    """The minimum of mean cross-entropy + penalty / 2 |weight|^2, or what came nearest to it.

    Attributes
    ----------
    weight : array (K, D)
    bias : array (K,)
        Not penalised.
    penalty : float
    loss : float
        The whole objective.
    steps : int
    gradient_norm : float
        Of the objective, at the end.
    converged : bool
        Whether that is below the tolerance.
    """

    weight: np.ndarray
    bias: np.ndarray
    penalty: float
    loss: float
    steps: int
    gradient_norm: float
    converged: bool

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, K)."""
        return np.asarray(features @ self.weight.T + self.bias)


@dataclass(frozen=True)
class LinearProbe:
    """Softmax regression on standardised features.

    Attributes
    ----------
    mean, scale : array (D,)
        Of the training features; a feature that does not vary has scale 1.
    solution : SoftmaxRegression
    held_out : dict of float to float
        For each penalty, the accuracy on the training features that were held out to choose it; empty where one
        penalty was given.
    """

    mean: np.ndarray
    scale: np.ndarray
    solution: SoftmaxRegression
    held_out: dict[float, float] = field(default_factory=dict)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, K)."""
        return self.solution.logits((features - self.mean) / self.scale)


def fit_probe(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    workers: Workers,
    *,
    penalties: tuple[float, ...] = PENALTIES,
    seed: int = 0,
    tolerance: float = 1e-4,
    max_steps: int = 2000,
) -> LinearProbe:
    """Fit a linear probe; of several penalties, the one that is best on a fifth of the training features.

    Parameters
    ----------
    features : array (N, D) of a float type
        Of training images alone.
    labels : array (N,) of int64
    num_classes : int
    workers : Workers
    penalties : tuple of float
        Tried from the strongest on, each from the solution of the one before. Equals are decided for the stronger.
    seed : int
        Of the split.
    tolerance, max_steps
        As for `fit_softmax`.

    Returns
    -------
    LinearProbe
        Fitted to all of the training features with the chosen penalty.

    Raises
    ------
    ValueError
        If features and labels do not fit together, or a class has too few examples to hold one out.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"fit_probe: expected features (N, D) and labels (N,), got {features.shape}, {labels.shape}")
    if not penalties:
        raise ValueError("fit_probe: give at least one penalty")
    mean, scale = standardisation(features)
    inputs = (features - mean) / scale
    held_out: dict[float, float] = {}
    best = penalties[0]
    if len(penalties) > 1:
        kept, chosen_on = stratified_split(labels, [1 - HELD_OUT, HELD_OUT], seed)
        solution = None
        for penalty in sorted(penalties, reverse=True):
            solution = fit_softmax(
                inputs[kept], labels[kept], num_classes, penalty, workers,
                start=solution, tolerance=tolerance, max_steps=max_steps,
            )  # fmt: skip
            right = solution.logits(inputs[chosen_on]).argmax(1) == labels[chosen_on]
            held_out[penalty] = float(right.mean())
        best = max(held_out, key=lambda penalty: held_out[penalty])
    solution = fit_softmax(inputs, labels, num_classes, best, workers, tolerance=tolerance, max_steps=max_steps)
    return LinearProbe(mean, scale, solution, held_out)


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (D,) of features (N, D), in their dtype; 1 for a feature that does not vary."""
    mean = features.mean(0, dtype=np.float64)
    scale = features.std(0, dtype=np.float64)
    scale[scale <= 1e-6 * np.abs(mean)] = 1.0
    return mean.astype(features.dtype), np.where(scale > 0, scale, 1.0).astype(features.dtype)


def fit_softmax(
    features: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    penalty: float,
    workers: Workers,
    *,
    start: SoftmaxRegression | None = None,
    tolerance: float = 1e-4,
    max_steps: int = 2000,
) -> SoftmaxRegression:
    """Minimise mean cross-entropy + penalty / 2 |weight|^2 by Nesterov's method, the whole set a step.

    The objective is convex, so nothing has to be tuned: its curvature is at most L = eigenvalue / 2 + penalty, with the
    largest eigenvalue of X^T X / N, X the features beside a column of ones (Böhning 1992), and at least the penalty.
    The learning rate is 1 / L and the momentum (1 - q) / (1 + q), q = sqrt(penalty / L): Nesterov 2004, "Introductory
    lectures on convex optimization", 2.2.1.

    Parameters
    ----------
    features : array (N, D) of a float type
        Better standardised: the steps needed grow with sqrt(L / penalty).
    labels : array (N,) of int64
    num_classes : int
    penalty : float above 0
        scikit-learn's `C` is 1 / (penalty N).
    workers : Workers
        Among which the examples are divided.
    start : SoftmaxRegression, optional
        Where to begin; by default at zero.
    tolerance : float
        Norm of the gradient at which it ends.
    max_steps : int

    Returns
    -------
    SoftmaxRegression

    Raises
    ------
    ValueError
        If the penalty is 0 or less.
    """
    if not penalty > 0.0:
        raise ValueError(f"fit_softmax: expected a penalty above 0, got {penalty}")
    count, dim = features.shape
    beside_ones = np.concatenate([features, np.ones((count, 1), features.dtype)], 1)
    steepest = float(np.linalg.eigvalsh((beside_ones.T @ beside_ones / count).astype(np.float64))[-1])
    largest = steepest / 2 + penalty
    ratio = (penalty / largest) ** 0.5
    model = Linear(dim, num_classes).astype(features.dtype)
    assert model.bias is not None
    model.weight.assign(np.zeros((num_classes, dim)) if start is None else start.weight)
    model.bias.assign(np.zeros(num_classes) if start is None else start.bias)
    optimizer = SGD(model, 1 / largest, momentum=(1 - ratio) / (1 + ratio), nesterov=True, weight_decay=penalty)
    gradients = ParallelGradients(optimizer.flat, workers, micro_batch=-(-count // workers.count))

    def loss_of(part: slice) -> tuple[Tensor, float]:
        loss = cross_entropy(model(Tensor(features[part])), Tensor(labels[part]), reduction="sum") / count
        return loss, loss.item()

    step = 0
    while True:
        loss = sum(gradients.run(loss_of, count))
        weight = model.weight.data.astype(np.float64)
        slopes = optimizer.flat.by_name(optimizer.flat.grad)
        slope = slopes["weight"].astype(np.float64) + penalty * weight
        norm = float(np.sqrt((slope**2).sum() + (slopes["bias"].astype(np.float64) ** 2).sum()))
        if norm <= tolerance or step == max_steps:
            break
        optimizer.step()
        step += 1
    objective = float(loss + penalty / 2 * (weight**2).sum())
    return SoftmaxRegression(
        model.weight.numpy().copy(), model.bias.numpy().copy(), penalty, objective, step, norm, norm <= tolerance
    )
