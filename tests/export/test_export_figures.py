"""docs/export.md: every part of the catalogue has a figure in every format, or the reason why it has none."""

import json
from pathlib import Path

import pytest

from dualml.export.formats import FORMATS
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.layers import LAYERS, STRUCTURE
from dualml.testing import figures
from dualml.testing.cases import NETWORK_CASES

FIGURES = json.loads((Path(__file__).parents[2] / "docs" / "export_figures.json").read_text(encoding="utf-8"))["parts"]
PARTS = [
    f"{group}/{kind.kind}"
    for group, kinds in {"layer": (*LAYERS, *STRUCTURE), "activation": ACTIVATIONS}.items()
    for kind in kinds
    if kind.kind not in ("block", "activation")  # replaced before validation; a row for each function
]
LIMIT = 2e-6


def test_every_part_was_measured_in_every_format_on_every_row():
    rows = {}
    for case in NETWORK_CASES:
        for part in figures.subjects(case):
            rows[f"{part.group}/{part.kind}"] = rows.get(f"{part.group}/{part.kind}", 0) + 1
    assert set(FIGURES) == set(rows) == set(PARTS)
    for part, cells in FIGURES.items():
        assert {name: cell["rows"] for name, cell in cells.items()} == dict.fromkeys(FORMATS, rows[part]), part


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_not_refused_is_right(name):
    names = {case.name for case in NETWORK_CASES}
    for part, cells in FIGURES.items():
        cell = cells[name]
        assert set(cell["refused"]) <= names
        assert all(cell["refused"].values())
        assert ("largest" in cell) == (len(cell["refused"]) < cell["rows"])
        assert cell.get("largest", 0.0) <= LIMIT, part


def test_onnx_expresses_the_whole_catalogue():
    assert not [part for part, cells in FIGURES.items() if cells["onnx"]["refused"]]
