"""Vision Transformers on a hand-written autograd engine over NumPy and CuPy."""

from minivit import ops
from minivit.autograd import Op, Tensor, enable_grad, grad, no_grad, stop_gradient, tensor, unrolled
from minivit.version import __version__

__all__ = [
    "Op",
    "Tensor",
    "__version__",
    "enable_grad",
    "grad",
    "no_grad",
    "ops",
    "stop_gradient",
    "tensor",
    "unrolled",
]
