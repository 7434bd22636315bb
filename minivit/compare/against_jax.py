"""Every op as JAX computes it. JAX is imported when a case is run, never before."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

# One run of each compiled function: compiling it takes all the time.
FAST_TO_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def installed() -> bool:
    """Whether JAX can be imported."""
    return importlib.util.find_spec("jax") is not None


def runner(op: str, attributes: Mapping[str, Any], constant: Sequence[int]) -> Callable[..., Any]:
    """(inputs, cotangent) -> (value, gradients) by JAX, in the dtype of the inputs."""

    def run(inputs: Sequence[Any], cotangent: Any) -> tuple[Any, list[Any]]:
        import jax

        wanted = [i for i, x in enumerate(inputs) if x is not None and x.dtype.kind == "f" and i not in constant]

        def value_and_gradients(differentiated: Sequence[Any], dy: Any) -> tuple[Any, Any]:
            def function(*xs: Any) -> Any:
                arguments = list(inputs)
                for position, x in zip(wanted, xs, strict=True):
                    arguments[position] = x
                return functions()[op](*arguments, **attributes)

            value, pullback = jax.vjp(function, *differentiated)
            return value, pullback(dy)

        with jax.enable_x64(True):  # JAX computes in float32 otherwise, whatever comes in
            compiled = jax.jit(value_and_gradients, compiler_options=FAST_TO_COMPILE)
            value, found = compiled([inputs[position] for position in wanted], cotangent)
        gradients: list[Any] = [None] * len(inputs)
        for position, gradient in zip(wanted, found, strict=True):
            gradients[position] = np.asarray(gradient)
        return np.asarray(value), gradients

    return run


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """For each op, a function of JAX arrays with the keywords of ours."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    def attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float | None = None) -> Any:
        scores = jnp.einsum("...nd,...md->...nm", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
        if mask is not None:
            scores = jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask
        return jax.nn.softmax(scores) @ v

    def qkv_attention(qkv: Any, mask: Any = None, *, heads: int) -> Any:
        b, n, packed = qkv.shape
        q, k, v = qkv.reshape(b, n, 3, heads, -1).transpose(2, 0, 3, 1, 4)
        return attention(q, k, v, mask).swapaxes(1, 2).reshape(b, n, packed // 3)

    def linear(x: Any, weight: Any, bias: Any) -> Any:
        return x @ weight.T + (0.0 if bias is None else bias)

    def gelu(x: Any, approximate: str) -> Any:
        return jax.nn.gelu(x, approximate=approximate == "tanh")

    def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
        return jax.nn.standardize(x, epsilon=eps) * weight + bias

    def batch_norm(
        x: Any, weight: Any = None, bias: Any = None, mean: Any = None, variance: Any = None, *, eps: float
    ) -> Any:
        n = jnp.moveaxis(x, 1, -1)  # (B, H, W, C)
        if mean is None:
            n = jax.nn.standardize(n, axis=tuple(range(n.ndim - 1)), epsilon=eps)
        else:
            n = jax.nn.standardize(n, mean=mean, variance=variance, epsilon=eps)
        y = n * (1.0 if weight is None else weight) + (0.0 if bias is None else bias)
        return jnp.moveaxis(y, -1, 1)

    def embed_tokens(patches: Any, class_token: Any, positions: Any) -> Any:
        if class_token is not None:
            patches = jnp.concatenate([jnp.repeat(class_token, len(patches), 0), patches], 1)
        return patches if positions is None else patches + positions

    def unfold(x: Any, kernel_size: Any, stride: Any) -> Any:
        windows = lax.conv_general_dilated_patches(x, kernel_size, stride, "VALID")  # (B, C kh kw, H', W')
        return windows.reshape(*x.shape[:2], *kernel_size, *windows.shape[2:])

    def fold(windows: Any, shape: Any, stride: Any) -> Any:
        zeros = jnp.zeros(shape, windows.dtype)
        (folded,) = jax.vjp(lambda x: unfold(x, windows.shape[2:4], stride), zeros)[1](windows)  # its adjoint
        return folded

    def patchify(images: Any, patch_size: int) -> Any:
        patches = unfold(images, (patch_size,) * 2, (patch_size,) * 2)  # (B, C, p, p, H', W')
        return patches.reshape(*(len(images), -1), patches.shape[4] * patches.shape[5]).swapaxes(1, 2)

    def unpatchify(patches: Any, patch_size: int, shape: Any) -> Any:
        c, height, width = shape
        rows, columns = height // patch_size, width // patch_size
        windows = patches.swapaxes(1, 2).reshape(-1, c, patch_size, patch_size, rows, columns)
        return fold(windows, (len(patches), *shape), (patch_size,) * 2)

    def cross_entropy(
        logits: Any, labels: Any, weights: Any = None, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> Any:
        classes = logits.shape[1]
        targets = jax.nn.one_hot(labels, classes, dtype=logits.dtype) if labels.dtype.kind == "i" else labels
        targets = (1.0 - label_smoothing) * targets + label_smoothing / classes
        losses = -(targets * jax.nn.log_softmax(logits)).sum(-1)
        w = jnp.ones_like(losses) if weights is None else weights
        if reduction == "none":
            return losses * w
        return (losses * w).sum() / (w.sum() if reduction == "mean" else 1.0)

    def kl_divergence(target: Any, pred: Any, temperature: float = 1.0) -> Any:
        log_p, log_q = jax.nn.log_softmax(target / temperature), jax.nn.log_softmax(pred)
        return (jnp.exp(log_p) * (log_p - log_q)).sum(-1)

    def mse_loss(pred: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
        w = jnp.ones_like(pred) if weight is None else jnp.broadcast_to(weight, pred.shape)
        losses = w * jnp.square(pred - target)
        if reduction == "none":
            return losses
        return losses.sum() / (w.sum() if reduction == "mean" else 1.0)

    def both(value: Any) -> Any:
        return (value, value) if isinstance(value, int) else value

    def conv2d(x: Any, weight: Any, bias: Any, stride: Any = 1, padding: Any = 0) -> Any:
        y = lax.conv(jnp.pad(x, ((0, 0), (0, 0), *((n, n) for n in both(padding)))), weight, both(stride), "VALID")
        return y if bias is None else y + bias[:, None, None]

    def conv_transpose2d(
        x: Any, weight: Any, bias: Any, stride: Any = 1, padding: Any = 0, output_padding: Any = 0
    ) -> Any:
        flipped = weight[:, :, ::-1, ::-1].swapaxes(0, 1)  # (O, C, kh, kw)
        borders = [
            (k - 1 - border, k - 1 - border + extra)
            for k, border, extra in zip(weight.shape[2:], both(padding), both(output_padding), strict=True)
        ]
        y = lax.conv_general_dilated(x, flipped, (1, 1), borders, lhs_dilation=both(stride))
        return y if bias is None else y + bias[:, None, None]

    def pool(start: float, combine: Any) -> Callable[..., Any]:
        def call(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
            kernel, border = both(kernel_size), both(padding)
            steps = kernel if stride is None else both(stride)
            widths = ((0, 0), (0, 0), *((n, n) for n in border))
            return lax.reduce_window(x, np.asarray(start, x.dtype), combine, (1, 1, *kernel), (1, 1, *steps), widths)

        return call

    def average(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Any:
        total = pool(0.0, lax.add)(x, kernel_size, stride, padding)
        return total / (both(kernel_size)[0] * both(kernel_size)[1])

    return {
        "absolute": jnp.absolute,
        "add": jnp.add,
        "attention": attention,
        "avg_pool2d": average,
        "batch_norm": batch_norm,
        "broadcast_to": jnp.broadcast_to,
        "clip": lambda x, low=None, high=None: jnp.clip(x, low, high),
        "concatenate": lambda *xs, axis: jnp.concatenate(xs, axis),
        "conv2d": conv2d,
        "conv_transpose2d": conv_transpose2d,
        "cos": jnp.cos,
        "cross_entropy": cross_entropy,
        "divide": jnp.divide,
        "drop_path": lambda x, keep, rate: x * keep[:, None] / (1.0 - rate),
        "dropout": lambda x, keep, rate: x * keep / (1.0 - rate),
        "embed_tokens": embed_tokens,
        "embedding": lambda indices, weight: jnp.take(weight, indices, axis=0),
        "erf": jax.scipy.special.erf,
        "exp": jnp.exp,
        "expand_dims": jnp.expand_dims,
        "flatten": lambda x, start_axis: x.reshape(*x.shape[:start_axis], -1),
        "fold": fold,
        "gelu": gelu,
        "kl_divergence": kl_divergence,
        "layer_norm": layer_norm,
        "leaky_relu": lambda x, slope: jax.nn.leaky_relu(x, slope),
        "linear": linear,
        "log": jnp.log,
        "log_softmax": jax.nn.log_softmax,
        "logsumexp": jax.scipy.special.logsumexp,
        "matmul": jnp.matmul,
        "max": jnp.max,
        "max_pool2d": pool(-np.inf, lax.max),
        "maximum": jnp.maximum,
        "mean": jnp.mean,
        "min": jnp.min,
        "minimum": jnp.minimum,
        "mlp": lambda x, w1, b1, w2, b2, approximate: linear(gelu(linear(x, w1, b1), approximate), w2, b2),
        "mse_loss": mse_loss,
        "multiply": jnp.multiply,
        "negative": jnp.negative,
        "pad": lambda x, widths, value: jnp.pad(x, widths, constant_values=value),
        "patchify": patchify,
        "place": lambda x, key, shape: jnp.zeros(shape, x.dtype).at[key].add(x),
        "power": lambda x, exponent: x**exponent,
        "qkv_attention": qkv_attention,
        "relu": jax.nn.relu,
        "reshape": jnp.reshape,
        "sigmoid": jax.nn.sigmoid,
        "sin": jnp.sin,
        "softmax": jax.nn.softmax,
        "split": lambda x, parts, axis, part: jnp.split(x, parts, axis)[part],
        "sqrt": jnp.sqrt,
        "squeeze": jnp.squeeze,
        "stack": lambda *xs, axis: jnp.stack(xs, axis),
        "subtract": jnp.subtract,
        "sum": jnp.sum,
        "swapaxes": jnp.swapaxes,
        "take": lambda x, key: x[key],
        "tanh": jnp.tanh,
        "transpose": jnp.transpose,
        "unfold": unfold,
        "unpatchify": unpatchify,
        "var": lambda x, axis, correction=0: jnp.var(x, axis, ddof=correction),
        "where": jnp.where,
    }
