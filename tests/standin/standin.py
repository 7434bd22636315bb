"""A strict device array that needs no device: it behaves as CuPy's does where the two libraries differ from NumPy.

``StandInArray`` wraps a NumPy array and shows none of it. As with CuPy 14:

- nothing becomes a NumPy array by itself, and no NumPy array or list is taken as an operand;
- reductions and elements are arrays without axes, never Python numbers;
- whatever has to wait for the device, or copies to it, is counted (`watch`, `no_synchronisation`);
- the names, methods and keywords that CuPy lacks are missing (`cupy_names.json` lists those that it has);
- an integer index that is out of bounds wraps around; ``empty`` holds nonsense; no floating-point warning is given;
- arrays live on one of two devices, and only those on the current one can be computed with.

Stricter than CuPy: a function of NumPy that is given a device array raises, where CuPy would answer in NumPy's place,
and so do the functions that CuPy would let work on a NumPy array.

Importing this module registers the library with minivit; its devices are ``"standin:0"`` (or ``"standin"``) and
``"standin:1"``.
"""

import numpy as np
from standin_array import CURRENT, Device, StandInArray, on_current_device
from standin_module import xp
from standin_operators import CUPY
from standin_watch import Seen, no_synchronisation, watch

from minivit.backend import Backend, register_backend

__all__ = [
    "BACKEND",
    "CUPY",
    "Device",
    "Seen",
    "StandInArray",
    "no_synchronisation",
    "on_current_device",
    "watch",
    "xp",
]


def _index(device: str) -> int:
    return int(device.partition(":")[2] or 0)


def from_host(array: np.ndarray, device: str) -> StandInArray:
    with Device(_index(device)):
        return xp.asarray(array)


def _erf(x: StandInArray) -> StandInArray:
    from minivit.backend.erf import erf

    return StandInArray(erf(on_current_device(x)), CURRENT.device)


BACKEND = Backend(
    name="standin",
    module=xp,
    array_type=StandInArray,
    device_of=lambda array: f"standin:{array.device.id}",
    from_host=from_host,
    to_host=xp.asnumpy,
    erf=_erf,
    use=lambda device: Device(_index(device)).use(),
)
register_backend(BACKEND)
