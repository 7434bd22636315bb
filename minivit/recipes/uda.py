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

import math
from dataclasses import dataclass
from typing import Any, Literal

from minivit import ops
from minivit.autograd import Tensor, as_tensor, stop_gradient
from minivit.autograd.errors import DTypeError, ShapeError
from minivit.backend import Array, array_module, backend_of
from minivit.ops.softmax import stable_log_softmax, stable_softmax

TSA_SCHEDULES = ("none", "linear", "log", "exp")

_CHOICES = {
    "tsa": TSA_SCHEDULES,
    "tsa_gate": ("label", "max"),
    "supervised_average": ("kept", "batch"),
    "consistency_average": ("batch", "confident"),
    "confidence_of": ("plain", "sharpened"),
    "temperature_of": ("original", "augmented"),
}


@dataclass(frozen=True)
class UdaSettings:
    """What the loss can be told: the paper's settings, then, all off by default, what other implementations do.

    Raises
    ------
    ValueError
        For a setting out of its range; says which, and what it may be.
    """

    tsa: Literal["none", "linear", "log", "exp"] = "none"
    """Schedule of training signal annealing; CIFAR-10 and SVHN are trained without."""
    temperature: float = 0.4
    """tau, which divides the logits of the original image: below 1 sharpens its distribution, 1 leaves it alone."""
    confidence: float = 0.8
    """beta: only originals whose largest probability exceeds it count. 0 or less (the code's -1) masks nothing."""
    weight: float = 1.0
    """lambda, the weight of the consistency loss."""
    entropy_weight: float = 0.0
    """Weight of the mean entropy of the originals' predictions, which has no stop: it trains the clean branch. (The
    official code averages twice and stops with an error there; this is what it means.)"""
    label_smoothing: float = 0.0
    """Share of the supervised target that is spread over all classes; the code has none."""

    stop_gradient: bool = True
    """False lets the gradient into the original's branch too, so that the target drifts towards the prediction. None
    of those below does: it shows what the stop is for."""
    tsa_gate: Literal["label", "max"] = "label"
    """Probability that TSA looks at: the label's, or the largest, which also drops confident *mistakes*
    (USB, TorchSSL)."""
    supervised_average: Literal["kept", "batch"] = "kept"
    """Divide the supervised loss by the examples that TSA kept, or by the whole batch, which makes it the weaker the
    more are dropped (USB, TorchSSL)."""
    consistency_average: Literal["batch", "confident"] = "batch"
    """Divide the consistency loss by the whole batch, so that it grows as more originals are confident, or by the
    confident ones alone (UDA_pytorch)."""
    confidence_of: Literal["plain", "sharpened"] = "plain"
    """Distribution whose largest probability must exceed the threshold: as predicted, or after sharpening, which lets
    many more through. A comment in FixMatch's copy of UDA says the latter; its code does the former."""
    temperature_of: Literal["original", "augmented"] = "original"
    """Logits that the temperature divides: the target's, or the prediction's, which *flattens* what is learned
    (UDA_pytorch)."""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if not 0.0 < self.temperature < math.inf:
            raise ValueError(
                f"temperature must be positive, got {self.temperature}; 1 is no sharpening (the official code's -1)"
            )
        if not self.confidence <= 1.0:
            raise ValueError(f"confidence is a probability, at most 1 (0 or less: no mask); got {self.confidence}")
        for name in ("weight", "entropy_weight"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0.0 <= self.label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1], got {self.label_smoothing}")


IMPLEMENTATIONS: dict[str, dict[str, Any]] = {
    # The defaults. image/main.py:178-190, 261-290, 347-386.
    "official": {},
    # microsoft/Semi-supervised-learning (2d13929), semilearn/algorithms/uda/uda.py: the gate in line 77, the average in
    # line 78. It passes probabilities on with softmax=False (96), and then hooks/pseudo_label.py:45-51 never divides
    # by the temperature that it was given.
    "usb": {"tsa_gate": "max", "supervised_average": "batch", "temperature": 1.0},
    # TorchSSL/TorchSSL (62246f4), models/uda/uda.py: `sup_mask` and `sup_loss`; the ancestor of USB still sharpens.
    "torchssl": {"tsa_gate": "max", "supervised_average": "batch"},
    # SanghunYun/UDA_pytorch (0ba5cf8), main.py: `aug_log_prob` and `unsup_loss`.
    "uda_pytorch": {"temperature_of": "augmented", "consistency_average": "confident"},
    # ildoonet/unsupervised-data-augmentation (47b65e2), train.py: `loss_kldiv`. No TSA, no sharpening, no mask.
    "ildoonet": {"tsa": "none", "temperature": 1.0, "confidence": 0.0},
}
"""What other implementations do differently, as keywords of `UdaSettings`, each read in its source.

USB and TorchSSL also compare with >= instead of > and report a cross-entropy in place of the divergence: its value is
larger by the target's entropy, its gradient is the same.
"""


# The two masks


def tsa_threshold(schedule: str, progress: float, num_classes: int) -> float:
    """eta_t = alpha_t (1 - 1/K) + 1/K, which rises from chance to certainty (figure 5 of the paper).

    Parameters
    ----------
    schedule : {"none", "linear", "log", "exp"}
        alpha_t = t/T, 1 - exp(-5 t/T), exp(5 (t/T - 1)). With few labels take "exp", which holds the labels back the
        longest. "none" is 1: no probability exceeds it, so nothing is dropped.
    progress : float in [0, 1]
        t/T.
    num_classes : int
        K.

    Raises
    ------
    ValueError
        For an unknown schedule, a progress outside [0, 1], or less than two classes.
    """
    if schedule not in TSA_SCHEDULES:
        raise ValueError(f"tsa must be one of {', '.join(TSA_SCHEDULES)}; got {schedule!r}")
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"progress is the step divided by the number of steps, from 0 to 1; got {progress}")
    if num_classes < 2:
        raise ValueError(f"there must be two classes or more, got {num_classes}")
    if schedule == "none":
        return 1.0
    alpha = {
        "linear": progress,
        "log": 1.0 - math.exp(-5.0 * progress),
        "exp": math.exp(5.0 * (progress - 1.0)),
    }
    return alpha[schedule] * (1.0 - 1.0 / num_classes) + 1.0 / num_classes


