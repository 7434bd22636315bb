"""The two masks of the UDA loss: which labelled examples still train, and which unlabelled ones are confident."""

from __future__ import annotations

import math

from minivit.backend import Array, array_module, backend_of
from minivit.ops.softmax import stable_softmax
from minivit.recipes.uda.settings import TSA_SCHEDULES


def tsa_threshold(schedule: str, progress: float, num_classes: int) -> float:
    """eta_t = alpha_t (1 - 1/K) + 1/K, which rises from chance to certainty (figure 5 of the paper).

    Parameters
    ----------
    schedule : {"none", "linear", "log", "exp"}
        alpha_t = t/T, 1 - exp(-5 t/T), exp(5 (t/T - 1)). With few labels take "exp", which holds the labels back the
        longest. "none" is 1: no probability exceeds it, so nothing is dropped.
    progress : float in [0, 1]
        t/T.
    num_classes : int
        K.

    Raises
    ------
    ValueError
        For an unknown schedule, a progress outside [0, 1], or less than two classes.
    """
    if schedule not in TSA_SCHEDULES:
        raise ValueError(f"tsa must be one of {', '.join(TSA_SCHEDULES)}; got {schedule!r}")
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress is the step divided by the number of steps, from 0 to 1; got {progress}")
    if num_classes < 2:
        raise ValueError(f"there must be two classes or more, got {num_classes}")
    if schedule == "none":
        return 1.0
    alpha = {
        "linear": progress,
        "log": 1.0 - math.exp(-5.0 * progress),
        "exp": math.exp(5.0 * (progress - 1.0)),
    }
    return alpha[schedule] * (1.0 - 1.0 / num_classes) + 1.0 / num_classes


def tsa_kept(logits: Array, labels: Array, threshold: float, gate: str = "label") -> Array:
    """Which labelled examples still train: not those whose label already has a probability above the threshold.

    Parameters
    ----------
    logits : array (B, K)
    labels : integer array (B,)
    threshold : float
        Of `tsa_threshold`.
    gate : {"label", "max"}
        See `UdaSettings.tsa_gate`.

    Returns
    -------
    array (B,) of bool
    """
    p = _probabilities(logits)  # (B, K)
    if gate == "max":
        return ~(p.max(1) > threshold)
    is_label = labels[:, None] == array_module(logits).arange(logits.shape[1])  # (B, K)
    return ~((p * is_label).sum(1) > threshold)


def confident(original_logits: Array, confidence: float, temperature: float = 1.0, of: str = "plain") -> Array:
    """Which unlabelled examples are predicted with a largest probability above the threshold.

    Parameters
    ----------
    original_logits : array (U, K)
    confidence : float
        0 or less keeps all, since the largest of K probabilities is at least 1/K.
    temperature : float
        Of the sharpening; matters only where `of` is "sharpened".
    of : {"plain", "sharpened"}
        See `UdaSettings.confidence_of`.

    Returns
    -------
    array (U,) of bool
    """
    logits = original_logits * (1.0 / temperature) if of == "sharpened" else original_logits
    return _probabilities(logits).max(1) > confidence


def _probabilities(logits: Array) -> Array:
    return stable_softmax(backend_of(logits).F, logits, -1)
