"""``assert_parity``: what it lets pass, and what its message says."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import dualml.parity.diff.api
from dualml.errors import ParityError
from dualml.parity.card import card
from dualml.testing import assert_parity

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))
from sample_reports import different

EQUAL = replace(different(), verdict="equal", cause=None, first_divergence=None)
UNDECIDED = replace(EQUAL, verdict="undecided", kind=None, reasons=("values overflow",))


@pytest.fixture
def found(monkeypatch):
    """Makes ``diff`` find a report, and keeps what it was asked."""
    asked = []

    def give(report):
        def diff(*arguments, **settings):
            asked.append((arguments, settings))
            return report

        monkeypatch.setattr(dualml.parity.diff.api, "diff", diff)
        return asked

    return give


def test_equal_passes_and_gives_the_report(found):
    asked = found(EQUAL)
    assert assert_parity("left", "right", "batch", "targets", steps=5, weights="copy") is EQUAL
    assert asked == [(("left", "right", "batch", "targets"), {"steps": 5, "weights": "copy"})]


def test_the_message_is_the_card(found):
    found(different())
    with pytest.raises(AssertionError) as caught:
        assert_parity("left", "right")
    assert str(caught.value) == f"the models must be equal up to rounding\n{card(different())}"
    assert "norm.epsilon" in str(caught.value)


def test_the_page_is_written_where_they_differ_only(found, tmp_path):
    found(EQUAL)
    assert_parity("left", "right", html=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    found(different())
    with pytest.raises(AssertionError, match=re.escape(str(tmp_path / "page.html"))):
        assert_parity("left", "right", html=tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_undecided_fails_unless_it_is_allowed(found):
    found(UNDECIDED)
    with pytest.raises(AssertionError, match="values overflow"):
        assert_parity("left", "right")
    assert assert_parity("left", "right", allow_undecided=True) is UNDECIDED


def test_allowing_undecided_does_not_allow_different(found):
    found(different())
    with pytest.raises(AssertionError, match="DIFFERENT"):
        assert_parity("left", "right", allow_undecided=True)


def test_what_is_no_model_is_said():
    with pytest.raises(ParityError, match="left model"):
        assert_parity(1, 2)


def test_real_models():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    other = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ELU(), torch.nn.Linear(4, 3))
    other.load_state_dict(model.state_dict())
    batch = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).numpy()
    assert assert_parity(model, model, batch).verdict == "equal"
    with pytest.raises(AssertionError, match="DIFFERENT"):
        assert_parity(model, other, batch)
