"""Ours against others: every op, layer and model, layer by layer and step by step.

PyTorch, JAX and Keras are imported only when they are asked for.
"""

from minivit.compare.cases import Case, cases
from minivit.compare.differences import Difference, differences
from minivit.compare.distance import Distance, distance
from minivit.compare.fault_rows import Found, find_faults
from minivit.compare.faults import FAULTS, plant
from minivit.compare.report import Report, compare
from minivit.compare.rows import Row, Skip
from minivit.compare.table import check_table, run_checks
from minivit.compare.trace import Step, Trace, trace
from minivit.compare.training import Parity, Recipe, train_both, train_small

__all__ = [
    "FAULTS",
    "Case",
    "Difference",
    "Distance",
    "Found",
    "Parity",
    "Recipe",
    "Report",
    "Row",
    "Skip",
    "Step",
    "Trace",
    "cases",
    "check_table",
    "compare",
    "differences",
    "distance",
    "find_faults",
    "plant",
    "run_checks",
    "trace",
    "train_both",
    "train_small",
]
