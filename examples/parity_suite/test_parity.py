"""A parity suite to copy into your own project: put your config beside it, or change CONFIG.

Run: pytest examples/parity_suite
"""

from pathlib import Path

import pytest

import dualml

CONFIG = Path(__file__).parent / "model.yaml"
STEPS = 10


@pytest.fixture(scope="module")
def report():
    return dualml.compare(dualml.load(CONFIG), steps=STEPS)


def test_both_backends_are_the_same_model(report):
    from dualml.parity.card import card

    assert report.verdict == "equal", "\n" + card(report)


def test_differences_are_rounding(report):
    bits = report.precision_scaling["bits"]
    assert bits is None or bits > 20, f"float64 should shrink every difference by about 29 bits, got {bits:.1f}"


def test_predictions_agree_on_held_back_data(report):
    held_back = report.held_back[report.environment["precision"]]
    assert held_back["same_class"] == held_back["examples"]


def test_nothing_was_left_out_silently(report):
    judged = report.coverage["steps"]
    assert judged["float64"]["judged"]
    assert judged["float32"]["judged"]
    assert all(item["why"] for item in report.coverage["skipped"])


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_the_model_learns(backend):
    run = dualml.train(dualml.load(CONFIG), backend)
    assert run.test["accuracy"] > 0.85
