"""What the UDA loss can be told, and what other implementations do differently."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

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
