"""Why two arrays of weights that should be the same are not, and why arrays are shared on one side only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np

from dualml.parity.findings import SideName
from dualml.parity.hypotheses.fixes import Frameworks
from dualml.parity.hypotheses.rearranged import Rearrangement, head_rearrangements, rearrangements
from dualml.parity.hypotheses.sides import Search
from dualml.parity.hypotheses.trial import Candidate, Tried
from dualml.protocol import Array
from dualml.reference.rounding import Float, underflow_unit
from dualml.spec.graph import Graph, Node

ENOUGH = 8
"""Values from which on arrays without any relation can be told from related ones."""

RELATED = 0.5
"""Correlation from which on arrays count as related: then a copy went wrong, rather than missing."""

BUFFERS = ("running_mean", "running_variance")


def explain_weights(
    left: Array,
    right: Array,
    role: str,
    kind: str,
    node: Node | None = None,
    *,
    unit: float,
    companions: tuple[Mapping[str, Array], Mapping[str, Array]] | None = None,
    flattened: tuple[int, ...] | None = None,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Hypotheses on why two arrays that stand for each other differ.

    Args:
        left: The left side's, in the neutral layout.
        right: The right side's.
        role: What it is to its layer: ``kernel``.
        kind: The layer's kind: ``dense``.
        node: The layer, for what its settings say (heads).
        unit: Unit roundoff of the wider of their formats.
        companions: All weights of the layer by role, left and right: some causes show in several arrays at once.
        flattened: Shape that was flattened before a dense layer.
        deviates: Which side is taken for the one that is off.
        frameworks: Of left and right.
    """
    search = Search(deviates, frameworks, node)
    one, two = (left, right) if deviates == "right" else (right, left)
    one, two = np.asarray(one, dtype=np.float64), np.asarray(two, dtype=np.float64)
    before = copied(two, one, unit)
    heads = node.settings.heads if node is not None and node.operation == "attention" else None
    together = _in_order(companions, deviates)
    candidates = [
        *_reordered(search, one, two, role, kind, heads, flattened, unit, together),
        *_rounded(search, one, two),
        *_summed(search, one, two, role, kind, together, unit),
        *_not_copied(search, one, two, role),
    ]
    return search.tried(candidates, before)


def copied(array: Float, wanted: Float, unit: float) -> float:
    """The largest difference in units of the last place: a copy is 0, one that was printed in full at most 1."""
    if array.shape != wanted.shape:
        return float("inf")
    with np.errstate(invalid="ignore", over="ignore"):
        rest = np.abs(array - wanted) / (unit * np.abs(wanted) + underflow_unit(unit))
    rest = np.where(array == wanted, 0.0, rest)
    return float(rest.max(initial=0.0)) if np.isfinite(rest).all() else float("inf")


def _in_order(
    companions: tuple[Mapping[str, Array], Mapping[str, Array]] | None, deviates: SideName
) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
    """Of the side that is meant, then of the one that deviates."""
    if companions is None:
        return {}, {}
    return companions if deviates == "right" else companions[::-1]


def _reordered(
    search: Search,
    one: Float,
    two: Float,
    role: str,
    kind: str,
    heads: int | None,
    flattened: tuple[int, ...] | None,
    unit: float,
    companions: tuple[Mapping[str, Array], Mapping[str, Array]],
) -> Iterator[Candidate]:
    """Every known order, from either side to the other."""
    ours = {**companions[0], role: one}
    theirs = {**companions[1], role: two}
    found = list(rearrangements(kind, ours, flattened))
    if heads is not None:
        found += head_rearrangements(heads)
    for item in found:
        roles = [role]
        if item.cause == "layout.rnn_bias":  # one bias alone says nothing about what became of both
            roles = [name for name in ours if "bias" in name and name in theirs]
        forth, back = (
            partial(_became, item, ours, theirs, roles, unit),
            partial(_became, item, theirs, ours, roles, unit),
        )
        yield search.candidate(item.cause, item.said, item.meant, item.instead, partial(_either, forth, back))


def _either(one: Callable[[], float], two: Callable[[], float]) -> float:
    return min(one(), two())


def _became(
    item: Rearrangement, ours: Mapping[str, Array], theirs: Mapping[str, Array], roles: Sequence[str], unit: float
) -> float:
    """How far one side's arrays are from the other side's in another order."""
    moved = item.apply({name: np.asarray(array, dtype=np.float64) for name, array in ours.items()})
    return max(copied(np.asarray(theirs[name], dtype=np.float64), np.asarray(moved[name]), unit) for name in roles)


FORMATS: Mapping[str, int] = {"float32": 24, "bfloat16": 8, "float16": 11, "float8 (e4m3)": 4}
"""Number formats and the bits of their significands, the widest first."""


def rounded_to(array: Float, bits: int) -> Float:
    """To the nearest number of so many bits, ties to even; ranges of exponents are not looked at."""
    mantissa, exponent = np.frexp(array)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits))


def _rounded(search: Search, one: Float, two: Float) -> Iterator[Candidate]:
    """One side went through a format of fewer digits."""
    for name, bits in FORMATS.items():

        def trial(bits: int = bits) -> float:
            # A format whose rounding is within that of the copy itself explains nothing.
            same = np.array_equal(rounded_to(one, bits), two) or np.array_equal(rounded_to(two, bits), one)
            narrow = _bits(two) <= bits or _bits(one) <= bits
            return 0.0 if same and narrow else float("inf")

        yield search.candidate("weights.low_precision", f"rounded to {name}", "as they are", name, trial)


