"""What ``dualml diff`` said about one case, and whether that is right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.faults.fault import Case, Fault

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Found:
    """One finding, as plain values."""

    cause: str
    confirmed: bool
    step: int
    phase: str
    node: str
    names: tuple[str, str]
    kind: str
    deviates: str
    alternatives: tuple[str, ...]
    rho: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """One case, compared.

    Attributes:
        id: Of the case.
        family: Network.
        cause: What is wrong; empty in a clean pair.
        name: Which fault.
        verdict: Of the report; ``error`` if there is none.
        detected: Something that the pair does not have by itself was found.
        placed: The first of it is at the right node, step and rung.
        named: ``right``, ``wrong``, ``unknown`` or ``missed``.
        extra: Causes of further findings that nothing put in explains.
        missing: What the pair has by itself and was not found.
        found: Everything found.
        magnitude: Size of the fault.
        curve: Its power curve.
        seconds: Time of the comparison.
        plain: Time of as many plain updates on both sides.
        error: Why there is no report.
    """

    id: str
    family: str
    cause: str
    name: str
    verdict: str
    detected: bool
    placed: bool
    named: str
    extra: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()
    magnitude: float | None = None
    curve: str = ""
    seconds: float = 0.0
    plain: float = 0.0
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def clean(self) -> bool:
        """Whether nothing was put in."""
        return not self.cause

    @property
    def good(self) -> bool:
        """Whether all that was said is right and all that is there was said."""
        if self.clean:
            return self.verdict == "equal" and not self.found
        expected = "right" if self.cause != UNKNOWN else UNKNOWN
        return self.detected and self.placed and self.named in ("right", expected) and not self.extra


def outcome_of(values: dict[str, Any]) -> Outcome:
    """The outcome that ``to_dict`` wrote."""
    found = tuple(
        Found(
            **{
                **item,
                "names": tuple(item["names"]),
                "alternatives": tuple(item["alternatives"]),
                "rho": tuple(item["rho"]),
            }
        )
        for item in values["found"]
    )
    return Outcome(**{**values, "found": found, "extra": tuple(values["extra"]), "missing": tuple(values["missing"])})


def failed(case: Case, error: str) -> Outcome:
    """The outcome of a comparison that gave no report."""
    cause, name = (case.fault.cause, case.fault.name) if case.fault else ("", case.id.split("/")[2])
    named = "missed" if case.fault else ""
    return Outcome(case.id, case.family, cause, name, "error", False, False, named, error=error)


def graded(case: Case, verdict: str, found: Sequence[Found], seconds: float, plain: float) -> Outcome:
    """Hold what was found against what was put in.

    Args:
        case: The pair.
        verdict: Of the report.
        found: Its findings, the first one first.
        seconds: Time of the comparison.
        plain: Time of as many plain updates on both sides.
    """
    missing = tuple(sorted(case.present - {item.cause for item in found}))
    fault = case.fault
    if fault is None:
        name = case.id.split("/")[2]
        return Outcome(
            case.id,
            case.family,
            "",
            name,
            verdict,
            bool(found),
            False,
            "",
            (),
            missing,
            tuple(found),
            None,
            "",
            seconds,
            plain,
        )
    own = [item for item in found if item.cause not in case.present]
    first = own[0] if own else None
    accepted = {fault.cause, *fault.also}
    if first is None:
        named = "missed"
    elif first.cause in accepted:
        named = "right"
    else:
        named = UNKNOWN if first.cause == UNKNOWN else "wrong"
    return Outcome(
        id=case.id,
        family=case.family,
        cause=fault.cause,
        name=fault.name,
        verdict=verdict,
        detected=first is not None and verdict == "different",
        placed=first is not None and placed(first, fault),
        named=named,
        extra=tuple(item.cause for item in own[1:] if item.cause not in accepted),
        missing=missing,
        found=tuple(found),
        magnitude=fault.magnitude,
        curve=fault.curve,
        seconds=seconds,
        plain=plain,
    )


def placed(found: Found, fault: Fault) -> bool:
    """Whether a finding is where the fault is: step, rung, and the native name of the layer on either side."""
    if found.step not in fault.steps or found.phase not in fault.phases:
        return False
    return not fault.node or any(
        re.search(rf"\b{re.escape(part)}\b", said) for part in fault.node for said in (found.node, *found.names)
    )
