"""The benchmark's own check, without dualml: faulty pairs differ and clean pairs agree, in plain float64 training."""

from __future__ import annotations

from benchmarks.faults.fault import NORMALISED, Case
from benchmarks.faults.pairs import native
from benchmarks.faults.plain import Recorded, train
from benchmarks.faults.side import Framework, Side

CLEAN = 1e-12
"""How far plain float64 runs of a clean pair may be apart, relative to the largest value recorded.

Three updates of networks of this size; what is measured is near 1e-15.
"""


def problem(case: Case) -> str:
    """What is wrong with a case; empty if it is what it says it is."""
    if case.random:
        return ""
    left, right = (_run(*side, case) for side in (case.left, case.right))
    gap = left.gap(right)
    if case.fault is None:
        size = max(1.0, *(float(abs(array).max()) for array in (*left.training, *left.inference)))
        return "" if gap <= CLEAN * size else f"a clean pair is {gap:.1e} apart in float64"
    if case.fault.natural:
        return "" if gap > 0 else "the two sides agree to the last bit"
    faulty, framework = (left, case.left[0]) if case.wrong == "left" else (right, case.right[0])
    alone = faulty.gap(_run(framework, case.fault.sound(framework), case))
    if not alone > 0:
        return "the faulty side does to the last bit what the sound side of its framework does"
    other = case.left[0] if case.wrong == "right" else case.right[0]
    sound = _run(framework, case.fault.sound(framework), case)
    base = sound.gap(_run(other, case.fault.sound(other), case), inference=case.family not in NORMALISED)
    return "" if base <= CLEAN else f"without the fault the pair is {base:.1e} apart in float64"


def _run(framework: Framework, side: Side, case: Case) -> Recorded:
    return train(native(case, framework, side, "float64"))
