"""The normal distribution in arithmetic that is the same on every machine.

The functions of a mathematics library (``log``, ``cos``, ``erf``) may differ in the last bit from one library or
processor to the next, and LAPACK adds in whatever order suits the processor. Initial weights must not: everything here
uses only ``+ - * /`` and ``sqrt`` on whole arrays, which IEEE 754 rounds in one way only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

LOG_2 = 0.6931471805599453
LOG_TERMS = tuple(1.0 / (2 * power + 1) for power in range(12))
"""Coefficients of ``artanh(s) / s`` in ``s^2``; the first one left out is below 2^-60 for ``s <= 0.172``."""

# Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied Statistics 37 (1988), PPND16:
# numerator and denominator, highest power first, of the centre, of the near tail and of the far tail.
CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
NEAR = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
FAR = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)


def log(values: Float) -> Float:
    """Natural logarithm of positive numbers, within 2 units in the last place.

    ``x = 2^e m`` with ``m`` in ``[sqrt 1/2, sqrt 2)``; ``ln x = e ln 2 + 2 artanh((m - 1) / (m + 1))``.

    Example:
        >>> log(np.array([0.5, 1.0])).tolist()
        [-0.6931471805599453, 0.0]
    """
    mantissa, exponent = np.frexp(values)
    small = mantissa < 0.7071067811865476
    mantissa = np.where(small, 2.0 * mantissa, mantissa)
    exponent = exponent - small
    ratio = (mantissa - 1.0) / (mantissa + 1.0)
    return np.asarray(exponent * LOG_2 + 2.0 * ratio * _polynomial(LOG_TERMS[::-1], ratio * ratio))


def quantile(probabilities: Float) -> Float:
    """The number that a standard normal one stays below with a probability in (0, 1), to about 16 digits (AS 241).

    Args:
        probabilities: Any shape, float64; ``1 - p`` must be exact, as it is for multiples of 2^-53.

    Returns:
        The same shape.

    Example:
        >>> quantile(np.array([0.5])).item()
        0.0
    """
    centred = probabilities - 0.5
    central = _ratio(CENTRE, 0.180625 - centred * centred) * centred
    tail = np.sqrt(-log(np.minimum(probabilities, 1.0 - probabilities)))
    outer = np.where(tail <= 5.0, _ratio(NEAR, tail - 1.6), _ratio(FAR, tail - 5.0))
    return np.where(np.abs(centred) <= 0.425, central, np.where(centred < 0.0, -outer, outer))


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], values: Float) -> Float:
    return _polynomial(coefficients[0], values) / _polynomial(coefficients[1], values)


def _polynomial(coefficients: tuple[float, ...], values: Float) -> Float:
    """Horner's rule, highest power first; each product is rounded before its sum, as no fused operation is used."""
    total = np.full_like(values, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * values
        total = total + coefficient
    return total
