"""Training parity: the same initial weights, batches, optimiser, schedule and clipping in minivit and in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit import data, models, ops, optim
from minivit.autograd import Tensor
from minivit.compare.torch_vit import torch_twin

SMALL: dict[str, Any] = {
    "image_size": 8,
    "patch_size": 4,
    "dim": 24,
    "depth": 2,
    "heads": 3,
    "mlp_dim": 48,
    "num_classes": 10,
    "initialization": "fan_in",
}
OPTIMIZERS = {"AdamW": 2e-3, "SGD": 0.03}  # with their learning rates


@dataclass(frozen=True)
class Recipe:
    """How both train.

    Attributes
    ----------
    optimizer : {"AdamW", "SGD"}
        SGD with a momentum of 0.9.
    steps, warmup_steps : int
        The learning rate rises linearly, then falls as half a cosine.
    batch_size : int
    weight_decay : float
        Of matrices alone.
    clip_norm : float
    label_smoothing : float
    seed : int
        Of the weights and the batches.
    """

    optimizer: str = "AdamW"
    steps: int = 200
    warmup_steps: int = 20
    batch_size: int = 16
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    seed: int = 0

    def learning_rate(self, step: int) -> float:
        """Of a step, from 0."""
        return OPTIMIZERS[self.optimizer] * optim.warmup_cosine(step, self.steps, self.warmup_steps)


@dataclass(frozen=True)
class Parity:
    """How far two trainings went the same way.

    Attributes
    ----------
    recipe : Recipe
    dtype : str
    ours, theirs : arrays of shape (steps,)
        Losses.
    weights : dict of str to float
        For each weight tensor the norm of the difference over the norm of the reference. In float32 ``qkv.bias`` counts
        without its key third: softmax does not see that, its gradient is rounding, and Adam makes full steps of it.
    key_biases : dict of str to float
        For each ``qkv.bias`` the norm of the difference of the key third over the norm of the whole.
    """

    recipe: Recipe
    dtype: str
    ours: np.ndarray
    theirs: np.ndarray
    weights: dict[str, float]
    key_biases: dict[str, float]

    @property
    def loss_error(self) -> float:
        """Largest difference of two losses."""
        return float(np.abs(self.ours - self.theirs).max())

    @property
    def weight_error(self) -> float:
        """Largest of `weights`."""
        return max(self.weights.values())

    @property
    def passed(self) -> bool:
        """Losses within 1e-4, weights within 1e-3 of their norm."""
        return self.loss_error <= 1e-4 and self.weight_error <= 1e-3


def train_both(
    model: models.VisionTransformer, images: Any, labels: Any, recipe: Recipe, dtype: str = "float32"
) -> Parity:
    """Train a model and its twin in PyTorch on the same batches.

    Parameters
    ----------
    model : VisionTransformer
        Its weights are the initial ones of both; it is trained in place.
    images : float array of shape (n, C, H, W)
    labels : int array of shape (n,)
    recipe : Recipe
    dtype : {"float32", "float64"}

    Returns
    -------
    Parity
    """
    model.astype(dtype).train()
    twin = torch_twin(model).train()
    rng = np.random.default_rng(recipe.seed)
    batches = [rng.choice(len(images), recipe.batch_size, replace=False) for _ in range(recipe.steps)]
    pixels = np.asarray(images, dtype)
    theirs = _by_torch(twin, model, pixels, labels, batches, recipe)
    ours = _by_minivit(model, pixels, labels, batches, recipe)
    return Parity(recipe, dtype, np.array(ours), np.array(theirs), *_weights_apart(model, twin))


def train_small(dataset: str = "digits") -> list[Parity]:
    """Train a small Vision Transformer by each optimiser in each dtype: some seconds.

    Parameters
    ----------
    dataset : {"digits", "cifar10"}

    Raises
    ------
    DataNotFoundError
        If CIFAR-10 is not on this machine.
    """
    train = data.load(dataset, download=False).train
    channels, side, _ = train.image_shape
    pixels = np.asarray(train.images[:2000], np.float32)
    pixels = (pixels - pixels.mean()) / pixels.std()
    settings = {**SMALL, "image_size": side, "patch_size": 4 if side < 16 else 8, "channels": channels}
    found = []
    for optimizer in OPTIMIZERS:
        for dtype in ("float32", "float64"):
            model = models.VisionTransformer(**settings)
            found.append(train_both(model, pixels, train.labels[: len(pixels)], Recipe(optimizer), dtype))
    return found


def _by_minivit(
    model: models.VisionTransformer, images: Any, labels: Any, batches: Sequence[Any], recipe: Recipe
) -> list[float]:
    optimizer: optim.Optimizer
    if recipe.optimizer == "AdamW":
        optimizer = optim.AdamW(model, weight_decay=recipe.weight_decay)
    else:
        optimizer = optim.SGD(model, momentum=0.9, weight_decay=recipe.weight_decay)
    losses = []
    for step, chosen in enumerate(batches):
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(Tensor(images[chosen])), Tensor(labels[chosen]), recipe.label_smoothing)
        loss.backward()
        optim.clip_grad_norm(optimizer.flat, recipe.clip_norm)
        optimizer.learning_rate = recipe.learning_rate(step)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _by_torch(
    twin: Any, model: models.VisionTransformer, images: Any, labels: Any, batches: Sequence[Any], recipe: Recipe
) -> list[float]:
    import torch

    decayed = {name for name, p in model.named_parameters() if optim.decays_matrices(name, p)}
    groups: list[dict[str, Any]] = [
        {"params": [p for n, p in twin.named_parameters() if n in decayed], "weight_decay": recipe.weight_decay},
        {"params": [p for n, p in twin.named_parameters() if n not in decayed], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "AdamW":
        optimizer = torch.optim.AdamW(groups)
    else:
        optimizer = torch.optim.SGD(groups, momentum=0.9)
    losses = []
    for step, chosen in enumerate(batches):
        optimizer.zero_grad()
        logits = twin(torch.from_numpy(images[chosen]))
        loss = torch.nn.functional.cross_entropy(
            logits, torch.from_numpy(labels[chosen]), label_smoothing=recipe.label_smoothing
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), recipe.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate(step)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def _weights_apart(model: models.VisionTransformer, twin: Any) -> tuple[dict[str, float], dict[str, float]]:
    weights: dict[str, float] = {}
    key_biases: dict[str, float] = {}
    references = {name: array.numpy() for name, array in twin.state_dict().items()}
    for name, ours in model.state_dict().items():
        theirs = references[name]
        if name.endswith("qkv.bias"):
            query, key, value = np.split(np.arange(len(ours)), 3)
            key_biases[name] = float(np.linalg.norm((ours - theirs)[key]) / np.linalg.norm(theirs))
            if ours.dtype == np.float32:
                others = np.concatenate([query, value])
                ours, theirs = ours[others], theirs[others]
        weights[name] = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    return weights, key_biases
