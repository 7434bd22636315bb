"""Functions of one element: exp, log, sqrt, sin, cos, tanh, erf, abs; clip, maximum, minimum, where; casts."""

from __future__ import annotations

import math
from typing import Any

from minivit.autograd import Op, Tensor, apply, as_tensor, is_scalar
from minivit.autograd.errors import DTypeError
from minivit.backend import array_module


class Exp(Op):
    """y = exp(x);  dy/dx = y."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        y = F.exp(x)
        return y, y

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (dy * saved,)


class Log(Op):
    """y = log(x);  dy/dx = 1 / x."""

    primitive = True
    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        return F.log(x)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (dy / x,)


class Sqrt(Op):
    """y = sqrt(x);  dy/dx = 1 / (2 y)."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        y = F.sqrt(x)
        return y, y

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (0.5 * dy / saved,)


class Sin(Op):
    """y = sin(x);  dy/dx = cos(x)."""

    primitive = True
    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        return F.sin(x)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (dy * F.cos(x),)


class Cos(Op):
    """y = cos(x);  dy/dx = -sin(x)."""

    primitive = True
    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        return F.cos(x)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (-dy * F.sin(x),)


class Tanh(Op):
    """y = tanh(x);  dy/dx = 1 - y^2."""

    primitive = True

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        y = F.tanh(x)
        return y, y

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (dy * (1.0 - saved * saved),)


class Erf(Op):
    """y = erf(x);  dy/dx = 2/sqrt(pi) exp(-x^2)."""

    primitive = True
    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        return F.erf(x)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (dy * (2.0 / math.sqrt(math.pi)) * F.exp(-x * x),)


class Abs(Op):
    """y = |x|;  dy/dx = sign(x), which is 0 at 0."""

    primitive = True
    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any) -> Any:
        return F.abs(x)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any) -> tuple[Any]:
        return (dy * F.sign(x),)


class Clip(Op):
    """y = min(max(x, low), high); the gradient passes where low <= x <= high."""

    primitive = True
    keeps = ("x",)

    @staticmethod
    def forward(F: Any, x: Any, *, low: float, high: float) -> Any:
        return F.where(x < low, low, F.where(x > high, high, x))

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, low: float, high: float) -> tuple[Any]:
        inside = F.cast(x >= low, dy.dtype) * F.cast(x <= high, dy.dtype)
        return (dy * inside,)


class Where(Op):
    """y = x where the condition holds, z elsewhere; shapes broadcast."""

    primitive = True
    keeps = ("condition",)

    @staticmethod
    def forward(F: Any, condition: Any, x: Any, z: Any) -> Any:
        return F.where(condition, x, z)

    @staticmethod
    def backward(
        F: Any,
        dy: Any,
        saved: Any,
        condition: Any,
        x: Any,
        z: Any,
    ) -> tuple[None, Any, Any]:
        zero = F.zeros_like(dy)
        return (
            None,
            F.sum_to(F.where(condition, dy, zero), x.shape),
            F.sum_to(F.where(condition, zero, dy), z.shape),
        )


class Cast(Op):
    """y = x in another floating-point dtype."""

    primitive = True
    changes_dtype = True

    @staticmethod
    def forward(F: Any, x: Any, *, dtype: Any) -> Any:
        return F.cast(x, dtype)

    @staticmethod
    def backward(F: Any, dy: Any, saved: Any, x: Any, *, dtype: Any) -> tuple[Any]:
        return (F.cast(dy, x.dtype),)


def exp(x: Any) -> Tensor:
    """e^x."""
    return apply(Exp, as_tensor(x))


def log(x: Any) -> Tensor:
    """Natural logarithm."""
    return apply(Log, as_tensor(x))


def sqrt(x: Any) -> Tensor:
    """Square root; its gradient is infinite at 0."""
    return apply(Sqrt, as_tensor(x))


def sin(x: Any) -> Tensor:
    """Sine of radians."""
    return apply(Sin, as_tensor(x))


def cos(x: Any) -> Tensor:
    """Cosine of radians."""
    return apply(Cos, as_tensor(x))


def tanh(x: Any) -> Tensor:
    """Hyperbolic tangent."""
    return apply(Tanh, as_tensor(x))


def erf(x: Any) -> Tensor:
    """Error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return apply(Erf, as_tensor(x))


def absolute(x: Any) -> Tensor:
    """|x|; the gradient at 0 is 0."""
    return apply(Abs, as_tensor(x))


def clip(x: Any, low: float | None = None, high: float | None = None) -> Tensor:
    """Limit to [low, high]; the gradient is 1 inside and on the limits, 0 outside, as in PyTorch."""
    x = as_tensor(x)
    if x.dtype.kind not in "fc":
        return Tensor(_module(x).clip(x.data, low, high))
    return apply(Clip, x, low=-math.inf if low is None else float(low), high=math.inf if high is None else float(high))


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """`x` where `condition` holds, `y` elsewhere; numbers take the other operand's dtype, shapes broadcast."""
    if is_scalar(x) and is_scalar(y):
        raise TypeError("where(condition, x, y) needs a tensor or an array for x or y, to know the dtype")
    if is_scalar(x):
        x = full_like(y, x)
    if is_scalar(y):
        y = full_like(x, y)
    return apply(Where, as_tensor(condition), as_tensor(x), as_tensor(y))


def maximum(x: Any, y: Any) -> Tensor:
    """The larger of two, element by element; where they are equal the gradient goes to `x`."""
    return where(as_tensor(x) >= y, x, y)


def minimum(x: Any, y: Any) -> Tensor:
    """The smaller of two, element by element; where they are equal the gradient goes to `x`."""
    return where(as_tensor(x) <= y, x, y)


def full_like(x: Any, value: float) -> Tensor:
    """A constant 0-d tensor with the dtype and on the device of `x`; it broadcasts."""
    x = as_tensor(x)
    if x.dtype.kind in "iub" and not float(value).is_integer():
        raise DTypeError(f"{value} does not fit into {x.dtype}; convert the tensor with x.astype(numpy.float32)")
    return Tensor(_module(x).full((), value, dtype=x.dtype))


def astype(x: Any, dtype: Any) -> Tensor:
    """Convert to another dtype; between floating-point dtypes the gradient is converted back.

    Raises
    ------
    DTypeError
        If `x` carries gradient and `dtype` is not floating-point: nothing could flow back.
    """
    x = as_tensor(x)
    target = _module(x).dtype(dtype)
    if target == x.dtype:
        return as_tensor(x)
    if x.requires_grad and target.kind != "f":
        raise DTypeError(f"astype({target}) of a tensor that carries gradient; stop it first: mv.stop_gradient(x)")
    if target.kind != "f" or x.dtype.kind != "f":
        return Tensor(x.data.astype(target))
    return apply(Cast, x, dtype=target)


def _module(x: Tensor) -> Any:
    return array_module(x.data)
