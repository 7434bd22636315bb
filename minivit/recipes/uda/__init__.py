"""The loss of Unsupervised Data Augmentation (UDA): Xie et al. 2019, arXiv:1904.12848 (v6).

`loss` has the formula, `terms` and `masks` what it is made of, `settings` what it can be told, `quantities` what can be
read of it beside its value.
"""

from minivit.recipes.uda.loss import consistency_divisor, part_loss, supervised_divisor, uda_loss
from minivit.recipes.uda.masks import confident, tsa_kept, tsa_threshold
from minivit.recipes.uda.quantities import named_quantities
from minivit.recipes.uda.settings import IMPLEMENTATIONS, TSA_SCHEDULES, UdaSettings
from minivit.recipes.uda.terms import consistency_losses, entropies, supervised_losses

__all__ = [
    "IMPLEMENTATIONS",
    "TSA_SCHEDULES",
    "UdaSettings",
    "confident",
    "consistency_divisor",
    "consistency_losses",
    "entropies",
    "named_quantities",
    "part_loss",
    "supervised_divisor",
    "supervised_losses",
    "tsa_kept",
    "tsa_threshold",
    "uda_loss",
]
