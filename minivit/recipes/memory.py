"""Which batch would have fitted."""

from __future__ import annotations

import os

import numpy as np

from minivit.autograd import Tensor
from minivit.autograd.node import Node
from minivit.backend import backend_for_device
from minivit.nn import Module


def bytes_kept(output: Tensor) -> int:
    """Bytes that the graph behind a tensor keeps alive for its backward, each array once."""
    found: dict[int, int] = {}
    seen: set[Node] = set()
    stack = [output.node] if output.node is not None else []
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for array in node.saved_arrays():
            found[id(array)] = int(array.nbytes)
        stack.extend(edge for edge in node.edges if isinstance(edge, Node))
    return sum(found.values())


def available_bytes(device: str) -> int:
    """Free memory of a device, roughly."""
    backend = backend_for_device(device)
    if backend.name == "cuda":
        return int(backend.module.cuda.runtime.memGetInfo()[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0


def explain_out_of_memory(error: Exception, model: Module, image_shape: tuple[int, ...], micro_batch: int) -> None:
    """Add to an out-of-memory error what would fit; leave other errors alone."""
    if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
        return
    device = model.device
    backend = backend_for_device(device)
    image = backend.from_host(np.zeros((1, *image_shape), np.float32), device)
    # Weights are kept too, once for any batch: two images tell them apart from what grows.
    one = bytes_kept(model(Tensor(image)))
    two = bytes_kept(model(Tensor(backend.module.concatenate([image, image]))))
    per_image = max(1, 2 * (two - one))  # gradients of activations need about as much again
    fits = max(1, int(0.8 * available_bytes(device) / per_image))
    error.add_note(
        f"{device} ran out of memory with micro-batches of {micro_batch} images; an image takes about "
        f"{per_image / 2**20:.0f} MiB, so --micro-batch {min(fits, max(1, micro_batch // 2))} should fit "
        "(the batch size and the result stay the same)"
    )
