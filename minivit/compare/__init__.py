"""Ours against others: cases for every op, with PyTorch and JAX imported only when they are asked for."""

from minivit.compare.cases import Case, cases
from minivit.compare.table import check_table, run_checks

__all__ = ["Case", "cases", "check_table", "run_checks"]
