"""What to write so that both sides do the same, in each framework's own constructor arguments."""

from __future__ import annotations

from typing import Any

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fix_texts import TEXTS, of_optimizer
from dualml.spec.graph import Node

Frameworks = tuple[str, str]
"""Of the left and of the right side: ``torch``, ``tensorflow``."""


def fixes(
    cause: str,
    node: Node | None,
    meant: Any,
    instead: Any,
    *,
    setting: str = "",
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
    optimizers: tuple[str, str] = ("", ""),
) -> dict[str, str]:
    """The change for each framework that makes the sides equal: the deviating side's to ``meant``, or the other's.

    Args:
        cause: Cause id.
        node: The layer, where it is one.
        meant: What the other side has.
        instead: What the deviating side has.
        setting: The setting, where a cause has several.
        deviates: Which side that is.
        frameworks: Of left and right.
        optimizers: Kinds of optimizers, of what is meant and of the deviating side, where it is one.

    Returns:
        By framework; where both are the same, the change of the deviating side. A framework without such an argument
        is missing.
    """
    own, other = (frameworks[0], frameworks[1]) if deviates == "left" else (frameworks[1], frameworks[0])
    found: dict[str, str] = {}
    if own != other:
        found.update(_one(other, cause, node, instead, setting, optimizers[0]))
    return {**found, **_one(own, cause, node, meant, setting, optimizers[1])}


def _one(framework: str, cause: str, node: Node | None, value: Any, setting: str, kind: str) -> dict[str, str]:
    texts = TEXTS.get(framework, {})
    text = texts.get(f"{cause}:{setting}") or texts.get(cause)
    if text is None:
        return {}
    try:
        written = of_optimizer(text(node, value), framework, kind)
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError):
        return {}  # a value that this framework's arguments do not have
    return {framework: written} if written else {}
