"""Cross-entropy from logits."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor, check_devices
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.backend import array_module
from minivit.ops.softmax import stable_log_softmax


class CrossEntropy(Op):
    """l = -sum_k t_k log softmax(z)_k for each example.   logits z, targets t (B, K); l (B,).

    dl/dz = p sum_k t_k - t, with p = softmax(z): for targets that sum to one, the famous p - t.
    """

    @staticmethod
    def forward(F: Any, logits: Any, targets: Any) -> Any:
        log_p = stable_log_softmax(F, logits, -1)  # (B, K)
        loss = -F.sum(targets * log_p, -1)  # (B, 1)
        return F.reshape(loss, logits.shape[:-1]), (log_p, targets)

    @staticmethod
    def backward(
        F: Any, dy: Any, saved: Any, logits: Any, targets: Any, *, wanted: tuple[bool, ...]
    ) -> tuple[Any, Any]:
        log_p, t = saved
        dy = F.reshape(dy, (*dy.shape, 1))  # (B, 1)
        dlogits = dy * (F.exp(log_p) * F.sum(t, -1) - t) if wanted[0] else None
        return dlogits, -dy * log_p if wanted[1] else None


def cross_entropy(
    logits: Any,
    labels: Any,
    label_smoothing: float = 0.0,
    example_weights: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy between labels and softmax(logits).

    Parameters
    ----------
    logits : Tensor of shape (B, K)
    labels : integer Tensor of shape (B,), or probabilities of shape (B, K)
    label_smoothing : float in [0, 1]
        s: targets become (1 - s) t + s / K (Szegedy et al. 2016, arXiv:1512.00567).
    example_weights : Tensor of shape (B,), optional
        Factor of each example's loss.
    reduction : {"mean", "sum", "none"}
        "mean" divides the (weighted) sum by B, or by the sum of `example_weights` where they are given.

    Returns
    -------
    Tensor of shape (), or (B,) for "none"

    Raises
    ------
    ShapeError, DTypeError
        If labels or weights do not fit the logits.
    ValueError
        For a label outside 0..K-1 (checked on the CPU; on a GPU it would force a synchronisation), an unknown
        reduction, or a smoothing outside [0, 1].
    """
    logits, labels = as_tensor(logits), as_tensor(labels)
    if logits.ndim != 2:
        raise ShapeError(f"cross_entropy: expected logits (B, K), got {logits.shape}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction must be "mean", "sum" or "none", got {reduction!r}')
    losses = apply(CrossEntropy, logits, target_distribution(labels, logits, label_smoothing))  # (B,)
    if example_weights is None:
        return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()
    weights = as_tensor(example_weights)
    if weights.shape != losses.shape:
        raise ShapeError(f"cross_entropy: {losses.shape[0]} examples need weights {losses.shape}, got {weights.shape}")
    losses = losses * weights
    if reduction == "none":
        return losses
    return losses.sum() / weights.sum() if reduction == "mean" else losses.sum()


def target_distribution(labels: Tensor, logits: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Labels (B,) or probabilities (B, K) as smoothed probabilities (B, K) in the dtype of the logits."""
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must lie in [0, 1], got {label_smoothing}")
    batch, classes = logits.shape
    xp = array_module(logits.data)
    if labels.dtype.kind in "iu":
        if labels.shape != (batch,):
            raise ShapeError(f"logits {logits.shape} need labels ({batch},), got {labels.shape}")
        check_devices("cross_entropy", logits, labels)
        if labels.device == "cpu" and labels.size and not 0 <= labels.data.min() <= labels.data.max() < classes:
            raise ValueError(
                f"labels must lie in 0..{classes - 1} for {classes} logits, got {labels.data.min()}.."
                f"{labels.data.max()}"
            )
        targets = Tensor((labels.data[:, None] == xp.arange(classes)).astype(logits.dtype))  # (B, K)
    elif labels.shape != logits.shape:
        raise ShapeError(
            f"logits {logits.shape} need labels ({batch},) or probabilities {logits.shape}, got {labels.shape}"
        )
    elif labels.dtype != logits.dtype:
        raise DTypeError(f"probabilities must have the dtype of the logits, {logits.dtype}; got {labels.dtype}")
    else:
        targets = labels
    if label_smoothing:
        targets = targets * (1.0 - label_smoothing) + label_smoothing / classes
    return targets
