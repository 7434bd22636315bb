"""The loss of Unsupervised Data Augmentation (UDA): Xie et al. 2019, arXiv:1904.12848 (v6).

    loss =          sum_i kept_i CE(y_i, softmax(z_i))                        / max(sum_i kept_i, 1)
         + lambda * sum_j sure_j KL(stop(softmax(o_j / tau)) || softmax(a_j)) / U
         + (entropy_weight * sum_j H(softmax(o_j)) / U)

z (B, K) are the logits of B labelled images; o and a (U, K) those of U unlabelled images and of their augmented copies.
There are two masks, and they are easily taken for one another:

    kept_i  unless softmax(z_i)[y_i] > eta_t     training signal annealing drops *confident labelled* examples
    sure_j  if max_k softmax(o_j)_k > beta       the confidence mask drops *unconfident unlabelled* examples

Where paper and code leave a choice, the code decides: github.com/google-research/uda (commit 1862464), image/main.py,
get_tsa_threshold, anneal_sup_loss and model_fn. text/uda.py has the same loss without the entropy term.
"""

from __future__ import annotations

from typing import Any, Literal

from minivit.autograd import Tensor, as_tensor
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.backend import Array, array_module
from minivit.recipes.uda.masks import confident, tsa_kept, tsa_threshold
from minivit.recipes.uda.quantities import named_quantities, watched
from minivit.recipes.uda.settings import UdaSettings
from minivit.recipes.uda.terms import consistency_losses, entropies, supervised_losses


def supervised_divisor(kept: Array, settings: UdaSettings) -> Array:
    """What the supervised loss of a batch is divided by.   kept (B,) -> 0-d array, or the number B."""
    return kept.shape[0] if settings.supervised_average == "batch" else _at_least_one(kept)


def consistency_divisor(confident: Array, settings: UdaSettings) -> Array:
    """What the consistency loss of a batch is divided by.   confident (U,) -> 0-d array, or the number U."""
    return confident.shape[0] if settings.consistency_average == "batch" else _at_least_one(confident)


def _at_least_one(mask: Array) -> Array:
    return array_module(mask).maximum(mask.sum(), 1)


def part_loss(
    labelled_logits: Any,
    labels: Any,
    original_logits: Any,
    augmented_logits: Any,
    *,
    settings: UdaSettings,
    kept: Array,
    confident: Array,
    supervised_divisor: Array,
    consistency_divisor: Array,
    entropy_divisor: int | None = None,
) -> tuple[Tensor, dict[str, Array]]:
    """A part's share of a batch's loss, so that parts that go forward and backward on their own add up to the batch.

    Parameters
    ----------
    labelled_logits : Tensor (b, K), or None
        Of the part's labelled rows; None with `labels`, `kept` and `supervised_divisor` if it has none.
    labels : integer array (b,), or None
    original_logits, augmented_logits : Tensor (u, K), or None
        Of the part's unlabelled rows. The originals may be a constant, computed under `minivit.no_grad`, unless
        `settings.entropy_weight` asks for their gradient.
    settings : UdaSettings
    kept, confident : bool array (b,) and (u,), or None without such rows
        `tsa_kept` and `confident` of the part's rows.
    supervised_divisor, consistency_divisor : 0-d array or int, or None without such rows
        Of the *whole* batch: the functions of the same names.
    entropy_divisor : int, optional
        U of the whole batch; the consistency divisor is the same, unless `settings` average over the confident.

    Returns
    -------
    loss : Tensor of shape ()
        Shares of all parts add up to the batch's loss, and so do their gradients.
    sums : dict of 0-d arrays
        They add up too (`minivit.recipes.step.summed`): ``loss`` and its unweighted terms ``supervised_loss``,
        ``consistency_loss`` and, if on, ``entropy_loss``; the counts ``correct`` and ``kept`` of labelled rows,
        ``confident`` and ``agreement`` (both branches have the same first choice) of unlabelled ones; and, summed
        over the originals, their largest probabilities ``original_confidence`` and their entropies
        ``original_entropy``.

    Raises
    ------
    ShapeError, DTypeError
        If shapes do not fit, or labels are not integers.
    ValueError
        If there is neither a labelled nor an unlabelled row, if the entropy term cannot train the originals' branch,
        or if its divisor is missing.
    """
    terms: list[Tensor] = []
    sums: dict[str, Array] = {}

    if labelled_logits is not None:
        labelled_logits, labels = as_tensor(labelled_logits), as_tensor(labels)
        _check_labelled(labelled_logits, labels)
        losses = supervised_losses(labelled_logits, labels, settings.label_smoothing)  # (b,)
        supervised = _masked_sum(losses, kept, "kept") / _number(supervised_divisor, losses)
        terms.append(supervised)
        sums["supervised_loss"] = supervised.data
        sums["kept"] = kept.sum()
        sums["correct"] = (labelled_logits.data.argmax(1) == labels.data).sum()

    if original_logits is not None:
        original_logits, augmented_logits = as_tensor(original_logits), as_tensor(augmented_logits)
        _check_unlabelled(original_logits, augmented_logits, labelled_logits)
        losses = consistency_losses(original_logits, augmented_logits, settings)  # (u,)
        consistency = _masked_sum(losses, confident, "confident") / _number(consistency_divisor, losses)
        terms.append(settings.weight * consistency)
        sums["consistency_loss"] = consistency.data
        if settings.entropy_weight > 0.0:
            _check_entropy(original_logits, augmented_logits, settings, entropy_divisor)
            divisor = consistency_divisor if entropy_divisor is None else entropy_divisor
            entropy = entropies(original_logits).sum() / _number(divisor, losses)
            terms.append(settings.entropy_weight * entropy)
            sums["entropy_loss"] = entropy.data
        sums |= watched(original_logits.data, augmented_logits.data, confident)

    if not terms:
        raise ValueError("part_loss: a part needs labelled rows or unlabelled rows; got neither")
    loss = terms[0]
    for term in terms[1:]:
        loss = loss + term
    sums["loss"] = loss.data
    return loss, sums


