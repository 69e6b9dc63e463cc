"""Running cases: in this process or in several, each with both frameworks."""

from __future__ import annotations

import multiprocessing
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from typing import Any

from benchmarks.faults.outcome import Found, Outcome, failed, graded

STEPS = 3
RECYCLED = 150
"""Cases after which a process is replaced: both frameworks keep memory for every model they made."""


@cache
def _cases() -> dict[str, Any]:
    from benchmarks.faults.cases import SEEDS, all_cases

    return {case.id: case for case in all_cases(SEEDS)}


def compare(case: Any) -> Any:
    """``dualml.diff`` of a case, as a user would call it.

    Args:
        case: The pair.

    Returns:
        The report.
    """
    import torch

    import dualml
    from benchmarks.faults.pairs import natives

    torch.set_num_threads(case.threads)
    left, right = natives(case)
    sides = [dualml.Trainable(item.model, item.loss, item.optimizer) for item in (left, right)]
    if case.left[1].inputs is case.right[1].inputs:
        # The batch once, in the left framework's axes; a change that both sides have is in it already.
        given: dict[str, Any] = {"inputs": left.inputs}
    else:
        given = {"left_inputs": left.inputs, "right_inputs": right.inputs}
    settings: dict[str, Any] = {"steps": STEPS, "weights": "compare", "replay": repeat(case.id)}
    return dualml.diff(sides[0], sides[1], targets=left.targets, **given, **settings)


def repeat(name: str) -> str:
    """The command that runs one case again."""
    return f"python -m benchmarks.faults --case {name}"


def run(name: str) -> Outcome:
    """Compare one case and grade what comes of it."""
    from benchmarks.faults.pairs import natives
    from benchmarks.faults.plain import train

    case = _cases()[name]
    warnings.simplefilter("ignore")
    try:
        begun = time.perf_counter()
        report = compare(case)
        seconds = time.perf_counter() - begun
        plain = sum(train(side, STEPS).seconds for side in natives(case))
    except Exception as error:  # whatever it is, it is this case's result and the others go on
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:400]
        return failed(case, f"{type(error).__name__} at {last.filename.rsplit('/', 1)[-1]}:{last.lineno}: {text}")
    findings = report.native.findings if report.native is not None else ()
    found = [
        Found(
            item.cause.id,
            item.cause.confirmed,
            item.step,
            item.phase,
            item.node,
            item.names,
            item.kind,
            item.deviates,
            tuple(item.alternatives),
            item.rho,
        )
        for item in findings
    ]
    return graded(case, report.verdict, found, seconds, plain)


def verify(name: str) -> Outcome:
    """The benchmark's own check of one case, as an outcome: an error if the case is not what it says."""
    from benchmarks.faults.check import problem

    case = _cases()[name]
    warnings.simplefilter("ignore")
    try:
        said = problem(case)
    except Exception as error:  # a case that cannot run is not what it says it is
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
    return failed(case, said) if said else graded(case, "verified", (), 0.0, 0.0)


def run_all(names: Sequence[str], processes: int, work: Any = run) -> Iterator[Outcome]:
    """Every case, in the order in which they are done.

    Args:
        names: Ids of the cases.
        processes: How many at once; 1: in this process.
        work: ``run`` or ``verify``.
    """
    if processes == 1:
        yield from map(work, names)
        return
    context = multiprocessing.get_context("spawn")  # neither framework survives a fork
    # A new pool for each part: with `max_tasks_per_child` instead, a pool stops for good (CPython issue 115634).
    part = processes * RECYCLED
    for start in range(0, len(names), part):
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            waiting = {pool.submit(work, name): name for name in names[start : start + part]}
            for done in as_completed(waiting):
                try:
                    yield done.result()
                except BrokenProcessPool:
                    yield failed(_cases()[waiting[done]], "the process died; run it alone")
