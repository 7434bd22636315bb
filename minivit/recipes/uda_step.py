"""A step of semi-supervised training: the UDA loss on a labelled and an unlabelled batch, in parts that fit the cache.

The inputs may be anything that the model takes as one array with an example a row: images, or tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from minivit.autograd import Tensor, no_grad
from minivit.backend import Array, array_module
from minivit.backend.cpu.threads import Workers
from minivit.nn import Module, mask_keys
from minivit.recipes.parallel import ParallelGradients, evaluate_parts, mixes_examples, over_all_parts
from minivit.recipes.step import TrainingStep, summed
from minivit.recipes.uda import (
    confident,
    consistency_divisor,
    named_quantities,
    part_loss,
    supervised_divisor,
    tsa_kept,
    tsa_threshold,
)
from minivit.recipes.uda_config import UdaConfig


@dataclass(frozen=True, eq=False)
class UdaBatch:
    """A labelled and an unlabelled batch on the device, augmented.

    Attributes
    ----------
    labelled : array (L, ...)
    labels : array (L,) of int64
    original, augmented : array (U, ...) or None
        The unlabelled examples in two versions, in the same order; None without an unlabelled batch.
    labelled_index, original_index, augmented_index : array (L,) or (U,) of int64
        Keys of the random masks: no two rows of a step share one.
    step : int
    """

    labelled: Array
    labels: Array
    original: Array
    augmented: Array
    labelled_index: Array
    original_index: Array
    augmented_index: Array
    step: int

    @property
    def unlabelled_size(self) -> int:
        """U."""
        return 0 if self.original is None else int(self.original.shape[0])

    @property
    def size(self) -> int:
        """L + U."""
        return int(self.labelled.shape[0]) + self.unlabelled_size


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of the whole batch before any part of it goes forward with gradients."""

    teacher: Array  # (U, K) logits of the originals, or None where they go forward with gradients
    kept: Array  # (L,), or None without TSA
    supervised_divisor: Array | int
    consistency_divisor: Array | int


def runs_whole(model: Module, config: UdaConfig) -> bool:
    """Whether labelled, original and augmented examples go through the model in one forward.

    Raises
    ------
    ValueError
        If they are to go separately through a model that normalises over the batch: each branch would be normalised
        with statistics of its own.
    """
    mixed = mixes_examples(model)
    if mixed and config.forward == "separate":
        raise ValueError(
            f"{type(model).__name__} normalises over the batch, so labelled, original and augmented examples have to "
            'go through it together; leave out --forward, or set it to "concatenated"'
        )
    return mixed if config.forward == "auto" else config.forward == "concatenated"


