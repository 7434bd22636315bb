"""Parameter: a leaf that a module owns and an optimiser updates."""

from __future__ import annotations

from typing import Any

from minivit.autograd import Tensor
from minivit.backend import Array


class Parameter(Tensor):
    """A tensor that belongs to a `Module`.

    `data` may be a view into a flat buffer; whoever writes into it calls `touch`, so that a backward that still needs
    the old values can say so.
    """

    __slots__ = ()

    def __init__(self, data: Array, name: str | None = None) -> None:
        super().__init__(data, requires_grad=True, name=name)

    def touch(self) -> None:
        """Note that the values changed."""
        self.version += 1

    def assign(self, values: Any) -> None:
        """Write new values of the same shape into the parameter's own memory."""
        self.data[...] = values
        self.touch()
