"""What the ledger decides where no bound on rounding is certified."""

import numpy as np
import pytest

from dualml.parity.diff.ledger import Ledger
from dualml.parity.records import Key

KEY = Key("update", "dense", "kernel")


def decided(gaps):
    """The check in float64 of an array without a bound, whose left side is well inside its own."""
    ledger = Ledger()
    for precision, gap in gaps.items():
        meant = np.ones(16)
        ledger.measure(1, KEY, precision, meant + gap, meant)
        ledger.judged(1, KEY, precision, gap, 0.02, None, pending=True)
    ledger.finish()
    return next(check for check in ledger.checks if check.precision == "float64")


def test_a_difference_without_a_bound_says_how_many_roundings_it_is():
    check = decided({"float64": 1e-6, "float32": 1e-6})
    assert check.ok is False
    assert check.units == pytest.approx(4e-6 / 2**-53)
    assert check.left == 0.02


def test_rounding_without_a_bound_keeps_the_left_side_s_rho():
    check = decided({"float64": 1e-16, "float32": 5e-8})
    assert check.ok
    assert check.units == 0.02
