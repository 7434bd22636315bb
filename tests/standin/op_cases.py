"""A call of every public op, for the tests that compare one array library with another.

The cases of `minivit.compare`, and what has no gradient to prove or concerns the arrays alone: numbers, integers,
comparisons, arrays without axes.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minivit as mv
from minivit import ops
from minivit.backend import move
from minivit.backend.cpu.rendezvous import Rendezvous
from minivit.compare.cases import cases


@dataclass(frozen=True)
class Case:
    """One call: ``function(*tensors, **attributes)``, with a tensor for each input that is not None."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constant: tuple[int, ...] = ()

    def tensors(self, device: str = "cpu", dtype: Any = np.float64) -> list[mv.Tensor | None]:
        """The inputs on a device; those of floats in this precision, and carrying gradient."""
        made: list[mv.Tensor | None] = []
        for position, x in enumerate(self.inputs):
            if x is None:
                made.append(None)
            elif np.asarray(x).dtype.kind == "f":
                made.append(mv.tensor(x, position not in self.constant, dtype, device))
            else:
                made.append(mv.tensor(x, device=device))
        return made

    def on(self, device: str) -> Callable[..., mv.Tensor]:
        """The function, with the arrays among its attributes on a device."""
        return functools.partial(self.function, **_there(dict(self.attributes), device))

    @property
    def waits(self) -> bool:
        """Whether the shape of the result depends on values."""
        return any(isinstance(value, np.ndarray) and value.dtype == bool for value in self.attributes.values())

    def __str__(self) -> str:
        return self.name


def _there(value: Any, device: str) -> Any:
    """An attribute with its arrays on a device."""
    if isinstance(value, dict):
        return {key: _there(item, device) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_there(item, device) for item in value)
    return move(value, device) if isinstance(value, np.ndarray) else value


def _shared() -> list[Case]:
    return [
        Case(f"{case.op}-{number}", case.function, case.inputs, case.attributes, case.constant)
        for number, case in enumerate(cases())
    ]


def _batch_norm_of_a_part(x: mv.Tensor) -> mv.Tensor:
    """Of a batch that is split into a single part."""
    with Rendezvous(1).part(0):
        return ops.batch_norm(x)


def _further() -> list[Case]:
    rng = np.random.default_rng(7)
    x, y, row = (rng.standard_normal(shape) for shape in [(3, 4), (3, 4), (4,)])
    labels = rng.integers(0, 4, 3)
    ties = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]])
    comparisons: dict[str, Callable[..., Any]] = {
        "less": lambda a, b: a < b,
        "less_equal": lambda a, b: a <= b,
        "greater": lambda a, b: a > b.data,
        "greater_equal": lambda a, b: a >= 0.1 * b,
        "equal": lambda a, b: a == a + 0.0 * b,
        "not_equal": lambda a, b: a != b,
        "both": lambda a, b: (a > 0.1) & ~(b > 0),
        "either": lambda a, b: (a > 0.1) | (b > 0),
    }
    return [
        *(Case(f"compare-{name}", function, (x, row)) for name, function in comparisons.items()),
        *(Case(f"power-{e}", ops.power, (np.abs(x) + 0.5,), {"exponent": e}) for e in (2, 3, -1, 0.5, -0.5, 1.7, 0)),
        Case("add-numbers", lambda a: 2.5 + (a + 1.5), (x,)),
        Case("subtract-numbers", lambda a: 2.5 - (a - 1.5), (x,)),
        Case("multiply-numbers", lambda a: 2.5 * (a * 1.5), (x,)),
        Case("divide-numbers", lambda a: 1.5 / (a / 3.0), (x,)),
        Case("add-without axes", ops.add, (np.array(1.5), np.array(-0.5))),
        Case("add-integers", lambda a: a + 3, (labels,)),
        Case("where-number", lambda c, a: ops.where(c, a, -1.0), (x > 0, x)),
        Case("minimum-number", lambda a: ops.minimum(a, 0.25), (x,)),
        Case("max-ties", lambda a: ops.max(a, 1), (ties,)),
        Case("max-of all", ops.max, (x,)),
        Case("min-axes", lambda a: ops.min(a, (0, -1), True), (rng.standard_normal((3, 4, 2)),)),
        Case("argmax", lambda a: ops.argmax(a, 1), (x,)),
        Case("argmin", ops.argmin, (x,)),
        Case("astype", lambda a: ops.astype(a, np.float32) * 2.0, (x,)),
        Case("astype-integers", lambda a: a.astype(np.float32).sum(), (labels,)),
        Case("take-element", lambda a: a[2], (row,)),
        Case("take-new axis", lambda a: a[1:, None, ::2], (x,)),
        Case("take-repeated", lambda a, i: a[i], (x, np.array([0, 2, 2, -1]))),
        Case("matmul-vectors", lambda a, b, c: (a @ b) * (b.T @ c), (row, rng.standard_normal((4, 4)), row)),
        Case("cross_entropy-labels", ops.cross_entropy, (x, labels), {"label_smoothing": 0.1}),
        Case("cross_entropy-sum", ops.cross_entropy, (x, labels), {"reduction": "sum"}),
        Case(
            "kl_divergence-stopped",
            lambda p, q: ops.kl_divergence(target_logits=p, pred_logits=q, temperature=0.7),
            (x, y),
            constant=(0,),
        ),
        Case("batch_norm-part", _batch_norm_of_a_part, (rng.standard_normal((4, 3, 2)),)),
        Case("stop_gradient", lambda a: mv.stop_gradient(a) * a, (x,)),
    ]


CASES = _shared() + _further()
