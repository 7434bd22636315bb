"""The three terms of the UDA loss, a value for each example."""

from __future__ import annotations

from typing import Any

from minivit import ops
from minivit.autograd import Tensor, as_tensor, stop_gradient
from minivit.recipes.uda.settings import UdaSettings


def supervised_losses(logits: Any, labels: Any, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each labelled example.   logits (B, K), labels (B,) -> (B,)."""
    return ops.cross_entropy(logits, labels, label_smoothing, reduction="none")


def consistency_losses(original_logits: Any, augmented_logits: Any, settings: UdaSettings) -> Tensor:
    """KL(stop(softmax(o / tau)) || softmax(a)), not yet masked.   logits o, a (U, K) -> (U,)."""
    target, temperature = as_tensor(original_logits), settings.temperature
    if settings.stop_gradient:
        target = stop_gradient(target)
    if settings.temperature_of == "augmented":
        augmented_logits, temperature = augmented_logits * (1.0 / temperature), 1.0
    return ops.kl_divergence(
        target_logits=target,
        pred_logits=augmented_logits,
        temperature=temperature,
        allow_target_gradient=not settings.stop_gradient,
    )


def entropies(logits: Any) -> Tensor:
    """-sum_k p_k log p_k of each example, in nats.   (U, K) -> (U,). Nothing is stopped here, as in the code."""
    log_p = ops.log_softmax(logits)  # (U, K)
    return -(ops.exp(log_p) * log_p).sum(-1)
