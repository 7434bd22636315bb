"""The operators and methods of Tensor: each calls the function of the same name.

They are attached when `minivit` is imported. What a NumPy or PyTorch user would look for and not find says what to use
instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from minivit.autograd import as_tensor, check_devices, is_scalar
from minivit.autograd.errors import DTypeError, ImmutableTensorError
from minivit.backend import Array, array_module
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

    def __rpow__(self, base: Any) -> NoReturn:
        raise TypeError(f"{base!r} ** tensor is not supported; write mv.ops.exp(x * math.log({base!r}))")

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

    def __iadd__(self, other: Any) -> NoReturn:
        _refuse_in_place("+=", "x = x + y")

    def __isub__(self, other: Any) -> NoReturn:
        _refuse_in_place("-=", "x = x - y")

    def __imul__(self, other: Any) -> NoReturn:
        _refuse_in_place("*=", "x = x * y")

    def __itruediv__(self, other: Any) -> NoReturn:
        _refuse_in_place("/=", "x = x / y")

    def __ipow__(self, other: Any) -> NoReturn:
        _refuse_in_place("**=", "x = x**y")

    def __imatmul__(self, other: Any) -> NoReturn:
        _refuse_in_place("@=", "x = x @ y")

    # Comparisons give constants of bools

    def __lt__(self, other: Any) -> Tensor:
        return _constant(self, other, "less")

    def __le__(self, other: Any) -> Tensor:
        return _constant(self, other, "less_equal")

    def __gt__(self, other: Any) -> Tensor:
        return _constant(self, other, "greater")

    def __ge__(self, other: Any) -> Tensor:
        return _constant(self, other, "greater_equal")

    def __eq__(self, other: object) -> Any:
        return _compare(self, other, "equal")

    def __ne__(self, other: object) -> Any:
        return _compare(self, other, "not_equal")

    __hash__ = object.__hash__  # of the tensor, not of its values

    # ... which combine with each other

    def __and__(self, other: Any) -> Tensor:
        return _combine(self, other, "bitwise_and", "&")

    def __or__(self, other: Any) -> Tensor:
        return _combine(self, other, "bitwise_or", "|")

    def __xor__(self, other: Any) -> Tensor:
        return _combine(self, other, "bitwise_xor", "^")

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tensor:
        x = _whole(self, "~")
        return as_tensor(array_module(x.data).invert(x.data))

    def any(self) -> Tensor:
        """Whether any element is true: a 0-d tensor, which `bool` and `if` take."""
        return as_tensor(as_tensor(self).data.any())

    def all(self) -> Tensor:
        """Whether all elements are true: a 0-d tensor, which `bool` and `if` take."""
        return as_tensor(as_tensor(self).data.all())

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
    tensor_class.__getattr__ = _explain_missing  # type: ignore[attr-defined]


INSTEAD = {
    "argsort": "numpy.argsort(x.numpy()), and index with the result",
    "bmm": "x @ y",
    "clone": "x itself: tensors are immutable",
    "contiguous": "x itself: ops take any memory layout",
    "copy": "x itself: tensors are immutable; mv.tensor(x) makes a leaf with memory of its own",
    "cpu": 'x.to("cpu")',
    "cuda": 'x.to("cuda")',
    "cumsum": "x.numpy().cumsum(), which has no gradient",
    "dim": "x.ndim",
    "div": "x / y",
    "dot": "x @ y",
    "double": "x.astype(numpy.float64)",
    "expand": "x.broadcast_to(shape)",
    "float": "x.astype(numpy.float32)",
    "ge": "x >= y",
    "gt": "x > y",
    "half": "x.astype(numpy.float16)",
    "int": "x.astype(numpy.int32)",
    "le": "x <= y",
    "long": "x.astype(numpy.int64)",
    "lt": "x < y",
    "masked_fill": "mv.ops.where(mask, value, x)",
    "mm": "x @ y",
    "mul": "x * y",
    "nbytes": "x.data.nbytes",
    "neg": "-x",
    "norm": "(x * x).sum().sqrt()",
    "numel": "x.size",
    "permute": "x.transpose(axes)",
    "pow": "x**number",
    "prod": "mv.ops.exp(mv.ops.log(x).sum()) for positive numbers",
    "ravel": "x.reshape(-1)",
    "repeat": "mv.ops.concatenate([x, x]), or x.broadcast_to(shape), which copies nothing",
    "requires_grad_": "mv.tensor(x, requires_grad=True)",
    "retain_grad": "mv.grad(output, x), which takes tensors in the middle of a graph",
    "sort": "x[numpy.argsort(x.numpy())]",
    "std": "x.var().sqrt()",
    "sub": "x - y",
    "t": "x.T",
    "tile": "mv.ops.concatenate([x, x]), or x.broadcast_to(shape), which copies nothing",
    "type": "x.astype(dtype)",
    "unsqueeze": "mv.ops.expand_dims(x, axis)",
    "view": "x.reshape(shape)",
}


def _explain_missing(_: Any, name: str) -> NoReturn:
    """Raise an AttributeError for an unknown attribute that says what to use instead."""
    from minivit import ops

    message = f"a minivit Tensor has no {name!r}"
    if name in INSTEAD:
        message += f"; use {INSTEAD[name]}"
    elif name in ops.__all__:
        message += f"; use mv.ops.{name}(x)"
    elif name.endswith("_") and not name.startswith("_"):
        message += "; tensors are immutable: write x = ..."
    elif not name.startswith("_"):
        message += "; its values, without gradient, are x.numpy() (on the CPU) or x.data (where they are)"
    raise AttributeError(message)


def _compare(x: Any, other: Any, name: str) -> Any:
    if other is None or isinstance(other, str):
        return NotImplemented
    return _constant(x, other, name)


def _combine(x: Any, other: Any, name: str, operator: str) -> Tensor:
    return _constant(_whole(x, operator), other if is_scalar(other) else _whole(other, operator), name)


def _whole(value: Any, operator: str) -> Tensor:
    x = as_tensor(value)
    if x.dtype.kind not in "biu":
        raise DTypeError(f"`{operator}` combines bools or integers, got {x.dtype}; compare first: x > 0")
    return x


def _constant(x: Any, other: Any, name: str) -> Tensor:
    """What a NumPy function of two operands gives: values without gradient."""
    if is_scalar(other):
        values: Array = other
    else:
        constant = as_tensor(other)
        check_devices(name, x, constant)
        values = constant.data
    return as_tensor(getattr(array_module(x.data), name)(x.data, values))


def _refuse_in_place(operator: str, instead: str) -> NoReturn:
    raise ImmutableTensorError(f"tensors are immutable, so `{operator}` is refused; write `{instead}`")
