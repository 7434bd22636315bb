"""Fast twins of the hot ops for CuPy arrays: CUDA sources, compiled by CuPy when an op first needs them.

The sources lie beside the modules that launch them. Nothing here imports CuPy: what is needed of it comes with the
arrays, so that a stand-in for it can run the same code.
"""

from minivit.backend.cuda import conv2d
from minivit.backend.kernel import Kernel

KERNELS: dict[str, Kernel] = {
    "conv2d": Kernel(conv2d.forward, conv2d.backward, conv2d.accepts, conv2d.keeps),
}
"""By the op's name."""
