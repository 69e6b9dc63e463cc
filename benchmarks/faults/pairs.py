"""Both native sides of a case."""

from __future__ import annotations

from benchmarks.faults.fault import Case
from benchmarks.faults.side import Framework, Native, Side, build


def native(case: Case, framework: Framework, side: Side, precision: str = "float32") -> Native:
    """One side, for the network, seed and batch of a case."""
    return build(framework, case.family, side, case.seed, rows=case.rows, precision=precision)


def natives(case: Case, precision: str = "float32") -> tuple[Native, Native]:
    """Left and right."""
    return native(case, *case.left, precision), native(case, *case.right, precision)
