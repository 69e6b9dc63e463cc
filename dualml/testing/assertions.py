"""Assertions whose messages are sentences: what must hold, what was found and where, what it usually means.

pytest does not rewrite ``assert`` in installed modules, so the helpers here say themselves what it would have shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from dualml.parity.report import Report
from dualml.protocol import Array, Arrays


def fail(what: str, must: str, found: str, hint: str = "", looks: str = "") -> NoReturn:
    """Fail a check with a sentence for each of: what must hold and what was found, its looks, what it usually means."""
    looking = f" It looks like {looks}." if looks else ""
    usually = f" This usually means: {hint}." if hint else ""
    raise AssertionError(f"{what} must {must}, but {found}.{looking}{usually}")


def check(condition: bool, what: str, must: str, found: str, hint: str = "") -> None:
    """Fail unless a condition holds."""
    if not condition:
        fail(what, must, found, hint)


def assert_parity(
    left: Any,
    right: Any,
    inputs: Any = None,
    targets: Any = None,
    *,
    html: str | Path | None = None,
    allow_undecided: bool = False,
    **settings: Any,
) -> Report:
    """Two models that a project already has do the same; where they do not, the message is the card.

    Args:
        left: The model that says what is meant: a PyTorch module, a Keras model, a function that returns one, or a
            ``dualml.Trainable`` with its loss and optimizer.
        right: The model that must do the same.
        inputs: A batch, or a mapping of input names to batches; as for ``dualml.diff``.
        targets: Targets of the losses, if there are some.
        html: Where the page is written if the models are not equal.
        allow_undecided: Whether a comparison that could not decide passes.
        **settings: Further arguments of ``dualml.diff``: ``steps``, ``weights``, ``mapping``, ``left_inputs``,
            ``right_inputs``.

    Returns:
        The report, for assertions of your own.

    Raises:
        AssertionError: They differ, or it could not be decided.
        ParityError: What is given cannot be compared.

    Example:
        >>> from dualml.testing import assert_parity
        >>> assert_parity(torch_model, keras_model, batch, html="parity.html")  # doctest: +SKIP
    """
    __tracebackhide__ = True  # pytest shows the user's line, not this one
    from dualml.parity.card import card
    from dualml.parity.diff.api import diff

    report = diff(left, right, inputs, targets, **settings)
    if report.verdict == "equal" or (allow_undecided and report.verdict == "undecided"):
        return report
    where = ""
    if html is not None:
        report.to_html(html)
        where = f"\npage               {html}"
    raise AssertionError(f"the models must be equal up to rounding\n{card(report)}{where}")


def assert_array(what: str, got: Any, shape: tuple[int, ...], dtype: str) -> None:
    """The value is a NumPy array of a shape and a dtype."""
    check(isinstance(got, np.ndarray), what, "be a NumPy array", f"it is a {type(got).__name__}", "no conversion")
    check(
        got.shape == tuple(shape),
        what,
        f"have shape {tuple(shape)}",
        f"it has shape {got.shape}",
        "another layout, or an axis too many or too few",
    )
    check(
        got.dtype == np.dtype(dtype),
        what,
        f"have dtype {dtype}",
        f"it has dtype {got.dtype}",
        "a conversion that does not keep the precision of the graph",
    )


def assert_names(what: str, got: Iterable[str], want: Iterable[str], hint: str = "") -> None:
    """Two sets of names are the same."""
    got, want = set(got), set(want)
    check(
        got == want,
        what,
        f"have exactly the names {sorted(want)}",
        f"missing are {sorted(want - got) or 'none'} and unknown are {sorted(got - want) or 'none'}",
        hint,
    )


def assert_close(what: str, got: ArrayLike, want: ArrayLike, bound: ArrayLike, hint: str = "") -> None:
    """Every value is within its own bound of what it must be.

    Args:
        what: What is compared.
        got: What the backend returned.
        want: What it must be, float64.
        bound: How far rounding may move each value: not negative, broadcast to the shape of ``want``.
        hint: What it usually means.
    """
    found, right = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    check(
        found.shape == right.shape,
        what,
        f"have shape {right.shape}",
        f"it has shape {found.shape}",
        "another layout, or an axis too many or too few",
    )
    limits = np.broadcast_to(np.asarray(bound, dtype=np.float64), right.shape)
    distance = np.abs(found - right)
    # Negated, so that a NaN counts as wrong. Equal infinities have the distance NaN.
    wrong = ~(distance <= limits) & ~(found == right)
    if not wrong.any():
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(wrong, np.nan_to_num(distance / limits, nan=np.inf), -1.0)
    worst = np.unravel_index(int(np.argmax(excess)), right.shape)
    place = f" at index {tuple(int(axis) for axis in worst)}" if right.ndim else ""
    fail(
        what,
        f"be {right[worst].item()!r}{place} up to rounding ({limits[worst]:.2g})",
        f"it is {found[worst].item()!r}, {excess[worst]:.3g} times the bound away, and so are "
        f"{int(wrong.sum())} of {wrong.size} values",
        hint,
        _looks(found, right, limits),
    )


def assert_identical(what: str, got: ArrayLike, want: ArrayLike, hint: str = "") -> None:
    """Two arrays hold the same numbers, in the same dtype and shape; NaN equals nothing."""
    found, right = np.asarray(got), np.asarray(want)
    check(
        found.shape == right.shape and found.dtype == right.dtype,
        what,
        f"have shape {right.shape} and dtype {right.dtype}",
        f"it has shape {found.shape} and dtype {found.dtype}",
        hint,
    )
    wrong = ~(found == right)
    if wrong.any():
        worst = np.unravel_index(int(np.argmax(wrong)), right.shape)
        place = f" at index {tuple(int(axis) for axis in worst)}" if right.ndim else ""
        fail(
            what,
            f"be exactly {right[worst].item()!r}{place}",
            f"it is {found[worst].item()!r}; {int(wrong.sum())} of {wrong.size} values differ",
            hint,
        )


def assert_all_identical(what: str, got: Arrays, want: Arrays, hint: str = "") -> None:
    """``assert_identical`` for each name; the names are the same too."""
    assert_names(what, got, want, hint)
    for name in want:
        assert_identical(f"{what} of {name!r}", got[name], want[name], hint)


def _looks(found: Array, right: Array, limits: Array) -> str:
    """What a comparison that failed looks like, if it looks like anything in particular."""
    if not np.isfinite(found).all():
        return "an overflow, a logarithm of zero or a division by zero"
    if right.ndim == 2 and right.shape[0] == right.shape[1] and bool((np.abs(found - right.T) <= limits.T).all()):
        return "a kernel in the other layout: it is the transpose of what it must be"
    order = np.argsort(right, axis=None)
    if right.size > 1 and bool((np.abs(np.sort(found, axis=None) - right.flat[order]) <= limits.flat[order]).all()):
        return "values in another order: the same numbers stand in other places"
    large = np.abs(right) > 1e3 * limits
    if not large.any():
        return ""
    factors = found[large] / right[large]
    off = np.abs(factors - 1.0).max()
    if 1e-10 < off < 1e-6:
        return "a constant or an array that passed through float32 on its way"
    if off > 1e-3 and factors[0] != 0 and (large.sum() > 1 or right.size == 1) and np.ptp(factors) < 1e-6 * off:
        return f"a wrong constant factor: every value is {factors[0]:.6g} times what it must be"
    return ""
