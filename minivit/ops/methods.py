"""The operators and methods of Tensor: each calls the function of the same name. Attached when `minivit` is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minivit.autograd import as_tensor, is_scalar
from minivit.backend import Array
from minivit.ops import arithmetic, elementwise, indexing, reductions, shaping
from minivit.ops.matmul import matmul

if TYPE_CHECKING:
    from minivit.autograd import Tensor
else:
    Tensor = Any


class TensorMethods:
    """What a Tensor can do beyond what `minivit.autograd.Tensor` defines."""

    __slots__ = ()

    # Arithmetic

    def __add__(self, other: Any) -> Tensor:
        return arithmetic.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return arithmetic.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return arithmetic.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return arithmetic.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return arithmetic.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return arithmetic.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return arithmetic.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return arithmetic.divide(other, self)

    def __pow__(self, exponent: Any) -> Tensor:
        return arithmetic.power(self, exponent)

    def __neg__(self) -> Tensor:
        return arithmetic.negative(self)

    def __pos__(self) -> Tensor:
        return as_tensor(self)

    def __abs__(self) -> Tensor:
        return elementwise.absolute(self)

    def __matmul__(self, other: Any) -> Tensor:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return matmul(other, self)

    # In place: `x += y` would have to write into x, or silently rebind the name; both surprise.

    def __iadd__(self, other: Any) -> Tensor:
        return _refuse_in_place("+=", "x = x + y")

    def __isub__(self, other: Any) -> Tensor:
        return _refuse_in_place("-=", "x = x - y")

    def __imul__(self, other: Any) -> Tensor:
        return _refuse_in_place("*=", "x = x * y")

    def __itruediv__(self, other: Any) -> Tensor:
        return _refuse_in_place("/=", "x = x / y")

    # Comparisons give constants of bools

    def __lt__(self, other: Any) -> Tensor:
        return _compare(self, other, "less")

    def __le__(self, other: Any) -> Tensor:
        return _compare(self, other, "less_equal")

    def __gt__(self, other: Any) -> Tensor:
        return _compare(self, other, "greater")

    def __ge__(self, other: Any) -> Tensor:
        return _compare(self, other, "greater_equal")

    def __eq__(self, other: Any) -> Any:
        return _compare(self, other, "equal")

    def __ne__(self, other: Any) -> Any:
        return _compare(self, other, "not_equal")

    # Shapes

    @property
    def T(self) -> Tensor:
        """Axes reversed."""
        return shaping.transpose(self)

    def __getitem__(self, key: Any) -> Tensor:
        return indexing.take(self, key)

    def reshape(self, *shape: Any) -> Tensor:
        """See `minivit.ops.reshape`."""
        return shaping.reshape(self, *shape)

    def flatten(self, start_axis: int = 0) -> Tensor:
        """See `minivit.ops.flatten`."""
        return shaping.flatten(self, start_axis)

    def transpose(self, *axes: Any) -> Tensor:
        """See `minivit.ops.transpose`."""
        return shaping.transpose(self, *axes)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """See `minivit.ops.swapaxes`."""
        return shaping.swapaxes(self, axis1, axis2)

    def squeeze(self, axis: int | None = None) -> Tensor:
        """See `minivit.ops.squeeze`."""
        return shaping.squeeze(self, axis)

    def broadcast_to(self, *shape: Any) -> Tensor:
        """See `minivit.ops.broadcast_to`."""
        return shaping.broadcast_to(self, *shape)

    # Reductions

    def sum(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `minivit.ops.sum`."""
        return reductions.sum(self, axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `minivit.ops.mean`."""
        return reductions.mean(self, axis, keepdims)

    def var(self, axis: Any = None, keepdims: bool = False, correction: int = 0) -> Tensor:
        """See `minivit.ops.var`."""
        return reductions.var(self, axis, keepdims, correction)

    def max(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `minivit.ops.max`."""
        return reductions.max(self, axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Tensor:
        """See `minivit.ops.min`."""
        return reductions.min(self, axis, keepdims)

    def argmax(self, axis: int | None = None) -> Tensor:
        """See `minivit.ops.argmax`."""
        return reductions.argmax(self, axis)

    def argmin(self, axis: int | None = None) -> Tensor:
        """See `minivit.ops.argmin`."""
        return reductions.argmin(self, axis)

    # Elementwise

    def exp(self) -> Tensor:
        """See `minivit.ops.exp`."""
        return elementwise.exp(self)

    def log(self) -> Tensor:
        """See `minivit.ops.log`."""
        return elementwise.log(self)

    def sqrt(self) -> Tensor:
        """See `minivit.ops.sqrt`."""
        return elementwise.sqrt(self)

    def tanh(self) -> Tensor:
        """See `minivit.ops.tanh`."""
        return elementwise.tanh(self)

    def erf(self) -> Tensor:
        """See `minivit.ops.erf`."""
        return elementwise.erf(self)

    def abs(self) -> Tensor:
        """See `minivit.ops.absolute`."""
        return elementwise.absolute(self)

    def clip(self, low: float | None = None, high: float | None = None) -> Tensor:
        """See `minivit.ops.clip`."""
        return elementwise.clip(self, low, high)

    def astype(self, dtype: Any) -> Tensor:
        """See `minivit.ops.astype`."""
        return elementwise.astype(self, dtype)


def attach(tensor_class: type) -> None:
    """Give `tensor_class` every operator and method above."""
    for name, member in vars(TensorMethods).items():
        if name not in ("__module__", "__qualname__", "__doc__", "__slots__", "__dict__", "__weakref__", "__hash__"):
            setattr(tensor_class, name, member)


def _compare(x: Any, other: Any, name: str) -> Tensor:
    from minivit.autograd import Tensor
    from minivit.backend import array_module

    x = as_tensor(x)
    if other is None or isinstance(other, str):
        return NotImplemented
    value: Array = other if is_scalar(other) else as_tensor(other).data
    xp = array_module(x.data)
    return Tensor(xp.asarray(getattr(xp, name)(x.data, value)))


def _refuse_in_place(operator: str, instead: str) -> Any:
    from minivit.autograd.errors import ImmutableTensorError

    raise ImmutableTensorError(f"tensors are immutable, so `{operator}` is refused; write `{instead}`")
