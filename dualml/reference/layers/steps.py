"""Steps of a recurrence with error bounds that stay useful over many of them.

Followed value by value, with every sign at its worst, an error grows at each step by the norm of the *sizes* of the
step's derivative: by 4 for 64 units drawn as PyTorch draws them, so that after 30 steps a float64 bound says nothing.
The euclidean norm of an error grows by the spectral norm of the derivative itself, which is near 1 or below.
So a step here carries both, and takes the smaller:

- with ``e`` the error of the states before it and ``l`` what the step's own rounding adds, the error after it is
  ``F(s + e) - F(s) + l``, and by the mean value theorem ``|F(s + e) - F(s)|_2 <= sup |J| |e|_2``, the supremum over all
  states within ``e``. ``Step.gains`` bounds it from gates that carry their errors;
- backwards the adjoint ``a`` with error ``e`` becomes ``J^T a``: ``|J^T e|_2 <= sup |J| |e|_2``, and what the step
  itself adds, its ``J`` being known within bounds only, is ``l``.

Both hold for each state by itself (an LSTM's ``h`` and ``c``): norms and gains are those of blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from dualml.reference import ops
from dualml.reference.arithmetic import Number, error_of, value_of
from dualml.reference.rounding import Float, Rounded, Terms, gamma
from dualml.reference.trace import Traced, gradients

Weights = Mapping[str, Traced]

OWN_ROUNDINGS = 64
"""Roundings of a step beside those of its sums: each may be larger by as much as what it rounds is off."""


class Step(Protocol):
    """One step of a recurrence."""

    limit: float
    """What the first state, of any correct implementation, cannot be further from the exact one."""

    def __call__(self, x: Traced, states: Traced, weights: Weights) -> Traced:
        """The states after it, shape ``(states, examples, units)``, from those before it and one step's input."""

    def gains(self, x: Traced, states: Traced, weights: Weights) -> Float:
        """How much it can stretch an error: shape ``(after, before, examples)``, bounds on spectral norms."""


@dataclass
class Moving:
    """States on their way, with norms of their errors.

    Attributes:
        states: Shape ``(states, examples, units)``.
        norms: Shape ``(states, examples)``: bounds on the norms of the errors.
        passed: What later steps pass back to these states: errors value by value, and their norms.
    """

    states: Traced
    norms: Float
    passed: list[tuple[Float, Float]] = field(default_factory=list)


def start(states: int, examples: int, units: int) -> Moving:
    """States of zeros."""
    return Moving(ops.constant(np.zeros((states, examples, units))), np.zeros((states, examples)))


def advance(step: Step, x: Traced, before: Moving, weights: Weights, read: Any = None) -> Moving:
    """One step.

    Args:
        step: What it does.
        x: Its input, shape ``(examples, features)``.
        before: The states before it.
        weights: The parameters by role.
        read: Which examples it changes, shape ``(examples,)``; all, if not given.
    """

    def taken(x: Traced, states: Traced, weights: Weights) -> Traced:
        after = step(x, states, weights)
        return after if read is None else ops.where(np.broadcast_to(read[:, None], after.shape), after, states)

    if not isinstance(x.number, Rounded):
        return Moving(taken(x, before.states, weights), before.norms)
    return _Bounded(step, taken, x, before, weights, read).after()