def _bits(array: Float) -> int:
    """Bits of the longest significand."""
    mantissa = np.frexp(array)[0]
    for bits in sorted({*FORMATS.values()}):
        if np.array_equal(np.ldexp(np.rint(np.ldexp(mantissa, bits)), -bits), mantissa):
            return bits
    return 53


def _summed(
    search: Search,
    one: Float,
    two: Float,
    role: str,
    kind: str,
    companions: tuple[Mapping[str, Array], Mapping[str, Array]],
    unit: float,
) -> Iterator[Candidate]:
    """A recurrent layer's two biases as one, where the other side has both."""
    if kind not in ("lstm", "gru", "simple_rnn") or "bias" not in role:
        return
    for mine, array in ((companions[0], two), (companions[1], one)):
        biases = [np.asarray(mine[name], dtype=np.float64) for name in ("bias", "recurrent_bias") if name in mine]
        if len(biases) == 1 and biases[0].ndim == 2:
            biases = [biases[0][0], biases[0][1]]
        if len(biases) == 2 and biases[0].shape == array.shape:
            total = biases[0] + biases[1]
            yield search.candidate(
                "layout.rnn_bias",
                "one bias holds the sum of both",
                "b, b'",
                "b + b'",
                partial(copied, array, total, 2.0 * unit),
            )


def _not_copied(search: Search, one: Float, two: Float, role: str) -> Iterator[Candidate]:
    """No relation between the two, or one side still constant as it was drawn."""
    buffer = role in BUFFERS
    cause = "weights.buffers_not_copied" if buffer else "weights.not_copied"
    for array, other in ((two, one), (one, two)):
        value = float(array.flat[0]) if array.size else 0.0
        still = array.size > 0 and bool((array == value).all()) and value in (0.0, 1.0)
        if still and not np.array_equal(array, other):
            said = f"every value is still {value:g}"
            yield search.candidate(cause, said, "copied", f"{value:g} everywhere", lambda: 0.0)
            return
    said = f"no relation between the two: correlation {correlation(one, two):.2f} over {one.size} values"
    yield search.candidate(cause, said, "copied", "another array", lambda: 0.0 if _unrelated(one, two) else math.inf)


def correlation(one: Float, two: Float) -> float:
    """Of two arrays of one shape; 0 where one of them is constant."""
    if one.shape != two.shape or one.size < 2:
        return 0.0
    a, b = one.ravel() - one.mean(), two.ravel() - two.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0


def _unrelated(one: Float, two: Float) -> bool:
    """Whether nothing of one array is in the other, in any order."""
    if one.shape != two.shape or one.size < ENOUGH or not (np.isfinite(one).all() and np.isfinite(two).all()):
        return False
    if (one == two).any():
        return False  # some values are the same: something else happened to them
    same_values = np.allclose(np.sort(one, axis=None), np.sort(two, axis=None), rtol=1e-6, atol=0.0)
    return not same_values and abs(correlation(one, two)) < RELATED


def explain_tying(
    left: Graph,
    right: Graph,
    pairs: Sequence[tuple[str, str]],
    *,
    deviates: SideName = "right",
    frameworks: Frameworks = ("torch", "tensorflow"),
) -> tuple[Tried, ...]:
    """Arrays that one side uses in several places where the other has one for each.

    Args:
        left: The left model.
        right: The right model.
        pairs: Nodes that stand for each other: left name, right name.
        deviates: Which side is taken for the one that is off.
        frameworks: Of left and right.
    """
    counterpart = dict(pairs)
    search = Search(deviates, frameworks)
    found = []
    owner_of = _users(left), _users(right)
    for name, users in owner_of[0].items():
        others = {owner_of_node(right, counterpart.get(user)) for user in users} - {None}
        if len(users) > 1 and len(others) > 1:
            found.append(_tying(search, name, users, "one array", "one for each"))
    turned = {other: name for name, other in counterpart.items()}
    for name, users in owner_of[1].items():
        others = {owner_of_node(left, turned.get(user)) for user in users} - {None}
        if len(users) > 1 and len(others) > 1:
            found.append(_tying(search, name, users, "one for each", "one array"))
    return search.tried(found, float("inf"))


def _users(graph: Graph) -> dict[str, tuple[str, ...]]:
    """For each array that is used by several nodes, which they are."""
    users: dict[str, list[str]] = {}
    for node in graph.nodes:
        for item in node.parameters:
            if node.name not in users.setdefault(item.name, []):
                users[item.name].append(node.name)
    return {name: tuple(nodes) for name, nodes in users.items()}


def owner_of_node(graph: Graph, name: str | None) -> str | None:
    """The array that a node's kernel or table is, by the name of its owner."""
    node = graph.by_name.get(name or "")
    if node is None:
        return None
    matrix = [item.name for item in node.parameters if "bias" not in item.role]
    return matrix[0] if matrix else None


def _tying(search: Search, name: str, users: tuple[str, ...], left: str, right: str) -> Candidate:
    said = f"{name} is used by {' and '.join(users)} on one side, and is an array for each on the other"
    meant, instead = (left, right) if search.deviates == "right" else (right, left)
    return search.candidate("weights.tied_untied", said, meant, instead, lambda: 0.0, claimed=True)
