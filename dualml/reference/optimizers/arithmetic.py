"""The arithmetic of update formulas: on float64 arrays it gives an update, on ``Rounded`` ones the bound on its error.

The bounds admit every hyper-parameter rounded to the *working* precision: with a float32 beta ``1 - 0.999`` may be
off by 1,000 u (it is off by 220 u), and so may the second moment; Keras' stock Adam computes its bias corrections
like that. In float64 the same bounds are 2^29 times tighter, and a beta that passed through float32 lies far outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualml.reference.rounding import Float, Rounded, gamma, underflow_unit

Number = Any
"""A float64 array, or a ``Rounded`` one."""

SLACK = 2.0
"""Other orders of the same operations: ``(lr m) / d`` for ``lr (m / d)``, and the like."""


class Exact:
    """Arithmetic that gives the meaning of a formula."""

    def setting(self, value: float) -> Number:
        """A hyper-parameter."""
        return value

    def power(self, base: float, exponent: float) -> Number:
        """``base^exponent`` of settings and the number of the update."""
        return base**exponent

    def correction(self, beta: float, step: int) -> Number:
        """``1 - beta^step``."""
        return 1.0 - beta**step

    def array(self, value: Float, error: Float | None = None) -> Number:
        """A parameter, gradient or slot."""
        return value

    def average(self, weight: Number, old: Number, new: Number) -> Number:
        """``weight old + (1 - weight) new``."""
        return weight * old + (1.0 - weight) * new

    def root(self, value: Number) -> Number:
        """The square root of what is at least 0."""
        return np.sqrt(value)

    def size(self, value: Number) -> Number:
        """``|value|``."""
        return np.abs(value)

    def larger(self, left: Number, right: Number) -> Number:
        """The larger of two."""
        return np.maximum(left, right)

    def smaller(self, left: Number, right: Number) -> Number:
        """The smaller of two."""
        return -self.larger(-left, -right)

    def sign(self, value: Number, *, zero: Any) -> Number:
        """-1, 0 or 1.

        Args:
            value: Of what.
            zero: Where it is a sum of zeros, which no rounding moves.
        """
        return np.sign(value)

    def mean(self, value: Number, axis: int | None = None) -> Number:
        """Mean over an axis, or over everything."""
        return np.asarray(np.mean(value, axis=axis))

    def reshape(self, value: Number, shape: tuple[int, ...]) -> Number:
        """The same numbers in another shape."""
        return np.reshape(value, shape)

    def quotient(self, numerator: Number, divisor: Number, limit: Any) -> Number:
        """``numerator / divisor``, which is known to be at most ``limit``."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return numerator / divisor

    def orthogonalised(self, value: Number, divisor: Number, coefficients: Any, steps: int) -> Number:
        """Newton-Schulz iterations of ``value / divisor``; see ``dualml.spec.optimizers.Muon``."""
        return newton_schulz(value / divisor, coefficients, steps)[-1]


