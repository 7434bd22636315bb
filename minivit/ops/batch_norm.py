"""Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

from minivit.autograd import Op, Tensor, apply, apply_with_saved, as_tensor
from minivit.autograd.errors import GradientError, ShapeError
from minivit.backend import Array
from minivit.backend.cpu.rendezvous import BatchPart, current_part


@dataclass(frozen=True, eq=False)
class BatchStatistics:
    """What `batch_norm` normalised a batch with: constants, on the device of the batch.

    Attributes
    ----------
    mean, variance : array (C,)
        The variance is divided by `count`.
    count : int
        Numbers in each channel, B H W, in all parts of the batch together.
    """

    mean: Array
    variance: Array
    count: int


class BatchNorm(Op):
    """y = n * weight + bias, n = (x - mean) r, r = (variance + eps)^-1/2, with each channel's mean and variance over
    the batch and all positions.   x (B, C, ...); weight, bias (C,) or None.

    Where the batch is split, `part` is the part of it that x is, and every mean goes over all parts.
    """

    keeps = ("weight",)

    @staticmethod
    def forward(F: Any, x: Any, weight: Any, bias: Any, *, eps: float, part: BatchPart | None) -> Any:
        mean, count = _batch_mean(F, x, part)  # (1, C, 1, 1)
        centered = x - mean
        variance, _ = _batch_mean(F, centered * centered, part)  # (1, C, 1, 1)
        r = (variance + eps) ** -0.5
        n = centered * r
        return _scale_and_shift(F, n, weight, bias), (n, r, (mean, variance, count))

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        x: Any,
        weight: Any,
        bias: Any,
        *,
        eps: float,
        part: BatchPart | None,
        wanted: tuple[bool, ...],
    ) -> tuple[Any, Any, Any]:
        n, r, _ = saved
        dx = None
        if wanted[0]:
            dn = dy if weight is None else dy * _per_channel(F, weight, dy.ndim)  # y = n * weight + bias
            mean_dn, _ = _batch_mean(F, dn, part)
            mean_dn_n, _ = _batch_mean(F, dn * n, part)
            # n = (x - mean) r: x reaches n directly, through the mean, and through the variance in r
            dx = r * (dn - mean_dn - n * mean_dn_n)
        return dx, *_scale_and_shift_gradients(F, dy, n, wanted[1:3])


class BatchNormEvaluation(Op):
    """y = n * weight + bias, n = (x - mean) r, r = (variance + eps)^-1/2, with mean and variance given.

    x (B, C, ...); weight, bias (C,) or None; mean, variance (C,), constants.
    """

    keeps = ("weight",)

    @staticmethod
    def forward(F: Any, x: Any, weight: Any, bias: Any, mean: Any, variance: Any, *, eps: float) -> Any:
        r = (_per_channel(F, variance, x.ndim) + eps) ** -0.5  # (1, C, 1, 1)
        n = (x - _per_channel(F, mean, x.ndim)) * r
        return _scale_and_shift(F, n, weight, bias), (n, r)

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        x: Any,
        weight: Any,
        bias: Any,
        mean: Any,
        variance: Any,
        *,
        eps: float,
        wanted: tuple[bool, ...],
    ) -> tuple[Any, ...]:
        n, r = saved
        dx = None
        if wanted[0]:
            dn = dy if weight is None else dy * _per_channel(F, weight, dy.ndim)  # y = n * weight + bias
            dx = r * dn  # n = (x - mean) r: neither mean nor r depends on x
        return dx, *_scale_and_shift_gradients(F, dy, n, wanted[1:3]), None, None


class SumOfParts(Op):
    """y = the sum of x over all parts of a split batch, the same y in every part.

    Each x goes into every y, so its gradient is the sum of all parts' dy.
    """

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, part: BatchPart) -> Any:
        if isinstance(x, Tensor):
            return apply(SumOfParts, x, part=part)
        first, *others = part.gather(x, f"a sum of {x.shape}")
        return sum(others, start=first)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, part: BatchPart) -> tuple[Any]:
        return (SumOfParts.forward(F, dy, part=part),)


def _batch_mean(F: Any, x: Any, part: BatchPart | None) -> tuple[Any, int]:
    """(1, C, 1, 1), each channel's mean over the batch and all positions; and how many numbers that are."""
    axes = _batch_axes(x.ndim)
    count = F.size(x.shape, axes)
    if part is None:
        return F.mean(x, axes), count
    count = sum(part.gather(count, "a count"))
    return SumOfParts.forward(F, F.sum(x, axes), part=part) / count, count


