"""Which batch would have fitted."""

from __future__ import annotations

import os

from minivit.backend import backend_for_device
from minivit.inspect.summary import summarize
from minivit.nn import Module
from minivit.recipes.parallel import mixes_examples


def available_bytes(device: str) -> int:
    """Free memory of a device, roughly."""
    backend = backend_for_device(device)
    if backend.name == "cuda":
        return int(backend.module.cuda.runtime.memGetInfo()[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0


def explain_out_of_memory(
    error: Exception, model: Module, input_shape: tuple[int, ...] | None, micro_batch: int
) -> None:
    """Add to an out-of-memory error what would fit; leave other errors alone."""
    if input_shape is None or not (isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"):
        return
    device, mixed = model.device, mixes_examples(model)
    asked = 2 if mixed else 1  # images: batch normalisation over a single pixel has no variance
    kept = summarize(model, (asked, *input_shape)).kept_bytes // asked
    per_image = max(1, 2 * kept)  # the gradients of the activations need about as much again
    fits = max(1, int(0.8 * available_bytes(device) / per_image))
    if mixed:
        error.add_note(
            f"{device} ran out of memory; an image takes about {per_image / 2**20:.0f} MiB, so --batch-size {fits} "
            "should fit. Batch normalisation needs the whole batch at once: --micro-batch has no effect on this model"
        )
        return
    error.add_note(
        f"{device} ran out of memory with micro-batches of {micro_batch} images; an image takes about "
        f"{per_image / 2**20:.0f} MiB, so --micro-batch {min(fits, max(1, micro_batch // 2))} should fit "
        "(the batch size and the result stay the same)"
    )