def uda_loss(
    labelled_logits: Any,
    labels: Any,
    original_logits: Any,
    augmented_logits: Any,
    *,
    tsa: Literal["none", "linear", "log", "exp"] = "none",
    progress: float = 0.0,
    temperature: float = 0.4,
    confidence: float = 0.8,
    weight: float = 1.0,
    entropy_weight: float = 0.0,
    label_smoothing: float = 0.0,
    **deviations: Any,
) -> tuple[Tensor, dict[str, Array]]:
    """The UDA loss of a batch. The formula stands at the top of this file.

    Parameters
    ----------
    labelled_logits : Tensor (B, K)
    labels : integer array (B,)
    original_logits, augmented_logits : Tensor (U, K)
        Of the unlabelled images and of their augmented copies, in the same order.
    progress : float in [0, 1]
        t/T, for TSA.
    tsa, temperature, confidence, weight, entropy_weight, label_smoothing
        See `UdaSettings`.
    **deviations
        Further fields of `UdaSettings`, or one of `IMPLEMENTATIONS`.

    Returns
    -------
    loss : Tensor of shape ()
    quantities : dict of 0-d arrays
        See `named_quantities`; on a GPU they are still being computed.

    Raises
    ------
    ShapeError, DTypeError
        If shapes do not fit, a batch is empty, or labels are not integers.
    ValueError
        For a setting out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from minivit.recipes.uda import uda_loss
    >>> labelled, labels = np.array([[2.0, 0.0, 0.0]]), np.array([0])
    >>> original, augmented = np.array([[3.0, 0.0, 0.0], [0.5, 0.0, 0.0]]), np.zeros((2, 3))
    >>> loss, quantities = uda_loss(labelled, labels, original, augmented)
    >>> print(quantities["confident_share"])  # the second original is not confident enough
    0.5
    """
    settings = UdaSettings(
        tsa=tsa,
        temperature=temperature,
        confidence=confidence,
        weight=weight,
        entropy_weight=entropy_weight,
        label_smoothing=label_smoothing,
        **deviations,
    )
    labelled, labels = as_tensor(labelled_logits), as_tensor(labels)
    original, augmented = as_tensor(original_logits), as_tensor(augmented_logits)
    _check_labelled(labelled, labels)
    _check_unlabelled(original, augmented, labelled)

    threshold = tsa_threshold(tsa, progress, num_classes=labelled.shape[1])
    kept = tsa_kept(labelled.data, labels.data, threshold, settings.tsa_gate)  # (B,)
    sure = confident(original.data, confidence, temperature, settings.confidence_of)  # (U,)
    loss, sums = part_loss(
        labelled,
        labels,
        original,
        augmented,
        settings=settings,
        kept=kept,
        confident=sure,
        supervised_divisor=supervised_divisor(kept, settings),
        consistency_divisor=consistency_divisor(sure, settings),
        entropy_divisor=original.shape[0],
    )
    return loss, named_quantities(sums, labelled.shape[0], original.shape[0], threshold)


def _masked_sum(losses: Tensor, mask: Array, name: str) -> Tensor:
    if mask is None or mask.shape != losses.shape:
        came = None if mask is None else mask.shape
        raise ShapeError(f"part_loss: {losses.shape[0]} rows need a mask {name} of as many, got {came}")
    # A product, not a selection: a loss that is NaN must show, masked or not.
    return (losses * Tensor(mask.astype(losses.dtype), name=name)).sum()


def _number(divisor: Any, losses: Tensor) -> Any:
    """A count as a number of the losses' dtype; on a GPU it stays there."""
    return divisor if isinstance(divisor, int) else divisor.astype(losses.dtype)


def _check_labelled(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or 0 in logits.shape:
        raise ShapeError(f"uda: labelled_logits must be (B, K), with an example at least; got {logits.shape}")
    if labels.dtype.kind not in "iu":
        raise DTypeError(f"uda: labels must be integers, the classes of the examples; got {labels.dtype}")
    if labels.shape != logits.shape[:1]:
        raise ShapeError(f"uda: labelled_logits {logits.shape} need labels {logits.shape[:1]}, got {labels.shape}")


def _check_unlabelled(original: Tensor, augmented: Tensor, labelled: Tensor | None) -> None:
    if original.ndim != 2 or 0 in original.shape or augmented.shape != original.shape:
        raise ShapeError(
            "uda: original_logits and augmented_logits must both be (U, K), row by row of the same images, with an "
            f"image at least; got {original.shape} and {augmented.shape}"
        )
    if labelled is not None and labelled.shape[1] != original.shape[1]:
        raise ShapeError(
            f"uda: labelled and unlabelled logits must have the same classes; got {labelled.shape} and {original.shape}"
        )


def _check_entropy(original: Tensor, augmented: Tensor, settings: UdaSettings, divisor: int | None) -> None:
    if augmented.requires_grad and not original.requires_grad:
        raise ValueError(
            "uda: the entropy term trains the branch of the originals, but original_logits carries no gradient; "
            "compute it outside no_grad (the divergence stops it by itself), or set entropy_weight=0"
        )
    if divisor is None and settings.consistency_average == "confident":
        raise ValueError('part_loss: with consistency_average="confident" the entropy term needs an entropy_divisor')