@dataclass(frozen=True)
class Bounded(Exact):
    """Arithmetic that gives the bound of a formula."""

    unit: float

    def setting(self, value: float) -> Number:
        return Rounded(value, self.unit * abs(value), self.unit)

    def power(self, base: float, exponent: float) -> Number:
        # Errors u of base and exponent become e u and e ln(base) u; the power itself is good to a few ulp.
        value = base**exponent
        relative = abs(exponent) * (1.0 + abs(math.log(base))) + 4.0 if base > 0 else 0.0
        return Rounded(value, self.unit * relative * value, self.unit)

    def correction(self, beta: float, step: int) -> Number:
        # A relative error u of beta becomes step u in the power; the power itself is good to a few ulp.
        power = beta**step
        return Rounded(1.0 - power, self.unit * ((step + 4.0) * power + (1.0 - power)), self.unit)

    def array(self, value: Float, error: Float | None = None) -> Number:
        return Rounded(value, 0.0 if error is None else error, self.unit)

    def average(self, weight: Number, old: Number, new: Number) -> Number:
        # Both frameworks also compute old + (1 - weight)(new - old), which loses digits where new is far below old,
        # or the other end, new - weight (new - old).
        direct, by_difference = super().average(weight, old, new), old + (1.0 - weight) * (new - old)
        return Rounded(direct.value, np.maximum(direct.error, by_difference.error), self.unit)

    def root(self, value: Number) -> Number:
        return value.root()

    def size(self, value: Number) -> Number:
        return Rounded(np.abs(value.value), value.error, self.unit)

    def larger(self, left: Number, right: Number) -> Number:
        left, right = self._both(left, right)
        return Rounded(np.maximum(left.value, right.value), np.maximum(left.error, right.error), self.unit)

    def smaller(self, left: Number, right: Number) -> Number:
        left, right = self._both(left, right)
        return Rounded(np.minimum(left.value, right.value), np.maximum(left.error, right.error), self.unit)

    def _both(self, *numbers: Number) -> list[Rounded]:
        return [item if isinstance(item, Rounded) else Rounded(item, 0.0, self.unit) for item in numbers]

    def sign(self, value: Number, *, zero: Any) -> Number:
        lost = (np.abs(value.value) <= value.error) & ~np.asarray(zero)
        return Rounded(np.sign(value.value), np.where(lost, 2.0, 0.0), self.unit)

    def mean(self, value: Number, axis: int | None = None) -> Number:
        error = np.broadcast_to(value.error, value.value.shape)
        count = value.value.size if axis is None else value.value.shape[axis]
        # PyTorch takes the square of a norm divided by the count, hence a few more roundings than in a sum.
        rounding = gamma(count + 8.0, self.unit) * np.mean(np.abs(value.value) + error, axis=axis)
        return Rounded(
            np.mean(value.value, axis=axis),
            np.mean(error, axis=axis) + rounding + underflow_unit(self.unit),
            self.unit,
        )

    def reshape(self, value: Number, shape: tuple[int, ...]) -> Number:
        error = np.broadcast_to(value.error, value.value.shape)
        return Rounded(value.value.reshape(shape), error.reshape(shape), self.unit)

    def quotient(self, numerator: Number, divisor: Number, limit: Any) -> Number:
        # Where the divisor is lost in rounding, the step may go either way, but no further than it ever goes.
        result = numerator / divisor
        return result.capped((np.abs(result.value) + limit) / SLACK)  # certain as it is: no slack

    def orthogonalised(self, value: Number, divisor: Number, coefficients: Any, steps: int) -> Number:
        """A bound in the Frobenius norm, which is one for every number.

        ``X -> a X + (b A + c A A) X`` maps each singular value ``s`` to ``f(s) = a s + b s^3 + c s^5`` and keeps the
        vectors. So an error of ``X`` grows by the largest divided difference of ``f`` (Higham, "Functions of
        Matrices", theorem 3.9, for the symmetric matrix of blocks ``X`` and ``X^T``), at most ``max |f'|`` between 0
        and the largest singular value: at first ``a = 3.4``, hence 500 times in 5 iterations.
        """
        start = value / divisor
        rows, columns = sorted(start.value.shape)
        error = float(np.linalg.norm(np.broadcast_to(start.error, start.value.shape)))
        a, b, c = (abs(item) for item in coefficients)
        iterates = newton_schulz(start.value, coefficients, steps)
        for x in iterates[:-1]:
            frobenius, largest = float(np.linalg.norm(x)), float(np.linalg.norm(x, 2)) + error
            gram = float(np.linalg.norm(x @ x.T))
            inner, outer = gamma(columns + 4.0, self.unit), gamma(rows + 6.0, self.unit)
            of_gram = inner * frobenius**2
            of_update = b * (of_gram + 4.0 * self.unit * gram) + c * (2.0 * largest**2 * of_gram + outer * gram**2)
            update = b * gram + c * gram**2
            local = largest * of_update + outer * update * frobenius + 6.0 * self.unit * a * frobenius
            error = _steepest(coefficients, largest) * error + local
        result = iterates[-1]
        return Rounded(result, error + self.unit * np.abs(result), self.unit)


def newton_schulz(start: Float, coefficients: Any, steps: int) -> list[Float]:
    """``start`` and what each iteration makes of it."""
    a, b, c = coefficients
    iterates = [start]
    for _ in range(steps):
        x = iterates[-1]
        gram = x @ x.T
        iterates.append(a * x + (b * gram + c * gram @ gram) @ x)
    return iterates


def _steepest(coefficients: Any, largest: float) -> float:
    """``max |f'(s)|`` for ``f(s) = a s + b s^3 + c s^5`` and ``s`` from 0 to ``largest``."""
    a, b, c = coefficients
    places = [0.0, largest**2]
    if c and 0.0 < -3.0 * b / (10.0 * c) < largest**2:
        places.append(-3.0 * b / (10.0 * c))
    return float(max(abs(a + 3.0 * b * square + 5.0 * c * square**2) for square in places))
