"""What an op is: a forward and its hand-derived backward, next to each other."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar


class Placeholder:
    """Stands in a backward for an input whose array was not kept: its shape and dtype are all there is."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


class Op:
    """A differentiable operation, written once as text against the namespace `F`.

    A subclass gives two static methods::

        def forward(F, *inputs, **attributes): ...  # -> output, or (output, saved)
        def backward(F, dy, saved, *inputs, **attributes): ...  # -> one gradient (or None) an input

    The text may use operators and the names of `F`, nothing else: no in-place statement, no array library, no random
    numbers. On arrays it is one fused node; on Tensors it is the op composed from primitives (forward) and the
    second-order gradient (backward); on complex arrays, a complex-step derivative.

    `saved` is whatever the forward hands to its backward. Of the inputs, the backward sees the arrays only of those
    named in `keeps`; the others come as a `Placeholder` with a shape and a dtype. A backward that can save work takes
    the keyword `wanted`, one bool an input.

    Attributes
    ----------
    keeps : tuple of str
        Names of the inputs whose arrays the backward needs.
    primitive : bool
        True for the few ops that are not composed of others.
    changes_dtype : bool
        True for a cast: the output need not have its inputs' dtype.
    changes_device : bool
        True for a move: the output need not be where its inputs are.
    stops : bool
        True for the stop-gradient: the node has no arrow to its input.
    shares_memory : bool
        True if the output may be a view of the input: a parameter that is then written to changes both.
    """

    name: ClassVar[str] = ""
    keeps: ClassVar[tuple[str, ...]] = ()
    primitive: ClassVar[bool] = False
    changes_dtype: ClassVar[bool] = False
    changes_device: ClassVar[bool] = False
    stops: ClassVar[bool] = False
    shares_memory: ClassVar[bool] = False
    input_names: ClassVar[tuple[str, ...]] = ()
    takes_wanted: ClassVar[bool] = False
    variadic: ClassVar[bool] = False

    @staticmethod
    def forward(F: Any, *inputs: Any, **attributes: Any) -> Any:
        """Output, or (output, saved)."""
        raise NotImplementedError

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        """One gradient an input."""
        raise NotImplementedError

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.__dict__.get("name"):
            cls.name = _snake_case(cls.__name__)
        parameters = list(inspect.signature(cls.forward).parameters.values())[1:]
        cls.input_names = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        cls.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        cls.takes_wanted = "wanted" in inspect.signature(cls.backward).parameters
        unknown = set(cls.keeps) - set(cls.input_names)
        if unknown:
            raise TypeError(f"{cls.__name__}.keeps names {sorted(unknown)}; the inputs are {cls.input_names}")


def _snake_case(name: str) -> str:
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return words.lstrip("_")
