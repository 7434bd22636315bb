"""What one wants to read of the UDA loss beside its value, such as how many are confident."""

from __future__ import annotations

from minivit.backend import Array, array_module, backend_of
from minivit.ops.softmax import stable_log_softmax


def watched(original: Array, augmented: Array, confident: Array) -> dict[str, Array]:
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
