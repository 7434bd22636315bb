"""Every op as PyTorch computes it. PyTorch is imported when a case is run, never before."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np


def installed() -> bool:
    """Whether PyTorch can be imported."""
    return importlib.util.find_spec("torch") is not None


def runner(op: str, attributes: Mapping[str, Any], constant: Sequence[int]) -> Callable[..., Any]:
    """(inputs, cotangent) -> (value, gradients) by PyTorch, in the dtype of the inputs."""

    def run(inputs: Sequence[Any], cotangent: Any) -> tuple[Any, list[Any]]:
        import torch

        tensors = [None if x is None else torch.from_numpy(np.array(x)) for x in inputs]
        for position, tensor in enumerate(tensors):
            if tensor is not None and tensor.is_floating_point() and position not in constant:
                tensor.requires_grad_()
        output = functions()[op](*tensors, **attributes)
        output.backward(torch.from_numpy(np.array(cotangent)))
        gradients = [None if tensor is None or tensor.grad is None else tensor.grad.numpy() for tensor in tensors]
        return output.detach().numpy(), gradients

    return run


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """For each op, a function of PyTorch tensors with the keywords of ours."""
    import torch
    from torch.nn import functional

    def place(x: Any, key: Any, shape: Any) -> Any:
        index = tuple(torch.from_numpy(part) for part in key)
        return torch.zeros(shape, dtype=x.dtype).index_put(index, x, accumulate=True)

    def take(x: Any, key: Any) -> Any:
        parts = [
            torch.from_numpy(p) if isinstance(p, np.ndarray) else p for p in (key if type(key) is tuple else [key])
        ]
        last = parts[-1]
        if isinstance(last, slice) and (last.step or 1) < 0:  # PyTorch has no negative steps
            x = x.flip(-1)
            parts[-1] = slice(x.shape[-1] - 1 - last.start, None, -last.step)
        return x[tuple(parts)]

    def embed_tokens(patches: Any, class_token: Any, positions: Any) -> Any:
        if class_token is not None:
            patches = torch.cat([class_token.expand(len(patches), -1, -1), patches], 1)
        return patches if positions is None else patches + positions

    def patchify(images: Any, patch_size: int) -> Any:
        return functional.unfold(images, patch_size, stride=patch_size).swapaxes(1, 2)

    def unpatchify(patches: Any, patch_size: int, shape: Any) -> Any:
        return functional.fold(patches.swapaxes(1, 2), shape[1:], patch_size, stride=patch_size)

    def attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float | None = None) -> Any:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

    def qkv_attention(qkv: Any, mask: Any = None, *, heads: int) -> Any:
        b, n, packed = qkv.shape
        q, k, v = qkv.reshape(b, n, 3, heads, packed // (3 * heads)).permute(2, 0, 3, 1, 4)  # as in timm
        return attention(q, k, v, mask).swapaxes(1, 2).reshape(b, n, packed // 3)

    def mlp(x: Any, w1: Any, b1: Any, w2: Any, b2: Any, approximate: str) -> Any:
        return functional.linear(functional.gelu(functional.linear(x, w1, b1), approximate=approximate), w2, b2)

    def batch_norm(
        x: Any, weight: Any = None, bias: Any = None, mean: Any = None, variance: Any = None, *, eps: float
    ) -> Any:
        return functional.batch_norm(x, mean, variance, weight, bias, training=mean is None, eps=eps)

    def cross_entropy(
        logits: Any, labels: Any, weights: Any = None, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> Any:
        if weights is None:
            return functional.cross_entropy(logits, labels, reduction=reduction, label_smoothing=label_smoothing)
        losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing) * weights
        return losses if reduction == "none" else losses.sum() / (weights.sum() if reduction == "mean" else 1.0)

    def kl_divergence(target: Any, pred: Any, temperature: float = 1.0) -> Any:
        log_p, log_q = functional.log_softmax(target / temperature, -1), functional.log_softmax(pred, -1)
        return functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)

    def mse_loss(pred: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
        if weight is None:
            return functional.mse_loss(pred, target, reduction=reduction)
        losses, total = functional.mse_loss(pred, target, reduction="none") * weight, weight.expand(pred.shape).sum()
        return losses if reduction == "none" else losses.sum() / (total if reduction == "mean" else 1.0)

    def unfold(x: Any, kernel_size: Any, stride: Any) -> Any:
        return x.unfold(2, kernel_size[0], stride[0]).unfold(3, kernel_size[1], stride[1]).permute(0, 1, 4, 5, 2, 3)

    def fold(windows: Any, shape: Any, stride: Any) -> Any:
        columns = windows.reshape(shape[0], shape[1] * windows.shape[2] * windows.shape[3], -1)
        return functional.fold(columns, shape[2:], tuple(windows.shape[2:4]), stride=stride)

    def over(reduce: Callable[..., Any]) -> Callable[..., Any]:
        def call(x: Any, axis: Any = None, keepdims: bool = False) -> Any:
            return reduce(x, tuple(range(x.ndim)) if axis is None else axis, keepdims)

        return call

    return {
        "absolute": torch.abs,
        "add": torch.add,
        "attention": attention,
        "avg_pool2d": functional.avg_pool2d,
        "batch_norm": batch_norm,
        "broadcast_to": lambda x, shape: x.broadcast_to(shape),
        "clip": lambda x, low=None, high=None: x.clip(low, high),
        "concatenate": lambda *xs, axis: torch.cat(xs, axis),
        "conv2d": functional.conv2d,
        "conv_transpose2d": functional.conv_transpose2d,
        "cos": torch.cos,
        "cross_entropy": cross_entropy,
        "divide": torch.divide,
        "drop_path": lambda x, keep, rate: x * keep[:, None] / (1.0 - rate),
        "dropout": lambda x, keep, rate: x * keep / (1.0 - rate),
        "embed_tokens": embed_tokens,
        "embedding": functional.embedding,
        "erf": torch.erf,
        "exp": torch.exp,
        "expand_dims": lambda x, axis: x.unsqueeze(axis),
        "flatten": lambda x, start_axis: x.flatten(start_axis),
        "fold": fold,
        "gelu": lambda x, approximate: functional.gelu(x, approximate=approximate),
        "kl_divergence": kl_divergence,
        "layer_norm": lambda x, weight, bias, eps: functional.layer_norm(x, weight.shape, weight, bias, eps),
        "leaky_relu": lambda x, slope: functional.leaky_relu(x, slope),
        "linear": functional.linear,
        "log": torch.log,
        "log_softmax": lambda x, axis: functional.log_softmax(x, axis),
        "logsumexp": over(torch.logsumexp),
        "matmul": torch.matmul,
        "max": lambda x, axis=None, keepdims=False: x.max() if axis is None else over(torch.amax)(x, axis, keepdims),
        "max_pool2d": functional.max_pool2d,
        "maximum": torch.maximum,
        "mean": over(torch.mean),
        "min": over(torch.amin),
        "minimum": torch.minimum,
        "mlp": mlp,
        "mse_loss": mse_loss,
        "multiply": torch.multiply,
        "negative": torch.negative,
        "pad": lambda x, widths, value: functional.pad(x, [n for pair in reversed(widths) for n in pair], value=value),
        "patchify": patchify,
        "place": place,
        "power": lambda x, exponent: x**exponent,
        "qkv_attention": qkv_attention,
        "relu": functional.relu,
        "reshape": torch.reshape,
        "sigmoid": torch.sigmoid,
        "sin": torch.sin,
        "softmax": lambda x, axis: functional.softmax(x, axis),
        "split": lambda x, parts, axis, part: x.tensor_split(parts, axis)[part],
        "sqrt": torch.sqrt,
        "squeeze": lambda x, axis: x.squeeze(axis),
        "stack": lambda *xs, axis: torch.stack(xs, axis),
        "subtract": torch.subtract,
        "sum": over(torch.sum),
        "swapaxes": lambda x, axis1, axis2: x.swapaxes(axis1, axis2),
        "take": take,
        "tanh": torch.tanh,
        "transpose": lambda x, axes: x.permute(axes),
        "unfold": unfold,
        "unpatchify": unpatchify,
        "var": lambda x, axis, correction=0: x.var(axis, correction=correction),
        "where": torch.where,
    }
