"""The first op whose result is not finite: where a loss of NaN comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minivit.autograd import Hook, Node, Op, Tensor, hooked
from minivit.autograd.errors import MinivitError
from minivit.autograd.state import STATE, user_line
from minivit.backend import backend_of, to_host
from minivit.nn import Module


@dataclass(frozen=True)
class NonFinite:
    """Where the first number that is not finite appeared.

    Attributes
    ----------
    phase : {"forward", "backward"}
    op : str
        Name of the op.
    layer : str
        Full name of the module whose forward ran it, such as ``blocks.3.attn.proj``; the class name for the model
        itself; empty outside any module.
    what : str
        ``"output"``, or the input whose gradient it is, such as ``"gradient of weight"``.
    counts : str
        How many values are NaN or infinite, of how many.
    inputs : tuple of str
        What went in: shape, and range or what is not finite.
    where : (str, int)
        The user's file and line.
    """

    phase: str
    op: str
    layer: str
    what: str
    counts: str
    inputs: tuple[str, ...]
    where: tuple[str, int]

    def __str__(self) -> str:
        layer = f" in {self.layer}" if self.layer else ""
        return (
            f"the first number that is not finite: {self.what} of op {self.op}{layer}, in the {self.phase}: "
            f"{self.counts}\n"
            + "".join(f"  {line}\n" for line in self.inputs)
            + f"  called at {self.where[0]}:{self.where[1]}"
        )


class NonFiniteError(MinivitError, FloatingPointError):
    """An op gave a result that is not finite. `report` says which."""

    def __init__(self, report: NonFinite) -> None:
        super().__init__(str(report))
        self.report = report


class NanFinder(Hook):
    """Raises at the first op whose output, or whose gradient of an input, is not finite.

    Every result is looked at on the host, so this is for replaying a step that went wrong, not for training.

    Parameters
    ----------
    model : Module, optional
        With it, layers are named by their full names, and parameters that are not finite by theirs.
    """

    def __init__(self, model: Module | None = None) -> None:
        self.model = model

    def after_forward(
        self, op: type[Op], inputs: tuple[Tensor | None, ...], output: Tensor, attributes: dict[str, Any]
    ) -> None:
        """Check the output."""
        counts = _counts(output.data)
        if counts is None:
            return
        lines = [
            f"input {_input_name(op, position)}{self._parameter(x)}: {_range(x.data)}"
            for position, x in enumerate(inputs)
            if x is not None
        ]
        raise NonFiniteError(
            NonFinite("forward", op.name, self._layer(STATE.module), "output", counts, tuple(lines), user_line())
        )

    def before_backward(self, node: Node, output_gradient: Any) -> None:
        """Remember what came in, for the report."""
        self.output_gradient = output_gradient

    def after_backward(self, node: Node, input_gradients: tuple[Any, ...]) -> None:
        """Check the gradients of the inputs."""
        dy, self.output_gradient = self.output_gradient, None
        for position, gradient in enumerate(input_gradients):
            counts = None if gradient is None else _counts(_array(gradient))
            if counts is None:
                continue
            name = _input_name(node.op, position)
            edge = node.edges[position]
            parameter = self._parameter(edge) if isinstance(edge, Tensor) else ""
            lines = [f"gradient of the output: {_range(dy)}"]
            lines += [
                f"input {_input_name(node.op, index)}: {_range(kept)}"
                for index, kept in enumerate(node.kept)
                if hasattr(kept, "nbytes")
            ]
            raise NonFiniteError(
                NonFinite(
                    "backward",
                    node.op.name,
                    self._layer(node.module),
                    f"gradient of {name}{parameter}",
                    counts,
                    tuple(lines),
                    node.where,
                )
            )

    def _layer(self, module: Module | None) -> str:
        if module is None:
            return ""
        return (self.model.path_of(module) if self.model is not None else "") or type(module).__name__

    def _parameter(self, x: Tensor) -> str:
        if self.model is not None:
            for name, parameter in self.model.named_parameters():
                if parameter is x:
                    return f" ({name})"
        return f" ({x.name})" if x.name else ""


def find_non_finite(step: Callable[[], Any], model: Module | None = None) -> NonFinite | None:
    """Run a step and say where its first number that is not finite appears.

    Parameters
    ----------
    step : callable
        Forward, and backward if that is to be searched too. It is left in the middle if something is found.
    model : Module, optional
        Whose layers and parameters are named.

    Returns
    -------
    NonFinite or None
        None if everything was finite.
    """
    try:
        with hooked(NanFinder(model)), np.errstate(all="ignore"):  # the report says it better than NumPy's warning
            step()
    except NonFiniteError as error:
        return error.report
    return None


def _input_name(op: type[Op], position: int) -> str:
    return op.input_names[position] if position < len(op.input_names) else str(position)


def _array(value: Any) -> Any:
    return value.data if isinstance(value, Tensor) else value


def _counts(array: Any) -> str | None:
    """How many values are not finite; None if all are."""
    if array.dtype.kind not in "fc":
        return None
    xp = backend_of(array).module
    if bool(xp.isfinite(array).all()):
        return None
    values = to_host(array)
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    parts = [f"{count:,} {name}" for count, name in ((nan, "NaN"), (infinite, "infinite")) if count]
    return f"{' and '.join(parts)} of {values.size:,} values"


def _range(array: Any) -> str:
    """Shape, and the range of the values or what is not finite among them."""
    array = _array(array)
    described = f"{array.dtype} {tuple(array.shape)}"
    if array.dtype.kind not in "fc" or array.size == 0:
        return described
    counts = _counts(array)
    if counts is not None:
        return f"{described}, already not finite: {counts}"
    values = to_host(array)
    return f"{described} from {values.min():.4g} to {values.max():.4g}"
