"""Buffer: an array that belongs to a module and is saved with it, but that no optimiser updates."""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.autograd import Tensor
from minivit.autograd.errors import ShapeError
from minivit.backend import Array, backend_of, device_of, to_host


class Buffer(Tensor):
    """A constant of a `Module` that changes as it trains, such as a running mean.

    Its values are replaced, never written over: a graph that still needs the old ones keeps them.

    Parameters
    ----------
    data : array
        Of any numeric dtype; taken over, not copied.
    name : str, optional
    """

    __slots__ = ()

    def __init__(self, data: Array, name: str | None = None) -> None:
        super().__init__(data, name=name)

    def assign(self, values: Any) -> None:
        """Take new values of the same shape.

        Parameters
        ----------
        values : array
            Of any library; copied, and converted to the buffer's dtype and device.

        Raises
        ------
        ShapeError
            If the shape is another.
        """
        if tuple(values.shape) != self.shape:
            raise ShapeError(f"buffer {self.name or ''} has shape {self.shape}, the new values have {values.shape}")
        if type(values) is type(self.data) and device_of(values) == self.device:
            self.data = values.astype(self.dtype)  # a copy
        else:
            host = np.array(to_host(values), dtype=self.dtype, order="C")
            self.data = backend_of(self.data).from_host(host, self.device)

    def replace(self, data: Array) -> None:
        """Take over another array, on another device or of another dtype."""
        self.data = data
