"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minivit.backend import Array
from minivit.nn import Module, Parameter
from minivit.nn.flat import Segment
from minivit.optim.adamw import AdamW

if TYPE_CHECKING:
    from minivit.backend.cpu.threads import Workers

# Of the quintic iteration below, chosen in the reference so that all singular values soon lie between 0.7 and 1.2.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon(AdamW):
    """Muon for the matrices of the Transformer blocks, AdamW for everything else.

    A gradient of a matrix is dominated by a few directions. Muon replaces all singular values of its momentum by about
    one, so that the rare directions move as far as the frequent ones:

    b = momentum b + (1 - momentum) g,  u = orthogonal((1 - momentum) g + momentum b),
    p = p (1 - lr decay) - lr sqrt(max(1, rows / columns)) u,   lr = matrix_learning_rate * schedule.

    Parameters
    ----------
    module : Module
    learning_rate : float
        Of AdamW's parameters.
    matrix_learning_rate : float
        Of the matrices, at the peak of the schedule. An update has singular values of about one, so this is how far a
        matrix moves in a step; it falls with `learning_rate`.
    momentum : float
    workers : Workers, optional
        Threads that share the matrices among them; the result does not depend on it.
    **options
        As for `AdamW`; `learning_rate_scale` applies to both kinds.
    """

    def __init__(
        self,
        module: Module,
        learning_rate: float = 2e-3,
        matrix_learning_rate: float = 0.02,
        momentum: float = 0.95,
        workers: Workers | None = None,
        learning_rate_scale: Callable[[str, Parameter], float] | None = None,
        **options: Any,
    ) -> None:
        if not learning_rate > 0.0 or not matrix_learning_rate > 0.0:
            raise ValueError(
                f"Muon: both learning rates must be positive, got {learning_rate} and {matrix_learning_rate}"
            )
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"Muon: momentum must lie in [0, 1), got {momentum}")
        self.momentum, self.workers = momentum, workers
        ratio = matrix_learning_rate / learning_rate

        def scale(name: str, parameter: Parameter) -> float:
            own = 1.0 if learning_rate_scale is None else learning_rate_scale(name, parameter)
            return own * ratio if is_hidden_matrix(name, parameter) else own

        super().__init__(module, learning_rate, learning_rate_scale=scale, **options)

    def kind(self, name: str, parameter: Parameter) -> str:
        """Matrices of the blocks, or others."""
        return "matrix" if is_hidden_matrix(name, parameter) else "other"

    def update(self, part: slice, learning_rate: float, weight_decay: float, count: int) -> None:
        """One step of the formula above for matrices, of AdamW's for the rest."""
        segments = [s for s in self.flat.segments if part.start <= s.start < part.stop]
        if self.kind(segments[0].name, segments[0].parameter) != "matrix":
            super().update(part, learning_rate, weight_decay, count)
            return
        if self.workers is None:
            self._update_matrices(segments, learning_rate, weight_decay)
            return
        shares = dealt(segments, self.workers.count)
        self.workers.run(lambda worker: self._update_matrices(shares[worker], learning_rate, weight_decay))

    def _update_matrices(self, segments: list[Segment], learning_rate: float, weight_decay: float) -> None:
        for segment in segments:
            p = segment.parameter.data
            g, b = (a[segment.start : segment.stop].reshape(p.shape) for a in (self.flat.grad, self.state["m"]))
            b *= self.momentum
            b += (1.0 - self.momentum) * g
            u = orthogonalize((1.0 - self.momentum) * g + self.momentum * b)
            if weight_decay:
                p *= 1.0 - learning_rate * weight_decay
            p -= (learning_rate * max(1.0, p.shape[0] / p.shape[1]) ** 0.5) * u


def dealt(segments: list[Segment], workers: int) -> list[list[Segment]]:
    """The matrices in `workers` shares of nearly equal work: the dearest first, each to who has least so far."""

    def work(segment: Segment) -> int:
        rows, columns = segment.parameter.shape
        return min(rows, columns) ** 2 * (2 * max(rows, columns) + min(rows, columns))  # the iteration's products

    shares: list[list[Segment]] = [[] for _ in range(workers)]
    loads = [0] * workers
    for segment in sorted(segments, key=work, reverse=True):
        least = loads.index(min(loads))
        shares[least].append(segment)
        loads[least] += work(segment)
    return shares


def is_hidden_matrix(name: str, parameter: Parameter) -> bool:
    """Whether a parameter is a weight matrix inside a Transformer block."""
    return parameter.ndim == 2 and ("blocks." in name)


def orthogonalize(matrix: Array) -> Array:
    """U V^T of a matrix U S V^T, roughly: singular values between 0.7 and 1.2.

    X <- a X + b (X X^T) X + c (X X^T)^2 X acts on the singular values alone, as the polynomial a s + b s^3 + c s^5, and
    a few rounds lift all but the tiniest of them to about one. Only products of matrices, so it is quick on any device.

    Parameters
    ----------
    matrix : array (rows, columns)

    Returns
    -------
    array (rows, columns)
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix  # the smaller side first: X X^T is then small
    x = x / ((x * x).sum() ** 0.5 + 1e-7)
    a, b, c = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x
