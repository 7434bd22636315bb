"""Parameter: a leaf that a module owns and an optimiser updates."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.autograd import Tensor
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.backend import Array, backend_of, device_of, move, to_host
from minivit.nn.init import spend


class Parameter(Tensor):
    """A tensor that belongs to a `Module`.

    `data` may be a view into a flat buffer; whoever writes into it calls `touch`, so that a backward that still needs
    the old values can say so.

    Parameters
    ----------
    data : floating-point array
        Taken over, not copied.
    name : str, optional

    Raises
    ------
    DTypeError
        If the array holds no floating-point numbers.
    """

    __slots__ = ()

    def __init__(self, data: Array, name: str | None = None) -> None:
        if data.dtype.kind not in "fc":
            raise DTypeError(
                f"Parameter: an optimiser can only move floating-point numbers, got {data.dtype} {data.shape}; "
                "convert with .astype(numpy.float32), or keep constants in plain attributes"
            )
        spend(data.shape)
        super().__init__(data, requires_grad=True, name=name)

    def touch(self) -> None:
        """Note that the values changed."""
        self.version += 1

    def assign(self, values: Any) -> None:
        """Write new values of the same shape into the parameter's own memory.

        Parameters
        ----------
        values : array
            Of any library; converted to the parameter's dtype and device.

        Raises
        ------
        ShapeError
            If the shape is another.
        """
        if tuple(values.shape) != self.shape:
            raise ShapeError(f"parameter {self.name or ''} has shape {self.shape}, the new values have {values.shape}")
        if type(values) is not type(self.data):
            host = np.asarray(to_host(values), dtype=self.dtype, order="C")
            values = backend_of(self.data).from_host(host, self.device)
        self.data[...] = values
        self.touch()

    def replace(self, data: Array) -> None:
        """Take over another array, on another device or of another dtype; a gradient that is there moves along."""
        if data is self.data:
            return
        self.data = data
        self.gradient_buffer = None
        if self.grad is not None:
            self.grad = move(self.grad, device_of(data)).astype(data.dtype)
        self.touch()
