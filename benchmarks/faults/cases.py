"""The list of cases: each fault in each framework that can have it, and the clean pairs."""

from __future__ import annotations

from benchmarks.faults.clean import clean_cases
from benchmarks.faults.fault import Case, cases_of
from benchmarks.faults.tables import all_faults

SEEDS = (0, 1)


def all_cases(seeds: tuple[int, ...] = SEEDS) -> list[Case]:
    """Every case, faulty ones first, in a fixed order.

    Raises:
        ValueError: Two cases have the same id.
    """
    found = [
        case for number, fault in enumerate(all_faults()) for seed in seeds for case in cases_of(fault, number, seed)
    ]
    found += clean_cases()
    ids = [case.id for case in found]
    if len(set(ids)) != len(ids):
        raise ValueError(f"cases of the same id: {sorted({name for name in ids if ids.count(name) > 1})}")
    return found
