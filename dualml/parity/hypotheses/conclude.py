"""From hypotheses that were tested to a cause: confirmed, or ``unknown``; never a guess."""

from __future__ import annotations

from collections.abc import Sequence

from dualml.parity.findings import Hypothesis
from dualml.parity.hypotheses.meanings import UNKNOWN
from dualml.parity.hypotheses.trial import Tried, number, passing, ranked
from dualml.parity.report import Cause

Conclusion = tuple[Cause, tuple[str, ...]]
"""The cause, and the ids of others that pass as well."""


def conclude(hypotheses: Sequence[Hypothesis], before: str = "") -> Conclusion:
    """The cause that the hypotheses leave.

    Confirmed is the first that passes: one that the two sides' own code states before any other, one that it does not
    contradict before one that it does, one that explains the difference alone before several together. Others that
    pass are what the data cannot tell from it; where the chosen one is stated by the code, those that are not are
    refuted by it.

    Args:
        hypotheses: Everything tried for one difference.
        before: Further evidence, put in front.

    Returns:
        The cause, ``unknown`` if none passes or the one that does has no name, and the alternatives.
    """
    every = ranked([item if isinstance(item, Tried) else Tried(**vars(item)) for item in hypotheses])
    found = [item for item in passing(every) if isinstance(item, Tried)]
    if not found:
        return Cause(UNKNOWN, False, None, None, before + _nothing(every)), ()
    chosen = found[0]
    equals = [item for item in found if item.claimed == chosen.claimed and len(item.together) == len(chosen.together)]
    known = {chosen.cause, UNKNOWN, *chosen.together}
    others = tuple(dict.fromkeys(item.cause for item in equals if item.cause not in known))
    if chosen.cause == UNKNOWN:
        said = f"{chosen.said} explains it ({_change(chosen)}), but is no cause with a name"
        return Cause(UNKNOWN, False, chosen.left, chosen.right, before + said, dict(chosen.fix)), others
    return Cause(
        chosen.cause, True, chosen.left, chosen.right, before + _evidence(chosen, every, others), dict(chosen.fix)
    ), others


def conclusions(hypotheses: Sequence[Hypothesis], before: str = "") -> tuple[Conclusion, ...]:
    """One for each cause that is needed: several where none explains the difference alone.

    Where not all that are needed have a name, the difference is ``unknown``: a part of it is no cause by itself.
    """
    cause, others = conclude(hypotheses, before)
    found = [(cause, others)]
    first = next((item for item in ranked([h for h in hypotheses if isinstance(h, Tried)]) if item.passes), None)
    if first is None or not first.together:
        return tuple(found)
    if UNKNOWN in (first.cause, *first.together):
        needed = [item.said for item in hypotheses if isinstance(item, Tried) and item.passes and item.together]
        said = f"{before}{' and '.join(dict.fromkeys(needed))} together explain it, but not all have a name"
        return ((Cause(UNKNOWN, False, None, None, said, dict(first.fix)), ()),)
    for item in hypotheses:
        joint = isinstance(item, Tried) and item.passes and first.cause in item.together
        if joint and item.cause in first.together:
            found.append(conclude([item], before))
    return tuple(found)


def _change(item: Hypothesis) -> str:
    return f"rho {item.rho_before:.3g} -> {item.rho_after:.2g}"


def _evidence(chosen: Tried, every: Sequence[Hypothesis], others: Sequence[str]) -> str:
    parts = [f"{chosen.said}: {_change(chosen)}"]
    if chosen.fitted is not None:
        parts.append(f"fitted {chosen.fitted:.4g}")
    if chosen.claimed:
        parts.append("both sides' code says so")
    if chosen.together:
        parts.append(f"together with {', '.join(chosen.together)}")
    if others:
        parts.append(f"these data cannot tell it from {', '.join(others)}")
    rejected = sum(not item.passes for item in every)
    if rejected:
        parts.append(f"{rejected} other {'hypothesis' if rejected == 1 else 'hypotheses'} rejected")
    return "; ".join(parts)


def _nothing(every: Sequence[Hypothesis]) -> str:
    if not every:
        return "no hypothesis applies"
    best = min(every, key=lambda item: item.rho_after)
    said = f"none of {len(every)} hypotheses explains it"
    if best.rho_after < best.rho_before:
        said += f"; the nearest, {best.said}, leaves rho {number(float(f'{best.rho_after:.3g}'))}"
    return said
