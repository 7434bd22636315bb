"""Kullback-Leibler divergence between two softmax distributions, the consistency term of UDA."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor
from minivit.autograd.errors import ShapeError, StopGradientError
from minivit.ops.softmax import stable_log_softmax


class KlDivergence(Op):
    """l = sum_k p_k (log p_k - log q_k), p = softmax(target / temperature), q = softmax(pred).   (B, K) -> (B,).

    With respect to pred it has the gradient of the cross-entropy, q - p. With respect to the target, through
    dp_k/du_j = p_k (delta_kj - p_j), u = target / temperature: p (log p - log q - l) / temperature.
    """

    @staticmethod
    def forward(F: Any, target_logits: Any, pred_logits: Any, *, temperature: float) -> Any:
        log_p = stable_log_softmax(F, target_logits * (1.0 / temperature), -1)  # (B, K)
        log_q = stable_log_softmax(F, pred_logits, -1)
        loss = F.sum(F.exp(log_p) * (log_p - log_q), -1)  # (B, 1)
        return F.reshape(loss, pred_logits.shape[:-1]), (log_p, log_q)

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        target_logits: Any,
        pred_logits: Any,
        *,
        temperature: float,
        wanted: tuple[bool, ...],
    ) -> tuple[Any, Any]:
        log_p, log_q = saved
        dy = F.reshape(dy, (*dy.shape, 1))  # (B, 1)
        p = F.exp(log_p)
        dpred = dy * (F.exp(log_q) - p) if wanted[1] else None
        dtarget = None
        if wanted[0]:
            gap = log_p - log_q
            dtarget = dy * p * (gap - F.sum(p * gap, -1)) * (1.0 / temperature)
        return dtarget, dpred


def kl_divergence(
    *, target_logits: Any, pred_logits: Any, temperature: float = 1.0, allow_target_gradient: bool = False
) -> Tensor:
    """KL(softmax(target_logits / temperature) || softmax(pred_logits)) of each example, in nats.

    Parameters
    ----------
    target_logits : Tensor of shape (B, K)
        Logits of the distribution that is a constant: pass them through `minivit.stop_gradient`.
    pred_logits : Tensor of shape (B, K)
        Logits of the distribution that learns.
    temperature : float
        Divides the target logits only, as in UDA (Xie et al. 2019, arXiv:1904.12848, section 3): below 1 sharpens.
    allow_target_gradient : bool
        Let the gradient through to the target after all, to see what the stop is for.

    Returns
    -------
    Tensor of shape (B,)

    Raises
    ------
    StopGradientError
        If `target_logits` carries gradient and `allow_target_gradient` is False.
    ShapeError
        If the shapes differ.
    """
    target_logits, pred_logits = as_tensor(target_logits), as_tensor(pred_logits)
    if target_logits.shape != pred_logits.shape or pred_logits.ndim != 2:
        raise ShapeError(
            f"kl_divergence: both logits must be (B, K), got target {target_logits.shape} and pred {pred_logits.shape}"
        )
    if not temperature > 0.0:
        raise ValueError(f"kl_divergence: temperature must be positive, got {temperature}")
    if target_logits.requires_grad and not allow_target_gradient:
        raise StopGradientError(
            "kl_divergence: target_logits carries gradient, so the target would drift towards the prediction; pass "
            "mv.stop_gradient(target_logits), or allow_target_gradient=True to do without the stop on purpose"
        )
    return apply(KlDivergence, target_logits, pred_logits, temperature=float(temperature))
