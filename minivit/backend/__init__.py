"""Arrays and devices: the only room that knows NumPy from CuPy."""

from minivit.backend.device import (
    Array,
    Backend,
    array_module,
    available_devices,
    backend_for_device,
    backend_of,
    device_of,
    is_on,
    move,
    register_backend,
    to_host,
    use_device,
)
from minivit.backend.kernel import Kernel
from minivit.backend.kernels import find_kernel, kernels_disabled
from minivit.backend.mkl import load_mkl, mkl_found, mkl_in_use, use_mkl
from minivit.backend.namespace import ArrayNamespace
from minivit.backend.precision import matmul_precision

__all__ = [
    "Array",
    "ArrayNamespace",
    "Backend",
    "Kernel",
    "array_module",
    "available_devices",
    "backend_for_device",
    "backend_of",
    "device_of",
    "find_kernel",
    "is_on",
    "kernels_disabled",
    "load_mkl",
    "matmul_precision",
    "mkl_found",
    "mkl_in_use",
    "move",
    "register_backend",
    "to_host",
    "use_device",
    "use_mkl",
]
