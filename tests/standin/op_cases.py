"""A call of every public op, for the tests that compare one array library with another."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minivit as mv
from minivit import ops


@dataclass(frozen=True)
class Case:
    """One call: ``function(*tensors)``, with a tensor for each of the inputs.

    Floating-point inputs are float64 here; `arrays` gives them in any precision.
    """

    name: str
    function: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    constant: frozenset[int] = field(default_factory=frozenset)

    def arrays(self, dtype: Any) -> list[np.ndarray]:
        return [x.astype(dtype) if x.dtype.kind == "f" else x for x in self.inputs]

    def tensors(self, arrays: list[Any], device: str = "cpu") -> list[mv.Tensor]:
        return [
            mv.tensor(x, requires_grad=x.dtype.kind == "f" and position not in self.constant, device=device)
            for position, x in enumerate(arrays)
        ]

    def __str__(self) -> str:
        return self.name


def _cases() -> list[Case]:
    rng = np.random.default_rng(7)
    cases: list[Case] = []

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    def positive(*shape: int) -> np.ndarray:
        return rng.uniform(0.5, 2.0, shape)

    def whole(high: int, *shape: int) -> np.ndarray:
        return rng.integers(0, high, shape)

    def mask(*shape: int) -> np.ndarray:
        return rng.random(shape) < 0.6

    def case(name: str, function: Callable[..., Any], *inputs: np.ndarray, constant: tuple[int, ...] = ()) -> None:
        cases.append(Case(name, function, inputs, frozenset(constant)))

    # Arithmetic
    for name, operation in [("add", ops.add), ("subtract", ops.subtract), ("multiply", ops.multiply)]:
        case(name, operation, normal(3, 1, 4), normal(2, 4))
        case(f"{name}-number", lambda x, f=operation: f(2.5, f(x, 1.5)), normal(3, 4))
    case("add-0d", ops.add, normal(), normal())
    case("add-integers", lambda x: x + 3, whole(9, 5))
    case("divide", ops.divide, normal(3, 4), positive(4))
    case("divide-number", lambda x: 1.5 / (x / 3.0), positive(3, 4))
    case("negative", ops.negative, normal(3, 4))
    for exponent in (2, 3, -1, 0.5, -0.5, 1.7, 0):
        case(f"power-{exponent}", lambda x, e=exponent: x**e, positive(3, 4))

    # One element
    for name in ("exp", "sin", "cos", "tanh", "erf", "sigmoid", "relu", "absolute", "leaky_relu"):
        case(name, getattr(ops, name), 2 * normal(3, 5))
    case("log", ops.log, positive(3, 4))
    case("sqrt", ops.sqrt, positive(3, 4))
    case("clip", lambda x: ops.clip(x, -0.5, 0.7), normal(4, 5))
    case("clip-one-sided", lambda x: ops.clip(x, low=0.0), normal(4, 5))
    case("maximum", ops.maximum, normal(3, 4), normal(4))
    case("minimum", lambda x: ops.minimum(x, 0.25), normal(3, 4))
    case("where", ops.where, mask(3, 4), normal(3, 4), normal(4))
    case("where-number", lambda c, x: ops.where(c, x, -1.0), mask(3, 4), normal(3, 4))
    case("astype", lambda x: ops.astype(x, np.float32) * 2.0, normal(3, 4))
    case("astype-integers", lambda x: x.astype(np.float64).sum(), whole(9, 4))
    case("gelu", ops.gelu, 2 * normal(3, 5))
    case("gelu-tanh", lambda x: ops.gelu(x, "tanh"), 2 * normal(3, 5))
    for name, compare in [
        ("less", lambda a, b: a < b),
        ("less-equal", lambda a, b: a <= b),
        ("greater", lambda a, b: a > b.data),
        ("greater-equal", lambda a, b: a >= 0.1 * b),
        ("equal", lambda a, b: a == a + 0.0 * b),
        ("not-equal", lambda a, b: a != b),
    ]:
        case(f"compare-{name}", compare, normal(3, 4), normal(4))
    case("compare-number", lambda a: a > 0.1, normal(3, 4))

    # Reductions
    for name in ("sum", "mean", "max", "min", "var"):
        reduce = getattr(ops, name)
        case(name, reduce, normal(3, 4))
        case(f"{name}-axis", lambda x, f=reduce: f(x, 1), normal(3, 4, 2))
        case(f"{name}-axes", lambda x, f=reduce: f(x, (0, -1), True), normal(3, 4, 2))
    case("max-ties", lambda x: ops.max(x, 1), np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]]))
    case("logsumexp", ops.logsumexp, normal(3, 4))
    case("argmax", lambda x: ops.argmax(x, 1), normal(3, 4))
    case("argmin", ops.argmin, normal(3, 4))

    # Shapes
    case("reshape", lambda x: ops.reshape(x, 2, -1), normal(3, 4))
    case("flatten", lambda x: ops.flatten(x, 1), normal(3, 4, 2))
    case("transpose", lambda x: ops.transpose(x, 2, 0, 1), normal(3, 4, 2))
    case("swapaxes", lambda x: ops.swapaxes(x, 0, 2), normal(3, 4, 2))
    case("broadcast_to", lambda x: ops.broadcast_to(x, 5, 3, 4), normal(3, 1))
    case("expand_dims", lambda x: ops.expand_dims(x, 1), normal(3, 4))
    case("squeeze", ops.squeeze, normal(3, 1, 4))
    case("concatenate", lambda x, y: ops.concatenate([x, y], 1), normal(3, 2), normal(3, 4))
    case("stack", lambda x, y: ops.stack([x, y], 1), normal(3, 2), normal(3, 2))
    case("split", lambda x: ops.split(x, 2, 1)[1], normal(3, 4))
    case("pad", lambda x: ops.pad(x, ((1, 0), (2, 3)), 0.5), normal(3, 4))
    case("take-basic", lambda x: x[1:, None, ::2, -1], normal(3, 4, 2))
    case("take-element", lambda x: x[2], normal(4))
    case("take-integers", lambda x, i: x[i], normal(5, 3), np.array([0, 4, 4, -1]))
    case("take-pairs", lambda x, i, j: x[i, :, j], normal(5, 3, 4), whole(5, 6), whole(4, 6))
    case("place", lambda x, i: ops.place(x, i, (5, 3)), normal(4, 3), np.array([0, 3, 3, 1]))
    case("unfold", lambda x: ops.unfold(x, (2, 3), (1, 2)), normal(2, 3, 5, 7))
    case("fold", lambda x: ops.fold(x, (2, 3, 5, 7), (1, 2)), normal(2, 3, 2, 3, 4, 3))

    # Layers
    case("matmul", ops.matmul, normal(2, 3, 4), normal(4, 5))
    case("matmul-vectors", lambda a, b, c: (a @ b) * (b.T @ c), normal(4), normal(4, 4), normal(4))
    case("linear", ops.linear, normal(2, 3, 4), normal(5, 4), normal(5))
    case("linear-no-bias", ops.linear, normal(3, 4), normal(5, 4))
    case("mlp", ops.mlp, normal(2, 3, 4), normal(8, 4), normal(8), normal(5, 8), normal(5))
    case("layer_norm", ops.layer_norm, normal(2, 3, 8), normal(8), normal(8))
    case("softmax", ops.softmax, 3 * normal(3, 5))
    case("log_softmax", lambda x: ops.log_softmax(x, 0), 3 * normal(3, 5))
    case("attention", ops.attention, normal(2, 2, 3, 4), normal(2, 2, 5, 4), normal(2, 2, 5, 4))
    case("attention-mask", ops.attention, *(normal(2, 2, 3, 4) for _ in range(3)), normal(3, 3))
    case("qkv_attention", lambda x: ops.qkv_attention(x, 2), normal(2, 5, 12))
    case(
        "qkv_attention-mask",
        lambda x, m: ops.qkv_attention(x, 2, m),
        normal(2, 5, 12),
        mask(5, 5) | np.eye(5, dtype=bool),
    )
    case("patchify", lambda x: ops.patchify(x, 2), normal(2, 3, 4, 6))
    case("unpatchify", lambda x: ops.unpatchify(x, 2, (3, 4, 6)), normal(2, 6, 12))
    case("embed_tokens", ops.embed_tokens, normal(2, 5, 4), normal(1, 1, 4), normal(1, 6, 4))
    case("embed_tokens-plain", lambda x, p: ops.embed_tokens(x, None, p), normal(2, 5, 4), normal(1, 5, 4))
    case("embedding", ops.embedding, np.array([[0, 3], [3, 1]]), normal(5, 4))
    case("dropout", lambda x, keep: ops.dropout(x, keep, 0.4), normal(3, 4), mask(3, 4))
    case("drop_path", lambda x, keep: ops.drop_path(x, keep, 0.4), normal(3, 4, 2), mask(3))
    case("conv2d", lambda x, w, b: ops.conv2d(x, w, b, 2, 1), normal(2, 3, 7, 6), normal(4, 3, 3, 3), normal(4))
    case("conv2d-no-bias", ops.conv2d, normal(2, 3, 5, 5), normal(4, 3, 2, 3))
    case("max_pool2d", lambda x: ops.max_pool2d(x, 3, 2, 1), normal(2, 3, 7, 6))
    case("avg_pool2d", lambda x: ops.avg_pool2d(x, 2, padding=1), normal(2, 3, 6, 6))

    # Losses
    labels, weights = whole(5, 4), positive(4)
    probabilities = rng.dirichlet(np.ones(5), 4)
    case("cross_entropy", ops.cross_entropy, normal(4, 5), labels)
    case("cross_entropy-smoothed", lambda z, y: ops.cross_entropy(z, y, 0.1, reduction="sum"), normal(4, 5), labels)
    case("cross_entropy-weighted", lambda z, y, w: ops.cross_entropy(z, y, 0.0, w), normal(4, 5), labels, weights)
    case("cross_entropy-soft", lambda z, y: ops.cross_entropy(z, y, reduction="none"), normal(4, 5), probabilities)
    case(
        "kl_divergence",
        lambda p, q: ops.kl_divergence(target_logits=p, pred_logits=q, temperature=0.7),
        normal(4, 5),
        normal(4, 5),
        constant=(0,),
    )
    case(
        "kl_divergence-both",
        lambda p, q: ops.kl_divergence(target_logits=p, pred_logits=q, allow_target_gradient=True),
        normal(4, 5),
        normal(4, 5),
    )
    case("stop_gradient", lambda x: mv.stop_gradient(x) * x, normal(3, 4))
    return cases


CASES = _cases()