def tsa_kept(logits: Array, labels: Array, threshold: float, gate: str = "label") -> Array:
    """Which labelled examples still train: not those whose label already has a probability above the threshold.

    Parameters
    ----------
    logits : array (B, K)
    labels : integer array (B,)
    threshold : float
        Of `tsa_threshold`.
    gate : {"label", "max"}
        See `UdaSettings.tsa_gate`.

    Returns
    -------
    array (B,) of bool
    """
    p = _probabilities(logits)  # (B, K)
    if gate == "max":
        return ~(p.max(1) > threshold)
    is_label = labels[:, None] == array_module(logits).arange(logits.shape[1])  # (B, K)
    return ~((p * is_label).sum(1) > threshold)


def confident(original_logits: Array, confidence: float, temperature: float = 1.0, of: str = "plain") -> Array:
    """Which unlabelled examples are predicted with a largest probability above the threshold.

    Parameters
    ----------
    original_logits : array (U, K)
    confidence : float
        0 or less keeps all, since the largest of K probabilities is at least 1/K.
    temperature : float
        Of the sharpening; matters only where `of` is "sharpened".
    of : {"plain", "sharpened"}
        See `UdaSettings.confidence_of`.

    Returns
    -------
    array (U,) of bool
    """
    logits = original_logits * (1.0 / temperature) if of == "sharpened" else original_logits
    return _probabilities(logits).max(1) > confidence


def _probabilities(logits: Array) -> Array:
    return stable_softmax(backend_of(logits).F, logits, -1)


# The three terms, a value for each example


def supervised_losses(logits: Any, labels: Any, label_smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each labelled example.   logits (B, K), labels (B,) -> (B,)."""
    return ops.cross_entropy(logits, labels, label_smoothing, reduction="none")


def consistency_losses(original_logits: Any, augmented_logits: Any, settings: UdaSettings) -> Tensor:
    """KL(stop(softmax(o / tau)) || softmax(a)), not yet masked.   logits o, a (U, K) -> (U,)."""
    target, temperature = as_tensor(original_logits), settings.temperature
    if settings.stop_gradient:
        target = stop_gradient(target)
    if settings.temperature_of == "augmented":
        augmented_logits, temperature = augmented_logits * (1.0 / temperature), 1.0
    return ops.kl_divergence(
        target_logits=target,
        pred_logits=augmented_logits,
        temperature=temperature,
        allow_target_gradient=not settings.stop_gradient,
    )


def entropies(logits: Any) -> Tensor:
    """-sum_k p_k log p_k of each example, in nats.   (U, K) -> (U,). Nothing is stopped here, as in the code."""
    log_p = ops.log_softmax(logits)  # (U, K)
    return -(ops.exp(log_p) * log_p).sum(-1)


# The loss of a batch, and of a part of one


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
        sums |= _watched(original_logits.data, augmented_logits.data, confident)

    if not terms:
        raise ValueError("part_loss: a part needs labelled rows or unlabelled rows; got neither")
    loss = terms[0]
    for term in terms[1:]:
        loss = loss + term
    sums["loss"] = loss.data
    return loss, sums


def _watched(original: Array, augmented: Array, confident: Array) -> dict[str, Array]:
    """What is read and not trained on, summed over unlabelled rows; no node of the graph comes of it."""
    log_p = stable_log_softmax(backend_of(original).F, original, -1)  # (u, K)
    p = array_module(original).exp(log_p)
    return {
        "confident": confident.sum(),
        "agreement": (original.argmax(1) == augmented.argmax(1)).sum(),
        "original_entropy": -(p * log_p).sum(),
        "original_confidence": p.max(1).sum(),
    }


def named_quantities(sums: dict[str, Array], labelled: int, unlabelled: int, threshold: float) -> dict[str, Array]:
    """The sums of a whole batch as what one wants to read.

    Parameters
    ----------
    sums : dict of 0-d arrays
        Of `part_loss`, added up.
    labelled, unlabelled : int
        B and U.
    threshold : float
        Of `tsa_threshold`.

    Returns
    -------
    dict of 0-d arrays
        ``loss``, ``supervised_loss``, ``consistency_loss`` and, if on, ``entropy_loss``, none of them weighted but the
        first; ``tsa_threshold`` (eta_t); of the labelled, ``labelled_accuracy`` and ``kept_share``; of the
        unlabelled, ``confident_share``, ``agreement``, ``original_entropy`` and ``original_confidence``, means or
        shares.
    """
    quantities = {name: value for name, value in sums.items() if name.endswith("loss")}
    for name, count, of in (
        ("labelled_accuracy", "correct", labelled),
        ("kept_share", "kept", labelled),
        ("confident_share", "confident", unlabelled),
        ("agreement", "agreement", unlabelled),
        ("original_entropy", "original_entropy", unlabelled),
        ("original_confidence", "original_confidence", unlabelled),
    ):
        if count in sums:
            quantities[name] = sums[count] / of
    quantities["tsa_threshold"] = array_module(sums["loss"]).full((), threshold)
    return quantities


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
    """The UDA loss of a batch. The formula stands at the top of this module.

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
