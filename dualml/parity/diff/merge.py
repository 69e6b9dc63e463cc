"""Which failures are findings: the first of every independent difference, with its cause."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from dualml.native.reading import Reading
from dualml.parity.diff.explain import unknown
from dualml.parity.diff.ledger import Ledger
from dualml.parity.diff.run import Run
from dualml.parity.findings import Finding
from dualml.parity.judge import LIMIT
from dualml.parity.records import PHASES, Key
from dualml.parity.report import Check

Deviates = Literal["left", "right", "both", "unknown"]


@dataclass
class _Merging:
    """Which failures earlier findings explain."""

    run: Run
    layers: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    penalised: set[str] = field(default_factory=set)

    def explained(self, check: Check) -> bool:
        """Whether a failure is an earlier finding seen again."""
        if check.phase == "forward":
            return check.node in self.layers
        if check.phase in ("backward", "loss") and check.tensor == "gradient":
            at_fault = {check.node, *self.run.matching.readers.get(check.node, ())} & self.layers
            return bool(at_fault) or (check.phase == "loss" and "loss" in self.groups)
        if check.phase == "backward":
            missing = check.limit == 0.0
            if check.node in self.layers or (missing and "frozen" in self.groups):
                return True
            # A penalty without a formula is filed at the output, and may be on any weight.
            anywhere = self.run.left.graph.output in self.penalised
            return not missing and (anywhere or check.node in self.penalised)
        return self.group(check) in self.groups

    def group(self, check: Check) -> str:
        """What a finding on a rung without layers stands for."""
        if check.phase == "init":
            return f"init {check.node}"
        if check.phase == "buffers":
            return f"buffers {check.node}"
        if check.phase in ("update", "state"):
            return "update" if check.step else "start"
        if check.phase == "backward" and check.limit == 0.0:
            return "frozen"
        return "penalties" if check.tensor == "penalties" else check.phase

    def add(self, check: Check) -> None:
        self.groups.add(self.group(check))
        if check.phase in ("forward", "backward"):
            # What several nodes do together is one thing: a weight's gradient is filed with the node that holds it.
            pairs = [item.pair for item in self.run.matching.pairs if check.node in (*item.pair.left, item.name)]
            self.layers.update((check.node,), *(pair.left for pair in pairs))
        if check.tensor == "penalties":
            self.penalised.add(check.node)


def found(run: Run, ledger: Ledger) -> list[Finding]:
    """Every independent difference, the first one first."""
    merging = _Merging(run)
    findings: list[Finding] = []
    for check in sorted(failures(ledger), key=lambda item: position(item, run)):
        if merging.explained(check):
            continue
        key = Key(check.phase, check.node, check.tensor)
        several = as_findings(run, ledger, check, key)
        if check.phase == "buffers" and check.node in merging.layers and not several[0].cause.confirmed:
            continue  # wrong values go into the statistics as well
        merging.add(check)
        findings += [item for item in several if not any(same_cause(item, other) for other in findings)]
    return findings


def failures(ledger: Ledger) -> list[Check]:
    """Checks that fail and are not the reference's fault."""
    return [
        check
        for check in ledger.checks
        if check.ok is False and (check.step, Key(check.phase, check.node, check.tensor)) not in ledger.wrong_reference
    ]


def same_cause(one: Finding, two: Finding) -> bool:
    """Whether two findings are one fault: seen on two rungs of a layer, or layers that stand in another order."""
    if one.cause.id == two.cause.id and one.cause.id in ("graph.residual_order", "gradients.accumulated"):
        return True
    return one.node == two.node and one.cause.confirmed and one.cause.id == two.cause.id


def position(check: Check, run: Run) -> tuple[int, int, int, int, int]:
    """Where a failure stands: by step, rung and layer (backwards in the backward pass); float64 before float32."""
    order = {item.name: place for place, item in enumerate(run.matching.pairs)}
    for item in run.matching.pairs:
        for name in item.pair.left:
            order.setdefault(name, order[item.name])
    place = order.get(check.node, -1)
    backwards = check.phase == "backward"
    step = 1 if check.phase in ("update", "state") else check.step
    starts = check.phase == "state" and check.step == 0  # memory before the first update stands before it
    phase = PHASES.index("update" if starts else check.phase)
    mode = 1 if check.tensor == "training" else 0
    later = check.step if check.phase in ("update", "state") else 0
    return step, phase, later, -place if backwards else place, mode + (0 if check.precision == "float64" else 2)


def as_findings(run: Run, ledger: Ledger, check: Check, key: Key) -> list[Finding]:
    """One failure with its cause, or with each of the causes that are needed together."""
    explain = ledger.explanations.get((check.step, key))
    explanation = explain() if explain is not None else unknown("it was seen in float32 only")
    right = check.right if check.right is not None else check.units
    if not right and explanation.hypotheses:
        right = max(item.rho_before for item in explanation.hypotheses)  # where no bound was certified in the check
    whole = Finding(
        step=check.step,
        phase=check.phase,
        node=check.node,
        tensor=check.tensor,
        precision=check.precision,
        names=titles(run, check),
        kind="semantic",
        deviates=deviating(check),
        rho=(_rho(check.left), _rho(right)),
        max_abs=check.max_abs,
        bits=ledger.scaling(check.step, key)["bits"],
        cause=explanation.cause,
        hypotheses=explanation.hypotheses,
        alternatives=explanation.alternatives,
        view=explanation.view,
    )
    others = {cause.id: replace(whole, cause=cause, alternatives=rest) for cause, rest in explanation.others}
    return [whole, *(item for name, item in others.items() if name != whole.cause.id)]


def _rho(value: float | None) -> float:
    return math.nan if value is None else value


def deviating(check: Check) -> Deviates:
    """Which side is off; the left one says what is meant, so without bounds it is the right one."""
    if check.limit == 0.0:
        return "right"
    left, right = (check.left or 0.0) > LIMIT, (check.right or 0.0) > LIMIT
    if left and right:
        return "both"
    return "left" if left else "right"


def titles(run: Run, check: Check) -> tuple[str, str]:
    """How each side calls what fails: the layer with its native kind, or the loss or the optimizer."""
    models = run.left.model, run.right.model
    if check.phase in ("update", "state"):
        read = [item.optimizer.native if item.optimizer is not None else "" for item in models]
        return read[0], read[1]
    losses = {run.left.graph.output, *run.left.graph.outputs}
    if check.phase == "loss" and check.tensor != "gradient" and check.node in losses:
        given = [item.loss.native if item.loss is not None else "" for item in models]
        return given[0], given[1]
    matched = next((item for item in run.matching.pairs if check.node in (*item.pair.left, *item.pair.right)), None)
    if matched is None:
        return check.node, run.matching.counterpart.get(check.node, "")
    return _title(run.left.reading, matched.pair.left), _title(run.right.reading, matched.pair.right)


def _title(reading: Reading, nodes: Iterable[str]) -> str:
    said = []
    for node in nodes:
        calls = reading.places[node].calls
        said.append(f"{calls[-1].name} {calls[-1].native}".strip() if calls else node)
    return " + ".join(said) or "nothing"