class UdaStep(TrainingStep):
    """Cross-entropy on labelled examples plus lambda times the consistency loss on unlabelled ones.

    With ``forward="separate"`` the originals run under `no_grad` first, and keep no activations; the labelled and the
    augmented rows then go forward and backward in micro-batches. With ``"concatenated"`` all three run in one forward,
    as in the official code, each worker taking a part of every kind; a model whose layers look at the whole batch, such
    as batch normalisation, needs it, and has it by default. Where every row is computed by itself, the two give the
    same gradients up to rounding.

    Parameters
    ----------
    model, config, total_steps, workers
        As for `TrainingStep`.
    num_classes : int
    """

    config: UdaConfig

    def __init__(self, model: Module, config: UdaConfig, total_steps: int, workers: Workers, num_classes: int) -> None:
        super().__init__(model, config, total_steps, workers)
        self.settings, self.num_classes = config.loss_settings(), num_classes
        self.whole = runs_whole(model, config)
        # What makes the originals' branch learn: the entropy term, or a stop that is left out.
        self.trains_originals = self.settings.entropy_weight > 0 or not self.settings.stop_gradient

    def forward_backward(self, batch: UdaBatch, gradients: ParallelGradients | None = None) -> dict[str, Array]:
        """Gradients of the loss on every parameter; every quantity of the loss by name."""
        L, U = int(batch.labels.shape[0]), batch.unlabelled_size
        gradients = gradients or self.gradients
        threshold = tsa_threshold(self.settings.tsa, batch.step / self.total_steps, self.num_classes)
        together = self.whole and (U > 0 or self.settings.tsa != "none")
        known = None if together else self._look_ahead(batch, threshold, gradients)

        def part_of(part: slice) -> tuple[Tensor, dict[str, Array]]:
            # Labelled examples are spread evenly among all; every part has at least one of either kind.
            first, last = part.start * L // (L + U), part.stop * L // (L + U)
            unlabelled = slice(part.start - first, part.stop - last)
            return self._part(batch, slice(first, last), unlabelled, threshold, known)

        sums = summed(gradients.run(part_of, L + U, meet=together))
        values = named_quantities(sums, L, U, threshold)
        values["accuracy"] = values.pop("labelled_accuracy")
        return values

    def _look_ahead(self, batch: UdaBatch, threshold: float, gradients: ParallelGradients) -> _Known:
        """The teacher's logits, and the counts that the loss is divided by: forwards without gradients."""
        L, U = int(batch.labels.shape[0]), batch.unlabelled_size
        settings = self.settings

        def logits_of(inputs: Array, index: Array) -> Array:
            def forward(part: slice) -> Array:
                with no_grad(), mask_keys(self.config.seed, batch.step, index[part]):
                    return self.model(Tensor(inputs[part])).data

            parts = evaluate_parts(gradients.workers, forward, int(inputs.shape[0]), gradients.micro_batch)
            return array_module(inputs).concatenate(parts)  # (n, K)

        teacher, kept = None, None
        labelled_by: Array | int = L
        unlabelled_by: Array | int = max(U, 1)
        if settings.tsa != "none":
            logits = logits_of(batch.labelled, batch.labelled_index)
            kept = tsa_kept(logits, batch.labels, threshold, settings.tsa_gate)
            labelled_by = supervised_divisor(kept, settings)
        if U and (not self.trains_originals or settings.consistency_average == "confident"):
            teacher = logits_of(batch.original, batch.original_index)
            sure = confident(teacher, settings.confidence, settings.temperature, settings.confidence_of)
            unlabelled_by = consistency_divisor(sure, settings)
        return _Known(teacher, kept, labelled_by, unlabelled_by)

    def _part(
        self, batch: UdaBatch, labelled: slice, unlabelled: slice, threshold: float, known: _Known | None
    ) -> tuple[Tensor, dict[str, Array]]:
        """Forward and loss of some labelled and some unlabelled rows.

        Without what is known beforehand the originals go forward too, and all parts tell each other what they found.
        """
        settings = self.settings
        xp = array_module(batch.labelled)
        b, u = labelled.stop - labelled.start, unlabelled.stop - unlabelled.start
        inputs, index = [batch.labelled[labelled]], [batch.labelled_index[labelled]]
        if u:
            inputs.append(batch.augmented[unlabelled])
            index.append(batch.augmented_index[unlabelled])
        runs_originals = u > 0 and (known is None or self.trains_originals)
        if runs_originals:
            inputs.append(batch.original[unlabelled])
            index.append(batch.original_index[unlabelled])
        with mask_keys(self.config.seed, batch.step, xp.concatenate(index)):
            logits = self.model(Tensor(xp.concatenate(inputs)))  # (b + u, K), or (b + 2u, K) with the originals

        labelled_logits = logits[:b] if b else None
        augmented_logits = logits[b : b + u] if u else None
        original_logits = None
        if runs_originals:
            original_logits = logits[b + u :]
        elif u and known is not None:
            original_logits = Tensor(known.teacher[unlabelled])

        labels = batch.labels[labelled] if b else None
        kept = sure = None
        if labelled_logits is not None:
            kept = None if known is None or known.kept is None else known.kept[labelled]
            if kept is None:
                kept = tsa_kept(labelled_logits.data, labels, threshold, settings.tsa_gate)
        if original_logits is not None:
            sure = confident(original_logits.data, settings.confidence, settings.temperature, settings.confidence_of)
        if known is not None:
            divisors = known.supervised_divisor, known.consistency_divisor
        else:
            none = xp.zeros(0, bool)
            all_kept = over_all_parts(none if kept is None else kept, "who is kept")  # (L,)
            all_sure = over_all_parts(none if sure is None else sure, "who is confident")  # (U,)
            divisors = supervised_divisor(all_kept, settings), consistency_divisor(all_sure, settings)
        return part_loss(
            labelled_logits,
            labels,
            original_logits,
            augmented_logits,
            settings=settings,
            kept=kept,
            confident=sure,
            supervised_divisor=divisors[0],
            consistency_divisor=divisors[1],
            entropy_divisor=max(batch.unlabelled_size, 1),
        )
