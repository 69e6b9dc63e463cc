"""The card of a comparison of two native models: further findings."""

from dataclasses import replace

import pytest
import sample_reports

from dualml.parity.hypotheses import UNKNOWN
from dualml.parity.native_card import agreeing, also, grouped, kind


def named(finding, left, cause=None):
    changed = finding.cause if cause is None else replace(finding.cause, id=cause)
    return replace(finding, node=left, names=(left, f"{left}_keras"), cause=changed)


@pytest.mark.parametrize(("rho", "said"), [(0.9996, "0.99"), (0.27, "0.27"), (0.0583, "0.058"), (1.0, "1"), (0.0, "0")])
def test_what_agrees_never_reads_as_the_limit(rho, said):
    assert agreeing(rho) == said


def test_findings_alike_share_a_line():
    first = sample_reports.findings()[0]
    same = [named(first, f"features.{number}") for number in range(3)]
    other = named(first, "classifier", "activation.kind")
    groups = grouped([same[0], other, *same[1:]])
    assert groups == [same, [other]]
    line = also(groups[0])
    assert line.count("fix:") == 1
    assert "features.0 <-> features.0_keras" in line
    assert "as well features.1, features.2" in line


def test_another_fix_or_phase_is_another_line():
    first = sample_reports.findings()[0]
    fixed = replace(first, cause=replace(first.cause, fix={"left": "something else"}))
    assert len(grouped([first, fixed, replace(first, phase="buffers")])) == 3


def test_unknown_causes_stay_apart():
    first = sample_reports.findings()[0]
    assert len(grouped([named(first, "a", UNKNOWN), named(first, "b", UNKNOWN)])) == 2


def test_a_gap_smaller_than_in_float32_is_not_called_the_same():
    first = sample_reports.findings()[0]
    assert "the same gap" in kind(replace(first, bits=0.2))
    assert "a gap beyond its rounding" in kind(replace(first, bits=9.0))
