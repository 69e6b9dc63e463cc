"""``dualml.diff``: two models that the user already has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualml.errors import ParityError
from dualml.parity.diff.adopt import adopted
from dualml.parity.diff.weights import Policy
from dualml.parity.report import Report

if TYPE_CHECKING:
    from dualml.parity.diff.run import Run

POLICIES = ("auto", "copy", "compare")


def tell_nobody(_message: str) -> None:
    """Take no notice of what is being done."""


def diff(
    left: Any,
    right: Any,
    inputs: Any = None,
    targets: Any = None,
    *,
    steps: int = 3,
    weights: Policy = "auto",
    mapping: Mapping[str, Any] | Path | str | None = None,
    left_inputs: Any = None,
    right_inputs: Any = None,
    replay: str = "",
    told: Callable[[str], None] = tell_nobody,
) -> Report:
    """Compare two native models layer by layer, forwards, backwards and through updates.

    Args:
        left: A model, a function that returns one, or a ``dualml.Trainable``; it says what is meant.
        right: The model that should do the same, of any framework.
        inputs: A batch, or a mapping of input names to batches, in the left framework's axes.
        targets: Targets of the losses, or a mapping of output names to them; made up if left out.
        steps: Updates that are judged, if both sides have a loss and an optimizer.
        weights: ``copy`` the left side's weights to the right side, ``compare`` them as they are, or ``auto``: compare
            if one side's look like a port of the other's, else copy.
        mapping: Layers that stand for each other, where the matching is to be told: paths on the left to paths on the
            right, or a file that holds the same.
        left_inputs: The left side's batch, in place of ``inputs``.
        right_inputs: The right side's batch with its own axes.
        replay: The command that repeats it, for the report.
        told: Called with a line about what is being done.

    Returns:
        The report: ``report.verdict``, ``report.native.findings``, ``report.show()``, ``report.to_html(path)``.

    Raises:
        ParityError: Something given is not usable.

    Example:
        >>> import dualml
        >>> report = dualml.diff(torch_model, keras_model, batch)  # doctest: +SKIP
    """
    given = Given(inputs, targets, left_inputs, right_inputs)
    return compared(left, right, given, steps, weights, mapping, replay, told)[0]


@dataclass(frozen=True)
class Given:
    """What both sides are given, as ``diff`` takes it.

    Attributes:
        inputs: A batch for both sides.
        targets: Targets of the losses.
        left_inputs: The left side's batch, in place of ``inputs``.
        right_inputs: The right side's.
    """

    inputs: Any = None
    targets: Any = None
    left_inputs: Any = None
    right_inputs: Any = None


def compared(
    left: Any,
    right: Any,
    given: Given,
    steps: int,
    weights: Policy,
    mapping: Mapping[str, Any] | Path | str | None,
    replay: str,
    told: Callable[[str], None],
) -> tuple[Report, Run]:
    """The report of ``diff``, and both sides in float64, for those who want to look further.

    Raises:
        ParityError: Something given is not usable.
    """
    from dualml.native.mapping import as_mapping
    from dualml.parity.diff.engine import Comparison
    from dualml.parity.diff.inputs import as_arrays, few
    from dualml.parity.diff.result import report

    begun = time.perf_counter()
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ParityError(f"steps must be a whole number of at least 1, got {steps!r}")
    if weights not in POLICIES:
        raise ParityError(f"weights must be one of {', '.join(POLICIES)}, got {weights!r}")
    if given.inputs is not None and given.left_inputs is not None:
        raise ParityError("give inputs for both sides, or left_inputs and right_inputs, not both")
    one = as_arrays(given.inputs if given.left_inputs is None else given.left_inputs, "inputs")
    two = as_arrays(given.right_inputs, "right_inputs")
    wanted = as_arrays(given.targets, "targets")
    skipped = 0
    if one is not None:
        whole = len(next(iter(one.values())))
        one, wanted = few(one, wanted)
        skipped = whole - len(next(iter(one.values())))
    if two is not None:
        two, _ = few(two, None)
    models = adopted(left, "left"), adopted(right, "right")
    comparison = Comparison(models[0], models[1], (one, two), wanted, steps, weights, as_mapping(mapping), told)
    if skipped > 0:
        comparison.ledger.skip(f"{skipped} of the given examples", "a few suffice to judge every layer")
    run = comparison.compare()
    return report(comparison, names(left, right), replay, time.perf_counter() - begun), run


def names(left: Any, right: Any) -> tuple[str, str]:
    """What the user calls the two sides, if they say."""
    return getattr(left, "name", "") or "", getattr(right, "name", "") or ""
