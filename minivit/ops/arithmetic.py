"""Addition, subtraction, multiplication, division and powers, with broadcasting.

The backward of a broadcast is a sum: each gradient goes through ``F.sum_to`` back to its operand's shape. A plain
number has ops of its own, in which it takes the array's dtype and device.
"""

from __future__ import annotations

from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor, is_scalar
from minivit.autograd.errors import DTypeError


class Add(Op):
    """y = a + b."""

    primitive = True

    @staticmethod
    def forward(F: Any, a: Any, b: Any) -> Any:
        return a + b

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, a: Any, b: Any) -> tuple[Any, Any]:
        return F.sum_to(dy, a.shape), F.sum_to(dy, b.shape)


class Subtract(Op):
    """y = a - b."""

    primitive = True

    @staticmethod
    def forward(F: Any, a: Any, b: Any) -> Any:
        return a - b

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, a: Any, b: Any) -> tuple[Any, Any]:
        return F.sum_to(dy, a.shape), F.sum_to(-dy, b.shape)


class Multiply(Op):
    """y = a b, element by element."""

    primitive = True
    keeps = ("a", "b")

    @staticmethod
    def forward(F: Any, a: Any, b: Any) -> Any:
        return a * b

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        a: Any,
        b: Any,
        *,
        wanted: tuple[bool, ...],
    ) -> tuple[Any, Any]:
        return (
            F.sum_to(dy * b, a.shape) if wanted[0] else None,
            F.sum_to(dy * a, b.shape) if wanted[1] else None,
        )


class Divide(Op):
    """y = a / b."""

    primitive = True
    keeps = ("a", "b")

    @staticmethod
    def forward(F: Any, a: Any, b: Any) -> Any:
        return a / b

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        a: Any,
        b: Any,
        *,
        wanted: tuple[bool, ...],
    ) -> tuple[Any, Any]:
        da = dy / b
        return F.sum_to(da, a.shape) if wanted[0] else None, F.sum_to(-da * a / b, b.shape) if wanted[1] else None


class Negative(Op):
    """y = -x."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        return -x

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (-dy,)


class AddNumber(Op):
    """y = x + number."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, number: float) -> Any:
        return x + number

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, number: float) -> tuple[Any]:
        return (dy,)


class MultiplyNumber(Op):
    """y = number x."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, number: float) -> Any:
        return x * number

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, number: float) -> tuple[Any]:
        return (dy * number,)


class DivideNumber(Op):
    """y = x / number."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any, *, number: float) -> Any:
        return x / number

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, number: float) -> tuple[Any]:
        return (dy / number,)


class Power(Op):
    """y = x^exponent for a fixed number; dy/dx = exponent x^(exponent - 1)."""

    primitive = True
    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any, *, exponent: float) -> Any:
        return _power(F, x, exponent)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, exponent: float) -> tuple[Any]:
        if exponent == 0:
            return (dy * 0.0,)
        return (dy * (exponent * _power(F, x, exponent - 1)),)


def _power(F: Any, x: Any, exponent: float) -> Any:
    """x^exponent; small integers and halves by multiplication and square root, which is many times faster."""
    if not isinstance(x, Tensor):
        if exponent == 2:
            return x * x
        if exponent == 3:
            return x * x * x
        if exponent == -0.5:
            return 1.0 / F.sqrt(x)
    elif exponent == 1:
        return x
    return x**exponent


def add(a: Any, b: Any) -> Tensor:
    """`a + b`; shapes broadcast."""
    if is_scalar(b):
        return apply(AddNumber, as_tensor(a), number=_number(a, b))
    if is_scalar(a):
        return apply(AddNumber, as_tensor(b), number=_number(b, a))
    return apply(Add, as_tensor(a), as_tensor(b))


def subtract(a: Any, b: Any) -> Tensor:
    """`a - b`; shapes broadcast."""
    if is_scalar(b):
        return apply(AddNumber, as_tensor(a), number=-_number(a, b))
    if is_scalar(a):
        return apply(AddNumber, negative(b), number=_number(b, a))
    return apply(Subtract, as_tensor(a), as_tensor(b))


def multiply(a: Any, b: Any) -> Tensor:
    """`a * b`, element by element; shapes broadcast."""
    if is_scalar(b):
        return apply(MultiplyNumber, as_tensor(a), number=_number(a, b))
    if is_scalar(a):
        return apply(MultiplyNumber, as_tensor(b), number=_number(b, a))
    return apply(Multiply, as_tensor(a), as_tensor(b))


def divide(a: Any, b: Any) -> Tensor:
    """`a / b`, element by element; shapes broadcast. Integers have to be cast to a float dtype first."""
    if is_scalar(b):
        return apply(DivideNumber, _floating(a), number=float(b))
    if is_scalar(a):
        return multiply(power(_floating(b), -1), a)
    return apply(Divide, _floating(a), _floating(b))


def negative(x: Any) -> Tensor:
    """`-x`."""
    return apply(Negative, as_tensor(x))


def power(x: Any, exponent: Any) -> Tensor:
    """`x ** exponent` for a number.

    Raises
    ------
    TypeError
        For an exponent that is a tensor: write ``exp(exponent * log(x))``, whose domain is then explicit.
    """
    if not is_scalar(exponent):
        raise TypeError("the exponent of ** must be a number; for a tensor write mv.ops.exp(exponent * mv.ops.log(x))")
    return apply(Power, as_tensor(x), exponent=_number(x, exponent))


def _number(x: Any, number: Any) -> Any:
    """The Python number that `number` is; whole where `x` is an integer tensor.

    Raises
    ------
    DTypeError
        For a fraction and a tensor of integers or bools, which would become float64.
    """
    x = as_tensor(x)
    if x.dtype.kind in "fc":
        return float(number)
    if float(number).is_integer():
        return int(number)
    raise DTypeError(
        f"arithmetic of a {x.dtype} tensor and {number}; convert it first, for instance with x.astype(numpy.float32)"
    )


def _floating(value: Any) -> Tensor:
    x = as_tensor(value)
    if x.dtype.kind not in "fc":
        raise DTypeError(f"division of a {x.dtype} tensor; convert it first, for instance with x.astype(numpy.float32)")
    return x
