"""Where minivit and a framework differ on purpose: each difference is computed, so that the list cannot grow stale."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit import nn, ops
from minivit.autograd import Tensor
from minivit.autograd.errors import DTypeError
from minivit.compare.against_keras import categorical_crossentropy
from minivit.compare.loss_rows import by_minivit


@dataclass(frozen=True)
class Difference:
    """One deliberate difference.

    Attributes
    ----------
    what : str
        What was computed.
    reference : str
    ours, theirs : str
        The two results.
    why : str
    """

    what: str
    reference: str
    ours: str
    theirs: str
    why: str


def differences(references: Sequence[str]) -> list[Difference]:
    """Every deliberate difference from the references named.

    Parameters
    ----------
    references : sequence of {"PyTorch", "JAX", "Keras"}
        Those that are installed.
    """
    sources = {"PyTorch": _from_torch, "JAX": _from_jax, "Keras": _from_keras}
    return [one for name, source in sources.items() if name in references for one in source()]


TIES = np.array([2.0, 2.0, 1.0])
TIE = "PyTorch's rule for a maximum along an axis and for max pooling, kept for all: ties give to the first"


def _from_torch() -> Iterator[Difference]:
    import torch

    def gradient(function: Callable[[Any], Any], x: Any) -> str:
        tensor = torch.from_numpy(np.array(x)).requires_grad_()
        function(tensor).sum().backward()
        return _shown(tensor.grad.numpy())

    yield Difference(
        "gradient of max([2, 2, 1]) over all", "PyTorch", _gradient(ops.max, TIES), gradient(torch.amax, TIES), TIE
    )
    yield Difference(
        "gradient of maximum(x, x) for its first argument",
        "PyTorch",
        _gradient(lambda x: ops.maximum(x, TIES), TIES),
        gradient(lambda x: torch.maximum(x, torch.from_numpy(TIES)), TIES),
        TIE,
    )
    yield Difference(
        "var([2, 2, 1])",
        "PyTorch",
        _shown(ops.var(Tensor(TIES)).numpy()),
        _shown(torch.from_numpy(TIES).var().numpy()),
        "divides by n, as NumPy and JAX and all normalisations do; correction=1 divides by n - 1",
    )
    yield Difference(
        "eps of a LayerNorm where none is given",
        "PyTorch",
        _shown(nn.LayerNorm(1).eps),
        _shown(torch.nn.LayerNorm(1).eps),
        "the eps of Google's and timm's Vision Transformers; Hugging Face's have 1e-12",
    )
    yield Difference(
        "float32 array plus float64 array",
        "PyTorch",
        _mixed(),
        str((torch.zeros(1) + torch.zeros(1, dtype=torch.float64)).dtype).removeprefix("torch."),
        "one dtype a graph: a cast is written where it happens",
    )


def _from_jax() -> Iterator[Difference]:
    import jax
    import jax.numpy as jnp

    def gradient(function: Callable[[Any], Any], x: Any) -> str:
        with jax.enable_x64(True):
            return _shown(jax.grad(lambda z: function(z).sum())(jnp.asarray(x)))

    x = np.array([1.0 / 3.0])
    with jax.enable_x64(False):
        single = str(jnp.exp(x).dtype)
    yield Difference(
        "dtype of exp of a float64 array",
        "JAX",
        str(ops.exp(Tensor(x)).dtype),
        single,
        "dtypes are kept; JAX computes in float32 until jax_enable_x64 is set, as it is for all comparisons here",
    )
    yield Difference("gradient of max([2, 2, 1])", "JAX", _gradient(ops.max, TIES), gradient(jnp.max, TIES), TIE)
    yield Difference(
        "gradient of maximum(x, x) for its first argument",
        "JAX",
        _gradient(lambda x: ops.maximum(x, TIES), TIES),
        gradient(lambda x: jnp.maximum(x, TIES), TIES),
        TIE,
    )
    ends = np.array([-1.0, 0.0, 1.0])
    yield Difference(
        "gradient of clip([-1, 0, 1], -1, 1)",
        "JAX",
        _gradient(lambda x: ops.clip(x, -1.0, 1.0), ends),
        gradient(lambda x: jnp.clip(x, -1.0, 1.0), ends),
        "as PyTorch: a value on the bound is not clipped",
    )
    yield Difference(
        "gradient of the absolute value of [-1, 0, 1]",
        "JAX",
        _gradient(ops.absolute, ends),
        gradient(jnp.abs, ends),
        "the sign, as in PyTorch",
    )
    two = np.array([2.0])
    with jax.enable_x64(True):
        approximate = jax.nn.gelu(jnp.asarray(two))
    yield Difference(
        "gelu(2) where nothing more is said",
        "JAX",
        _shown(ops.gelu(Tensor(two)).numpy()),
        _shown(approximate),
        'exact, as in PyTorch and timm; jax.nn.gelu is the tanh approximation, here approximate="tanh"',
    )


def _from_keras() -> Iterator[Difference]:
    logits, targets = np.array([[0.0, 30.0]]), np.array([[1.0, 0.0]])
    why = (
        "from logits nothing needs clipping; CategoricalCrossentropy clips probabilities to [1e-7, 1 - 1e-7] unless it "
        "is given from_logits=True"
    )
    loss, gradients = by_minivit(logits, targets)
    clipped, gradient = categorical_crossentropy(logits, targets, from_logits=False)
    yield Difference("loss of a true class with probability e^-30", "Keras", _shown(loss), _shown(clipped), why)
    yield Difference(
        "gradient of that loss for the true class's logit",
        "Keras",
        _shown(gradients["logits"][0, 0]),
        _shown(gradient[0, 0]),
        "the larger the mistake, the more there is to learn from; where it is clipped, nothing is learned",
    )
    logits, targets, weights = (
        np.log([[0.95, 0.05], [0.9, 0.1]]),
        np.array([[1.0, 0.0], [0.0, 1.0]]),
        np.array([0.3, 0.7]),
    )
    weighted, _ = categorical_crossentropy(logits, targets, from_logits=True, example_weights=weights)
    yield Difference(
        "mean of two losses with weights 0.3 and 0.7",
        "Keras",
        _shown(ops.cross_entropy(Tensor(logits), Tensor(targets), example_weights=weights).numpy()),
        _shown(weighted),
        'divided by the sum of the weights, as in PyTorch; Keras does so for reduction="mean_with_sample_weight" and '
        "else divides by the number of examples",
    )


def _gradient(function: Callable[[Any], Tensor], x: Any) -> str:
    tensor = Tensor(np.array(x), requires_grad=True)
    ops.sum(function(tensor)).backward()
    return _shown(tensor.grad)


def _mixed() -> str:
    try:
        return str(ops.add(Tensor(np.zeros(1, np.float32)), Tensor(np.zeros(1))).dtype)
    except DTypeError as error:
        return type(error).__name__


def _shown(values: Any) -> str:
    numbers = [f"{float(value) + 0.0:.6g}" for value in np.asarray(values).ravel()]
    return numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"
