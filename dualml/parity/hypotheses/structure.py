"""Why several layers in a row differ from those that are meant: the same ones in another order, or one too many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.claims import differences
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.meanings import UNKNOWN
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import Candidate, Tried, number
from dualml.spec.graph import Node

JOINING = frozenset({"add", "concat", "average", "multiply", "subtract", "maximum", "minimum"})


def explain_segment(
    meant: Sequence[Node],
    said: Sequence[Node],
    *,
    rho_before: float,
    rho_own: float | None,
    normalised: bool = False,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Hypotheses on why layers that stand for each other as a whole do not do the same.

    Nothing is evaluated here: the deviating side's own claims explain what it did if each of its layers follows its
    own (``rho_own``), and the cause is what the two lists of claims differ in.

    Args:
        meant: The layers that are meant, in order.
        said: The deviating side's own, in order.
        rho_before: The deviating side's rho against what is meant.
        rho_own: The largest rho of its layers, each against its own claim; ``None``: they cannot be judged.
        normalised: Whether what reads the end of it takes a softmax itself, or what it reads is one already.
        deviates: Which side it is.
        frameworks: Of left and right.
    """
    if rho_own is None:
        return ()
    outcome = rho_own
    search = Search(deviates, frameworks, said[-1] if said else meant[-1] if meant else None)
    return search.tried(_candidates(search, list(meant), list(said), outcome, normalised), rho_before)


def _candidates(
    search: Search, meant: list[Node], said: list[Node], outcome: float, normalised: bool
) -> Iterator[Candidate]:
    one, two = [_kind(item) for item in meant], [_kind(item) for item in said]
    shown = " -> ".join(one) or "nothing", " -> ".join(two) or "nothing"
    text = f"{shown[1]} instead of {shown[0]}"

    def trial() -> float:
        return outcome

    def candidate(cause: str, meant_value: Any, instead: Any, words: str = text) -> Candidate:
        return search.candidate(cause, words, meant_value, instead, trial, claimed=True)

    more, fewer = Counter(two) - Counter(one), Counter(one) - Counter(two)
    if not more and not fewer:
        if one != two or _wiring(meant) != _wiring(said):
            yield candidate("graph.residual_order", *shown)
            return
        yield from _inside(search, meant, said, outcome)
        return
    functions = {item for item in (more + fewer) if item in _functions(meant) | _functions(said)}
    if set(more + fewer) == functions:
        doubled = "softmax" in more and not fewer and normalised
        yield candidate("softmax.double" if doubled else "activation.kind", *shown)
        return
    yield candidate(UNKNOWN, *shown)


def _kind(node: Node) -> str:
    function = getattr(node.settings, "function", None)
    return getattr(function, "kind", node.operation)


def _functions(nodes: Sequence[Node]) -> set[str]:
    return {_kind(node) for node in nodes if node.operation == "activation"}


def _wiring(nodes: Sequence[Node]) -> list[tuple[int | str, ...]]:
    """Which earlier layer of the segment each layer reads, by place; of inputs from outside only that they are."""
    places = {node.name: place for place, node in enumerate(nodes)}
    return [tuple(places.get(name, "outside") for name in node.inputs) for node in nodes]


def _inside(search: Search, meant: Sequence[Node], said: Sequence[Node], outcome: float) -> Iterator[Candidate]:
    """The same layers in the same order: what one of them differs in, if it is the only one."""
    found = [(node, item) for node, other in zip(meant, said, strict=True) for item in differences(node, other)]
    together = tuple(item.cause for _, item in found)
    for place, (node, item) in enumerate(found):
        words = f"{node.operation}: {item.setting} {number(item.instead)} instead of {number(item.meant)}"
        others = together[:place] + together[place + 1 :]
        yield search.candidate(
            item.cause,
            words,
            item.meant,
            item.instead,
            lambda: outcome,
            claimed=True,
            setting=item.setting,
            together=others,
        )
