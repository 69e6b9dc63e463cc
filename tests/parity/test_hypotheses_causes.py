"""Every cause id is found, and named, from data made with the reference."""

from __future__ import annotations

import pytest
from hypothesis_cases import CASES

from dualml.parity.hypotheses import MEANINGS, UNKNOWN, conclude


@pytest.mark.parametrize(("cause", "explain"), [pytest.param(c, f, id=f"{c}: {name}") for c, name, f in CASES])
def test_the_cause_is_confirmed(cause, explain):
    tried = explain()
    found, _ = conclude(tried)
    passing = [(item.cause, item.said) for item in tried if item.passes]
    assert (found.id, found.confirmed) == (cause, True), passing or found.evidence


def test_every_cause_has_a_case():
    assert {cause for cause, _, _ in CASES} == set(MEANINGS) - {UNKNOWN}