class _Bounded:
    """One step on values with errors."""

    def __init__(self, step: Step, taken: Any, x: Traced, before: Moving, weights: Weights, read: Any) -> None:
        assert isinstance(x.number, Rounded)
        self.unit = x.number.unit
        self.before = before
        self.outer = [x, before.states, *weights.values()]
        self.names = list(weights)
        self.taken = taken
        self.inner, self.result = self._evaluate(before.states.number)
        _, plain = self._evaluate(Rounded.given(before.states.value, self.unit))
        roundings = sum(item.shape[0] for item in weights.values() if item.ndim == 2) + OWN_ROUNDINGS
        self.growth = gamma(roundings, self.unit)
        own = error_of(plain.number) + self.growth * error_of(self.result.number)
        with np.errstate(all="ignore"):
            self.gains = np.asarray(step.gains(self.inner[0], self.inner[1], self._weights(self.inner)))
            if read is not None:
                same = np.eye(len(self.gains))[:, :, None]
                self.gains = np.where(read, self.gains, same)
            norms = self._stretched(self.gains, before.norms)
            error = np.minimum(error_of(self.result.number), own + norms[:, :, None])
            error[0] = np.fmin(error[0], step.limit)
            self.error = error
            self.norms = np.fmin(norms + _norms(own), _norms(error))
        self.moving: Moving | None = None
        self._last: tuple[Number, list[Number]] | None = None

    def after(self) -> Moving:
        """The states after it."""
        number = Rounded(self.result.value, self.error, self.unit)
        pulls = [(item, lambda g, place=place: self._pull(g)[place]) for place, item in enumerate(self.outer)]
        self.moving = Moving(Traced(number, *pulls), self.norms)
        return self.moving

    def _weights(self, sources: list[Traced]) -> Weights:
        return dict(zip(self.names, sources[2:], strict=True))

    def _evaluate(self, states: Number) -> tuple[list[Traced], Traced]:
        """The step by itself, from fresh sources with the numbers that it is given."""
        numbers = [self.outer[0].number, states, *(item.number for item in self.outer[2:])]
        inner = [Traced(number, differentiated=True) for number in numbers]
        return inner, self.taken(inner[0], inner[1], self._weights(inner))

    @staticmethod
    def _stretched(gains: Float, norms: Float) -> Float:
        return np.asarray(np.einsum("abn,bn->an", gains, norms))

    def _pull(self, g: Number) -> list[Number]:
        """Gradients for input, states and weights; computed once for all of them."""
        if self._last is None or self._last[0] is not g:
            self._last = g, self._pulled(g)
        return self._last[1]

    def _pulled(self, g: Number) -> list[Number]:
        assert self.moving is not None
        shapes = [item.shape for item in self.inner]
        found = [
            np.zeros(shape) if number is None else number
            for number, shape in zip(gradients(self.result, g, self.inner), shapes, strict=True)
        ]
        (plain,) = gradients(self.result, Rounded(value_of(g), 0.0, self.unit), self.inner[1:2])
        assert isinstance(found[1], Rounded)
        assert plain is not None
        with np.errstate(all="ignore"):
            rest, norms = error_of(g), np.zeros(self.norms.shape)
            for error, norm in self.moving.passed:
                rest, norms = np.maximum(rest - error, 0.0), norms + norm
            norms = np.fmin(norms + _norms(rest), _norms(error_of(g)))
            stretched = self._stretched(self.gains.transpose(1, 0, 2), norms)
            own = error_of(plain) + self.growth * error_of(found[1])
            error = np.fmin(error_of(found[1]), own + stretched[:, :, None])
            self.before.passed.append((error, np.fmin(stretched + _norms(own), _norms(error))))
        terms = found[1].terms
        if terms is not None:
            terms = Terms(terms.count, terms.size, error)
        found[1] = Rounded(found[1].value, error, self.unit, terms)
        return found


def _norms(errors: Any) -> Float:
    return np.asarray(np.sqrt(np.sum(np.square(errors), axis=-1)))


def size(x: Traced) -> Float:
    """The largest size that values may have."""
    return np.asarray(np.abs(x.value) + error_of(x.number))


def spectral(matrix: Traced) -> float:
    """Bound on the spectral norm of a matrix, which is exact."""
    return float(np.linalg.norm(matrix.value, 2)) * (1.0 + 1e-9)


def largest(*coefficients: Float) -> Float:
    """Bound on the spectral norm of diagonal matrices side by side, from sizes ``(examples, units)``."""
    return np.asarray(np.sqrt(sum(np.square(item) for item in coefficients)).max(axis=-1))
