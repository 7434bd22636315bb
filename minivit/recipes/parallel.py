"""Forward and backward of a batch in micro-batches, on several CPU threads.

NumPy lets go of the interpreter while it multiplies matrices and runs ufuncs, so threads that each take a part of the
batch keep all cores busy with everything, not with the matrix products alone; and a micro-batch whose activations stay
in the cache is faster than the whole batch at once. Every thread adds to a gradient buffer of its own; they are summed
in a fixed order, so the same settings give the same bits.

A model whose layers look at the whole batch, such as batch normalisation, has one part a worker, and the workers meet
in each of these layers to exchange their sums: statistics and gradients are those of the batch in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from minivit.autograd import Tensor, backward
from minivit.backend import Array, array_module
from minivit.backend.cpu.rendezvous import Rendezvous, current_part
from minivit.backend.cpu.threads import Workers, blas_threads
from minivit.nn import FlatParameters, GradientBuffer, Module
from minivit.nn.flat import combine

Result = TypeVar("Result")


def split(size: int, micro_batch: int, workers: int) -> list[list[slice]]:
    """For each worker its part of a batch, one example more than another's at most, in nearly equal micro-batches."""
    return [_cut(start, stop, -(-(stop - start) // micro_batch)) for start, stop in pairwise(_bounds(0, size, workers))]


def _cut(start: int, stop: int, count: int) -> list[slice]:
    return [slice(a, b) for a, b in pairwise(_bounds(start, stop, count))] if count else []


def _bounds(start: int, stop: int, count: int) -> list[int]:
    """The ends of `count` runs of nearly equal length; the first ones have one more where it does not come out even."""
    length, longer = divmod(stop - start, count)
    return [start + i * length + min(i, longer) for i in range(count + 1)]


def mixes_examples(model: Module) -> bool:
    """Whether the model, as it is switched now, computes an example from others of the batch too."""
    return any(module.mixes_examples and module.training for _, module in model.named_modules())


class ParallelGradients:
    """Accumulates the gradients of a batch from its micro-batches.

    Parameters
    ----------
    flat : FlatParameters
        Of the model; laid out anew, it needs a new ParallelGradients.
    workers : Workers
    micro_batch : int
        Largest part; a model that mixes examples has one part a worker instead, whatever their size.
    further : sequence of Module
        Others that the loss goes through, whose parameters get no gradient here.
    """

    def __init__(
        self, flat: FlatParameters, workers: Workers, micro_batch: int, further: Sequence[Module] = ()
    ) -> None:
        self.flat, self.workers, self.micro_batch = flat, workers, micro_batch
        self.modules = (flat.module, *further)
        own = [GradientBuffer(flat, flat.grad)]  # the first worker adds into the model's own buffer
        self.buffers = own + [GradientBuffer(flat) for _ in range(workers.count - 1)]

    def run(self, loss_of: Callable[[slice], tuple[Tensor, Any]], size: int, *, meet: bool = False) -> list[Any]:
        """Forward and backward of every part; afterwards each parameter's `.grad` holds the sum.

        Parameters
        ----------
        loss_of : callable
            slice of the batch -> (loss, anything): the loss as a sum over the slice divided by the size of the whole
            batch, so that the parts add up.
        size : int
            Of the batch.
        meet : bool
            Have one part a worker, at the same time, whatever the model: for a loss whose parts exchange something too
            (`over_all_parts`).

        Returns
        -------
        list
            The second values, in the order of the parts.
        """
        meet = meet or any(mixes_examples(module) for module in self.modules)
        shares = split(size, size if meet else self.micro_batch, self.workers.count)
        working = [worker for worker, share in enumerate(shares) if share]
        rendezvous = Rendezvous(len(working)) if meet and len(working) > 1 else None

        def work(worker: int) -> list[Any]:
            buffer = self.buffers[worker]
            buffer.clear()
            collected: list[Any] = []
            if not shares[worker]:
                return collected
            part_of = nullcontext() if rendezvous is None else rendezvous.part(working.index(worker))
            # Whether a value is finite is asked once a step, of the loss and the gradients' norm.
            with np.errstate(all="ignore"), part_of:
                for part in shares[worker]:
                    loss, value = loss_of(part)
                    backward(loss, deliver=buffer.deliver)
                    collected.append(value)
            return collected

        for segment in self.flat.segments:
            segment.parameter.grad = None
        results = self.workers.run(work)
        combine(self.flat, self.buffers)
        return [value for collected in results for value in collected]


def over_all_parts(rows: Array, what: str) -> Array:
    """A value of every example of the batch, where this thread has those of its own part.

    Parameters
    ----------
    rows : array (b, ...)
        Of the part; without rows too where it has none.
    what : str
        What is exchanged: every part has to ask for the same.

    Returns
    -------
    array (B, ...)
        In the order of the batch; `rows` itself where the batch is in one piece.
    """
    part = current_part()
    return rows if part is None else array_module(rows).concatenate(part.gather(rows, what))


def evaluate_parts(workers: Workers, function: Callable[[slice], Result], size: int, part: int) -> list[Result]:
    """`function` of contiguous parts of at most `part`, spread over the workers; results in order.

    A single part, such as one image, runs in the calling thread, with BLAS on as many threads as there are workers.
    """
    shares = split(size, part, workers.count)
    if sum(map(len, shares)) == 1 < workers.count:
        with blas_threads(workers.count):
            return [function(piece) for share in shares for piece in share]

    def work(worker: int) -> list[Result]:
        # As in training: the numbers tell whether they are finite, not the processor's flags.
        with np.errstate(all="ignore"):
            return [function(piece) for piece in shares[worker]]

    results = workers.run(work)
    return [value for collected in results for value in collected]
