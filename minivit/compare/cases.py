"""For every op of `minivit.ops`, inputs and settings on which to prove it: shared by the tests and `minivit check`.

A case names an op; the plain NumPy transcription, the PyTorch and the JAX computation of the same name and the same
keywords stand in `against_numpy`, `against_torch` and `against_jax`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minivit import ops
from minivit.autograd import Proof, Tensor, prove
from minivit.compare import against_jax, against_numpy, against_torch

FRAMEWORKS = {"PyTorch": against_torch, "JAX": against_jax}

# Functions whose keyword or variable arguments are called by position and keyword here, as the references are.
CALLS: dict[str, Callable[..., Tensor]] = {
    "batch_norm": lambda x, weight=None, bias=None, mean=None, variance=None, *, eps: ops.batch_norm(
        x, weight, bias, eps=eps, mean=mean, variance=variance
    ),
    "broadcast_to": lambda x, shape: ops.broadcast_to(x, shape),
    "concatenate": lambda *xs, axis: ops.concatenate(xs, axis),
    "kl_divergence": lambda target, pred, **options: ops.kl_divergence(
        target_logits=target, pred_logits=pred, allow_target_gradient=True, **options
    ),
    "qkv_attention": lambda qkv, mask=None, *, heads: ops.qkv_attention(qkv, heads, mask),
    "reshape": lambda x, shape: ops.reshape(x, shape),
    "split": lambda x, parts, axis, part: ops.split(x, parts, axis)[part],
    "stack": lambda *xs, axis: ops.stack(xs, axis),
    "transpose": lambda x, axes: ops.transpose(x, axes),
    "cross_entropy": lambda logits, labels, weights=None, **options: ops.cross_entropy(
        logits, labels, example_weights=weights, **options
    ),
}

# Functions without a gradient, or whose output has another dtype than its input on purpose.
WITHOUT_CASES = {"argmax", "argmin", "astype"}


@dataclass(frozen=True)
class Case:
    """One op at one point.

    Attributes
    ----------
    op : str
        Its name in `minivit.ops`.
    inputs : tuple of arrays and None
        float64 arrays are differentiated.
    attributes : mapping
        Keywords, the same for every library.
    constant, zero : tuple of int
        Positions of inputs that carry no gradient, and of those whose gradient is zero by structure.
    linear : bool
        Whether the op has no second order.
    """

    op: str
    inputs: tuple[Any, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constant: tuple[int, ...] = ()
    zero: tuple[int, ...] = ()
    linear: bool = False

    def __str__(self) -> str:
        shapes = ", ".join("None" if x is None else str(np.shape(x)) for x in self.inputs)
        return f"{self.op}({shapes}{''.join(f', {key}={value}' for key, value in self.attributes.items())})"

    @property
    def function(self) -> Callable[..., Tensor]:
        """The op as a function of Tensors and keywords."""
        function: Callable[..., Tensor] = CALLS.get(self.op) or getattr(ops, self.op)
        return function

    def prove(self, frameworks: Sequence[str] = (), raise_on_failure: bool = True) -> Proof:
        """Climb the ladder: see `minivit.prove`.

        Parameters
        ----------
        frameworks : sequence of {"PyTorch", "JAX"}
            Those that are installed and should be compared with.
        raise_on_failure : bool
            Raise if a rung fails, in place of only reporting it.
        """
        return prove(
            self.function,
            *self.inputs,
            attributes=self.attributes,
            reference=getattr(against_numpy, self.op),
            frameworks={name: FRAMEWORKS[name].runner(self.op, self.attributes, self.constant) for name in frameworks},
            constant=self.constant,
            zero=self.zero,
            linear=self.linear,
            raise_on_failure=raise_on_failure,
        )


def cases(*chosen: str) -> list[Case]:
    """Every case (or those of the ops named): the same numbers each time."""
    rng = np.random.default_rng(2026)
    groups = (_elementwise, _arithmetic, _reductions, _shaping, _tokens, _layers, _losses, _images)
    every = [case for group in groups for case in group(rng)]
    unknown = set(chosen) - {case.op for case in every}
    if unknown:
        raise ValueError(f"no cases for {sorted(unknown)}")
    return [case for case in every if not chosen or case.op in chosen]


def spread(rng: np.random.Generator, *shape: int) -> Any:
    """Numbers in [-1, 1] in random order, evenly spaced: none near zero or near another, where an op has its kinks."""
    count = int(np.prod(shape))
    return rng.permutation((np.arange(count) + 0.5) * (2.0 / count) - 1.0).reshape(shape)


def _elementwise(rng: np.random.Generator) -> list[Case]:
    normal = rng.standard_normal
    x = normal((3, 4))
    mask = rng.random((3, 4)) < 0.5
    return [
        Case("exp", (x,)),
        Case("log", (np.exp(x),)),
        Case("sqrt", (np.exp(x),)),
        Case("sin", (x,)),
        Case("cos", (x,)),
        Case("tanh", (x,)),
        Case("erf", (x,)),
        Case("absolute", (spread(rng, 3, 4),), linear=True),
        Case("clip", (spread(rng, 3, 4),), {"low": -0.5, "high": 0.7}, linear=True),
        Case("clip", (spread(rng, 3, 4),), {"low": -0.5}, linear=True),
        Case("maximum", (spread(rng, 3, 4), spread(rng, 4) * 0.97), linear=True),
        Case("minimum", (spread(rng, 3, 4), spread(rng, 3, 1) * 0.97), linear=True),
        Case("where", (mask, x, normal((4,))), linear=True),
        Case("relu", (spread(rng, 3, 4),), linear=True),
        Case("leaky_relu", (spread(rng, 3, 4),), {"slope": 0.1}, linear=True),
        Case("sigmoid", (x,)),
        Case("gelu", (2.0 * x,), {"approximate": "none"}),
        Case("gelu", (2.0 * x,), {"approximate": "tanh"}),
        Case("dropout", (x, mask), {"rate": 0.25}, linear=True),
        Case("drop_path", (x, np.array([True, False, True])), {"rate": 0.25}, linear=True),
    ]


def _arithmetic(rng: np.random.Generator) -> list[Case]:
    normal = rng.standard_normal
    a, b, row = normal((2, 3, 4)), normal((2, 3, 4)), normal((4,))
    away = np.sign(b) * (0.5 + np.abs(b))
    return [
        Case("add", (a, row), linear=True),
        Case("subtract", (row, a), linear=True),
        Case("multiply", (a, normal((3, 1)))),
        Case("divide", (row, away)),
        Case("divide", (a, away)),
        Case("negative", (a,), linear=True),
        Case("power", (a,), {"exponent": 2}),
        Case("power", (np.abs(away),), {"exponent": -0.5}),
        Case("power", (away,), {"exponent": 3}),
        Case("power", (np.abs(away),), {"exponent": 1.7}),
        Case("matmul", (normal((3, 4)), normal((4, 2)))),
        Case("matmul", (normal((2, 1, 3, 4)), normal((5, 4, 2)))),
        Case("matmul", (normal((4,)), normal((2, 4, 3)))),
        Case("matmul", (normal((2, 3, 4)), normal((4,)))),
    ]


def _reductions(rng: np.random.Generator) -> list[Case]:
    x, distinct = rng.standard_normal((2, 3, 4)), spread(rng, 2, 3, 4)
    return [
        Case("sum", (x,), {"axis": None}, linear=True),
        Case("sum", (x,), {"axis": (0, -1), "keepdims": True}, linear=True),
        Case("mean", (x,), {"axis": 1}, linear=True),
        Case("mean", (x,), {"axis": (0, 2)}, linear=True),
        Case("max", (distinct,), {"axis": None}, linear=True),
        Case("max", (distinct,), {"axis": (0, 2)}, linear=True),
        Case("max", (distinct,), {"axis": 1, "keepdims": True}, linear=True),
        Case("min", (distinct,), {"axis": -1}, linear=True),
        Case("var", (x,), {"axis": -1}),
        Case("var", (x,), {"axis": (0, 1), "correction": 1}),
        Case("logsumexp", (x,), {"axis": 1}),
        Case("logsumexp", (x,), {"axis": (0, 2)}),
    ]


def _shaping(rng: np.random.Generator) -> list[Case]:
    x, rows, columns = rng.standard_normal((2, 3, 4)), np.array([0, 2, 2]), np.array([1, 0, 0])
    return [
        Case("reshape", (x,), {"shape": (4, 6)}, linear=True),
        Case("flatten", (x,), {"start_axis": 1}, linear=True),
        Case("transpose", (x,), {"axes": (2, 0, 1)}, linear=True),
        Case("swapaxes", (x,), {"axis1": 0, "axis2": -1}, linear=True),
        Case("broadcast_to", (x[:, :1],), {"shape": (5, 2, 3, 4)}, linear=True),
        Case("expand_dims", (x,), {"axis": -2}, linear=True),
        Case("squeeze", (x[:, :1],), {"axis": 1}, linear=True),
        Case("concatenate", (x, x[:, :2] + 1.0), {"axis": 1}, linear=True),
        Case("stack", (x, x + 1.0, x - 2.0), {"axis": -1}, linear=True),
        Case("split", (x,), {"parts": 2, "axis": 2, "part": 1}, linear=True),
        Case("pad", (x,), {"widths": ((0, 0), (1, 2), (3, 0)), "value": 0.5}, linear=True),
        Case("take", (x,), {"key": (slice(None), 1, slice(3, None, -2))}, linear=True),
        Case("take", (x,), {"key": (0, rows, columns)}, linear=True),
        Case("take", (x,), {"key": x > 0.3}, linear=True),
        Case("place", (x[0, :, 0],), {"key": (rows, columns), "shape": (3, 2)}, linear=True),
    ]


def _tokens(rng: np.random.Generator) -> list[Case]:
    normal = rng.standard_normal
    patches, class_token = normal((2, 3, 4)), normal((1, 1, 4))
    return [
        Case("patchify", (normal((2, 3, 4, 6)),), {"patch_size": 2}, linear=True),
        Case("unpatchify", (normal((2, 6, 12)),), {"patch_size": 2, "shape": (3, 4, 6)}, linear=True),
        Case("embed_tokens", (patches, class_token, normal((1, 4, 4))), linear=True),
        Case("embed_tokens", (patches, None, normal((1, 3, 4))), linear=True),
        Case("embed_tokens", (patches, class_token, None), linear=True),
        Case("embedding", (np.array([[0, 2], [2, 1]]), normal((4, 3))), linear=True),
    ]


def _layers(rng: np.random.Generator) -> list[Case]:
    normal = rng.standard_normal
    x = normal((2, 3, 4))
    q, k, v = normal((2, 2, 3, 4)), normal((2, 2, 5, 4)), normal((2, 2, 5, 3))
    allowed = np.array([[True, True, False, True, False]] * 2 + [[True] * 5])
    fc1, fc2 = (normal((6, 4)), normal((6,))), (normal((5, 6)), normal((5,)))
    return [
        Case("softmax", (x,), {"axis": -1}),
        Case("softmax", (x,), {"axis": 1}),
        Case("log_softmax", (x,), {"axis": -1}),
        Case("layer_norm", (x, normal((4,)), normal((4,))), {"eps": 1e-6}),
        Case("layer_norm", (x, normal((4,)), normal((4,))), {"eps": 0.1}),
        Case("linear", (x, normal((5, 4)), normal((5,)))),
        Case("linear", (x, normal((5, 4)), None)),
        Case("mlp", (x, *fc1, *fc2), {"approximate": "none"}),
        Case("mlp", (x, *fc1, *fc2), {"approximate": "tanh"}),
        Case("attention", (q, k, v)),
        Case("attention", (q, k, v, normal((2, 1, 3, 5))), {"scale": 0.3}),
        Case("attention", (q, k, v, allowed)),
        Case("qkv_attention", (normal((2, 3, 12)),), {"heads": 2}),
        Case("qkv_attention", (normal((2, 3, 12)), normal((3, 3))), {"heads": 1}),
    ]


def _losses(rng: np.random.Generator) -> list[Case]:
    logits, others = 2.0 * rng.standard_normal((3, 4)), 2.0 * rng.standard_normal((3, 4))
    labels, weights = np.array([1, 0, 3]), np.array([0.5, 2.0, 1.0])
    probabilities = np.exp(others) / np.exp(others).sum(-1, keepdims=True)
    return [
        Case("cross_entropy", (logits, labels), {"reduction": "mean"}),
        Case("cross_entropy", (logits, labels), {"reduction": "sum", "label_smoothing": 0.1}),
        Case("cross_entropy", (logits, labels), {"reduction": "none"}),
        Case("cross_entropy", (logits, labels, weights), {"reduction": "none"}),
        Case("cross_entropy", (logits, labels, weights), {"reduction": "mean", "label_smoothing": 0.1}),
        Case("cross_entropy", (logits, probabilities), {"reduction": "none", "label_smoothing": 0.1}),
        Case("kl_divergence", (others, logits)),
        Case("kl_divergence", (others, logits), {"temperature": 0.4}),
        Case("kl_divergence", (others, logits), {"temperature": 0.4}, constant=(0,)),
        *(Case("mse_loss", (logits, others), {"reduction": reduction}) for reduction in ("mean", "sum", "none")),
        *(Case("mse_loss", (logits, others, probabilities), {"reduction": r}) for r in ("mean", "sum", "none")),
        Case("mse_loss", (logits, others, weights[:, None]), {"reduction": "mean"}, constant=(1, 2)),
    ]


def _images(rng: np.random.Generator) -> list[Case]:
    normal = rng.standard_normal
    image, distinct = normal((2, 3, 5, 6)), spread(rng, 2, 3, 5, 6)
    weight, bias, mean = normal((3, 3))
    variance = np.exp(normal((3,)))
    return [
        Case("batch_norm", (image, weight, bias), {"eps": 1e-5}),
        Case("batch_norm", (2.0 * image + 1.0,), {"eps": 0.1}),
        Case("batch_norm", (normal((6, 3)), weight, None), {"eps": 1e-5}),
        Case("batch_norm", (image, weight, bias, mean, variance), {"eps": 1e-5}, constant=(3, 4)),
        Case("batch_norm", (image, None, None, mean, variance), {"eps": 0.1}, constant=(3, 4), linear=True),
        Case("conv2d", (image, normal((4, 3, 3, 3)), normal((4,))), {"stride": 1, "padding": 1}),
        Case("conv2d", (image, normal((4, 3, 3, 2)), normal((4,))), {"stride": (2, 1), "padding": (1, 0)}),
        Case("conv2d", (image, normal((4, 3, 1, 1)), None), {"stride": 2}),
        Case("conv_transpose2d", (image, normal((3, 4, 4, 4)), normal((4,))), {"stride": 2, "padding": 1}),
        Case(
            "conv_transpose2d",
            (image, normal((3, 4, 3, 2)), None),
            {"stride": (3, 2), "padding": (0, 1), "output_padding": (2, 1)},
        ),
        Case("conv_transpose2d", (image, normal((3, 2, 3, 3)), normal((2,))), {"stride": 1, "padding": 1}),
        Case("max_pool2d", (distinct,), {"kernel_size": 2}, linear=True),
        Case("max_pool2d", (distinct,), {"kernel_size": 3, "stride": 2, "padding": 1}, linear=True),
        Case("avg_pool2d", (image,), {"kernel_size": (2, 3)}, linear=True),
        Case("avg_pool2d", (image,), {"kernel_size": 3, "stride": 2, "padding": 1}, linear=True),
        Case("unfold", (image,), {"kernel_size": (3, 2), "stride": (2, 1)}, linear=True),
        Case("fold", (normal((2, 3, 3, 2, 2, 5)),), {"shape": (2, 3, 5, 6), "stride": (2, 1)}, linear=True),
    ]
