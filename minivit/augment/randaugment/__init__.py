"""RandAugment: a few operations on each image, drawn anew at every step, in four dialects.

`operations` has the operations and applies one of its own to each image of a batch, with `affine`, `point_ops`,
`enhance` and `squares`; `dialects` has what four implementations draw from; `policy` draws.
"""

from minivit.augment.randaugment.dialects import DIALECTS, Dialect
from minivit.augment.randaugment.operations import OPERATIONS
from minivit.augment.randaugment.policy import RandAugment, randaugment

__all__ = ["DIALECTS", "OPERATIONS", "Dialect", "RandAugment", "randaugment"]