def _batch_axes(ndim: int) -> tuple[int, ...]:
    """All axes but the channels': (0, 2, 3) of (B, C, H, W)."""
    return (0, *range(2, ndim))


def _per_channel(F: Any, values: Any, ndim: int) -> Any:
    """(C,) -> (1, C, 1, 1), which broadcasts against (B, C, H, W)."""
    return F.reshape(values, (1, values.shape[0], *(1,) * (ndim - 2)))


def _scale_and_shift(F: Any, n: Any, weight: Any, bias: Any) -> Any:
    y = n if weight is None else n * _per_channel(F, weight, n.ndim)
    return y if bias is None else y + _per_channel(F, bias, n.ndim)


def _scale_and_shift_gradients(F: Any, dy: Any, n: Any, wanted: tuple[bool, ...]) -> tuple[Any, Any]:
    """Of weight and bias in y = n * weight + bias: every number of a channel collects."""
    axes, channels = _batch_axes(dy.ndim), (dy.shape[1],)
    dweight = F.reshape(F.sum(dy * n, axes), channels) if wanted[0] else None
    dbias = F.reshape(F.sum(dy, axes), channels) if wanted[1] else None
    return dweight, dbias


@overload
def batch_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    mean: Any = None,
    variance: Any = None,
    return_statistics: Literal[False] = False,
) -> Tensor: ...


@overload
def batch_norm(
    x: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5, return_statistics: Literal[True]
) -> tuple[Tensor, BatchStatistics]: ...


def batch_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    *,
    eps: float = 1e-5,
    mean: Any = None,
    variance: Any = None,
    return_statistics: bool = False,
) -> Any:
    """Normalise each channel to mean 0 and variance 1, then scale and shift it.

    While training, the mean and the variance are those of the batch, and gradients flow through them; where
    `minivit.recipes` splits the batch over threads, they are those of the whole of it, and every part has to be there.
    In evaluation they are given.

    Parameters
    ----------
    x : Tensor of shape (B, C, H, W), (B, C) or (B, C, ...)
    weight, bias : Tensor of shape (C,), optional
        1 and 0 where left out.
    eps : float
        Added to the variance.
    mean, variance : array or Tensor of shape (C,), optional
        Both or neither: constants to normalise with in place of the batch's own.
    return_statistics : bool
        Return the batch's own statistics too, to average them for evaluation.

    Returns
    -------
    Tensor of the shape of x
        With `return_statistics`, a pair of it and `BatchStatistics`.

    Raises
    ------
    ShapeError
        If something is not (C,), or a channel has a single number, whose variance is zero.
    GradientError
        If a given mean or variance carries gradient.
    """
    x = as_tensor(x)
    weight, bias, mean, variance = (
        None if given is None else as_tensor(given) for given in (weight, bias, mean, variance)
    )
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: expected x (B, C, ...), got {x.shape}")
    for name, given in (("weight", weight), ("bias", bias), ("mean", mean), ("variance", variance)):
        if given is not None and given.shape != x.shape[1:2]:
            raise ShapeError(f"batch_norm of {x.shape} needs a {name} of shape {x.shape[1:2]}, got {given.shape}")
    if (mean is None) != (variance is None):
        raise ValueError("batch_norm: give both mean and variance (evaluation), or neither (training)")
    if mean is not None:
        return _with_given_statistics(x, weight, bias, mean, variance, eps, return_statistics)
    if x.size == 0:
        raise ShapeError(f"batch_norm of {x.shape}: an empty batch has no mean; give mean and variance")
    y, saved = apply_with_saved(BatchNorm, x, weight, bias, eps=float(eps), part=current_part())
    *statistics, count = saved[-1]
    if count == 1:
        raise ShapeError(
            f"batch_norm of {x.shape}: each channel has a single number, whose variance is zero; train with more than "
            "one example, or give mean and variance (model.eval() does)"
        )
    if not return_statistics:
        return y
    channels = x.shape[1:2]
    batch_mean, batch_variance = (as_tensor(values).data.reshape(channels) for values in statistics)
    return y, BatchStatistics(batch_mean, batch_variance, count)


def _with_given_statistics(
    x: Tensor, weight: Any, bias: Any, mean: Tensor, variance: Tensor, eps: float, return_statistics: bool
) -> Tensor:
    if return_statistics:
        raise ValueError("batch_norm: with mean and variance given, it computes none; leave out return_statistics")
    if mean.requires_grad or variance.requires_grad:
        raise GradientError(
            "batch_norm: a given mean and variance are constants, but one carries gradient; pass mv.stop_gradient(it), "
            "or leave both out to use the batch's own"
        )
    return apply(BatchNormEvaluation, x, weight, bias, mean, variance, eps=float(eps))
