"""Tensor: an array and, where a gradient is wanted, the node that made it.

Operators and methods (``+``, ``.sum()``, ...) are attached by `minivit.ops`; this file knows no op's mathematics.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from minivit.autograd.errors import DTypeError, ImmutableTensorError
from minivit.backend import Array, backend_of, device_of, is_on, move, to_host

if TYPE_CHECKING:
    from minivit.autograd.node import Node
    from minivit.ops.methods import TensorMethods as _Methods
else:
    _Methods = object


class Tensor(_Methods):
    """An immutable array that can take part in a differentiated computation.

    Make one with `minivit.tensor`. `grad` holds a plain array (never a Tensor) of the same shape and dtype, and only
    leaves (``requires_grad=True`` tensors that no op made) get one.
    """

    __slots__ = ("__weakref__", "data", "grad", "gradient_buffer", "name", "node", "requires_grad", "version")
    __array_priority__ = 1000
    __array_ufunc__ = None  # `array + tensor` then asks the Tensor, which answers with a Tensor

    def __init__(
        self, data: Array, requires_grad: bool = False, *, node: Node | None = None, name: str | None = None
    ) -> None:
        self.data = data
        self.requires_grad = requires_grad
        self.node = node
        self.grad: Array | None = None
        self.gradient_buffer: Array | None = None
        self.name = name
        self.version = 0

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        shape: tuple[int, ...] = self.data.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        dtype: np.dtype[Any] = self.data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self.data.size)

    @property
    def device(self) -> str:
        """``"cpu"``, ``"cuda:0"``, ..."""
        return device_of(self.data)

    @property
    def is_leaf(self) -> bool:
        """True if no recorded op made it."""
        return self.source is self or not self.requires_grad

    @property
    def source(self) -> Node | Tensor:
        """Where a gradient of this tensor goes: the node that made it, or the tensor itself if it is a leaf."""
        return self if self.node is None or self.node.op.stops else self.node

    def __repr__(self) -> str:
        name = f"name={self.name!r}, " if self.name else ""
        origin = ""
        if self.node is not None:
            origin = f", from={self.node.op.name}"
        elif self.requires_grad:
            origin = ", requires_grad=True"
        values = np.array2string(self.numpy(), precision=4, separator=", ", prefix="Tensor(", threshold=200)
        return f"Tensor({values}, {name}shape={self.shape}, dtype={self.dtype}, device={self.device!r}{origin})"

    # Out

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array. On the CPU it is a read-only view, without a copy."""
        array = to_host(self.data)
        if array is self.data:
            array = array.view()
            array.flags.writeable = False
        return array

    def item(self) -> Any:
        """The value of a one-element tensor as a Python number (waits for the device)."""
        if self.size != 1:
            raise ValueError(f"item() needs one element, this tensor has shape {self.shape}; index it first")
        return self.data.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return to_host(self.data).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.size != 1:
            raise TypeError(f"only a one-element integer tensor can be an index, this is {self.dtype} {self.shape}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(
                f"the truth value of a tensor of shape {self.shape} is ambiguous; "
                "compare and reduce first: (x > 0).data.all() or .any()"
            )
        return bool(self.data.item())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without axes; its one value is tensor.item()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("a tensor without axes cannot be iterated; its one value is tensor.item()")
        return (self[index] for index in range(self.shape[0]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.requires_grad:
            raise TypeError(
                "numpy was asked to convert a Tensor that carries gradient, which would silently leave the graph; "
                "use tensor.numpy() for its values, or the functions in minivit.ops"
            )
        if self.device != "cpu":
            raise TypeError(f"numpy was asked to convert a Tensor on {self.device}; use tensor.numpy()")
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_function__(self, function: Any, types: Any, arguments: Any, keywords: Any) -> Any:
        """Let functions such as ``numpy.mean`` see the values, if no gradient is lost by that."""
        return function(*_plain(arguments, function), **_plain(keywords, function))

    def __dlpack__(self, **options: Any) -> Any:
        if self.requires_grad:
            raise BufferError("a Tensor that carries gradient cannot leave through DLPack; pass tensor.data")
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[Any, Any]:
        device: tuple[Any, Any] = self.data.__dlpack_device__()
        return device

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise ImmutableTensorError(
            "tensors cannot be written into: a value that a backward needs would change under it. Build a new one with "
            "mv.ops.where(mask, new, old) or mv.ops.concatenate([...]); to set a parameter, write into parameter.data"
        )

    def __delitem__(self, key: Any) -> NoReturn:
        raise ImmutableTensorError("elements of a tensor cannot be deleted; index those that stay")

    __hash__ = object.__hash__  # `==` compares elements, so identity has to be asked for

    # Moves

    def to(self, device: str) -> Tensor:
        """A tensor on `device`; this one if it is there. Moving is an op: a gradient travels back."""
        from minivit.autograd.apply import apply
        from minivit.autograd.move import Move

        return self if is_on(self.data, device) else apply(Move, self, device=device)

    def detach(self) -> Tensor:
        """The same values without their history: see `minivit.stop_gradient`."""
        from minivit.autograd.stop_gradient import stop_gradient

        return stop_gradient(self)

    def backward(self, grad_output: Any = None, *, retain_graph: bool = False) -> None:
        """Add d(self)/d(leaf), contracted with `grad_output`, to the `.grad` of every leaf.

        Parameters
        ----------
        grad_output : array or Tensor, optional
            Cotangent of this tensor's shape; 1 for a tensor of one element.
        retain_graph : bool
            Keep what the forward saved, for another backward through the same graph.

        Raises
        ------
        GradientError
            If no gradient can flow, or `grad_output` is missing or does not fit.
        GraphFreedError
            If an earlier backward freed the graph.
        """
        from minivit.autograd.backward import backward

        backward(self, grad_output, retain_graph=retain_graph)


def tensor(
    data: Any, requires_grad: bool = False, dtype: Any = None, device: str | None = None, name: str | None = None
) -> Tensor:
    """Make a Tensor.

    Parameters
    ----------
    data : array, Tensor, number or nested sequence
        Arrays keep their dtype; Python floats become float32, Python ints int64, bools bool. The values are copied,
        so that a later write into `data` changes nothing.
    requires_grad : bool
        Whether gradients are wanted for it. Only floating-point tensors have gradients.
    dtype : dtype, optional
        Convert to this dtype.
    device : str, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``; by default where the data are.
    name : str, optional
        Shown in messages and drawings.

    Returns
    -------
    Tensor
        A leaf.

    Raises
    ------
    DTypeError
        If a gradient is wanted for a dtype that has none, or the data are no numbers.
    """
    if isinstance(data, Tensor):
        data = data.data
    is_array = hasattr(data, "dtype") and not isinstance(data, np.generic)
    array = data if is_array else np.asarray(data)
    if not is_array and dtype is None and array.dtype == np.float64 and not isinstance(data, np.generic):
        array = array.astype(np.float32)
    if array.dtype.kind not in "biufc":
        raise DTypeError(
            f"tensor() expected numbers, got dtype {array.dtype}; convert the data to a numeric array first"
        )
    array = backend_of(array).module.array(array, dtype=dtype)  # a copy
    if device is not None:
        array = move(array, device)
    if requires_grad and array.dtype.kind not in "fc":
        raise DTypeError(
            f"tensor(requires_grad=True) needs a floating-point dtype, got {array.dtype}; pass dtype=numpy.float32"
        )
    return Tensor(array, requires_grad, name=name)


def as_tensor(value: Any) -> Tensor:
    """A Tensor for an operand: itself, or a constant that shares the array's memory."""
    if isinstance(value, Tensor):
        return value
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return Tensor(backend_of(value).module.asarray(value))
    return tensor(value)


def _plain(arguments: Any, function: Any) -> Any:
    """Arguments of a NumPy function with arrays in place of Tensors."""
    if isinstance(arguments, Tensor):
        if arguments.requires_grad:
            raise TypeError(
                f"numpy.{function.__name__} was given a Tensor that carries gradient, which would silently leave the "
                f"graph; use the functions in minivit.ops, or tensor.numpy() for its values"
            )
        return arguments.__array__()
    if isinstance(arguments, tuple | list):
        return type(arguments)(_plain(argument, function) for argument in arguments)
    if isinstance(arguments, dict):
        return {key: _plain(argument, function) for key, argument in arguments.items()}
    return arguments


def is_scalar(value: Any) -> bool:
    """Whether an operand is a plain number, which takes the other operand's dtype and device.

    NumPy's scalars count too: they come out of ``np.sqrt(64)`` and would silently make float32 arrays float64.
    """
    return not isinstance(value, Tensor) and isinstance(value, _NUMBERS)


_NUMBERS = (int, float, numbers.Real, np.bool_)  # the first two save the search among the registered classes
