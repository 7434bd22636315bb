"""Kernels for NumPy arrays, by the name of the op whose text they stand in for."""

from minivit.backend.cpu import conv2d, pooling, relu
from minivit.backend.kernel import Kernel

KERNELS: dict[str, Kernel] = {
    "conv2d": Kernel(conv2d.forward, conv2d.backward, conv2d.accepts, ("weight",)),
    "max_pool2d": Kernel(pooling.forward, pooling.backward, pooling.accepts),
    "relu": Kernel(relu.forward, relu.backward, relu.accepts),
}
