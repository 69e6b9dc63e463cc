"""docs/support.md: every part has figures, and every figure is within its limit."""

import json
from pathlib import Path

import pytest

from dualml.spec.activations import ACTIVATIONS
from dualml.spec.layers import LAYERS, STRUCTURE
from dualml.spec.losses import LOSSES
from dualml.spec.optimizers import CLIPPINGS, OPTIMIZERS
from dualml.spec.regularizers import REGULARIZERS
from dualml.testing.cases import LOSS_CASES, NETWORK_CASES
from dualml.testing.catalogue import ILL_CONDITIONED, LIMIT, TRAINED_CASES, TRAINING_UPDATES

FIGURES = json.loads((Path(__file__).parents[2] / "docs" / "support_figures.json").read_text(encoding="utf-8"))
PARTS = [
    f"{group}/{kind.kind}"
    for group, kinds in {
        "layer": (*LAYERS, *STRUCTURE),
        "activation": ACTIVATIONS,
        "loss": LOSSES,
        "regularizer": REGULARIZERS,
        "optimizer": OPTIMIZERS,
        "clipping": CLIPPINGS,
    }.items()
    for kind in kinds
    if kind.kind not in ("block", "activation")  # replaced before validation; a row for each function
]
UPDATED = ("optimizer", "clipping")
SHARP = 1e-7
"""Central differences that are off by more have a kink within reach of their steps, and judge nothing."""


def numbers(found):
    """Every figure below a part, with its path."""
    if isinstance(found, dict):
        for key, item in found.items():
            yield from ((f"{key}.{path}" if path else key, value) for path, value in numbers(item))
    elif isinstance(found, float):
        yield "", found


@pytest.mark.parametrize("key", PARTS)
def test_a_part_has_every_figure(key):
    part = FIGURES["parts"][key]
    directions = ("forward",) if key.partition("/")[0] in UPDATED else ("forward", "backward")
    assert part["rows"]
    for cell in part["backends"].values():
        for direction in directions:
            assert set(cell[direction]) == {"float64", "float32"}
        if key.partition("/")[0] not in UPDATED:
            assert set(cell["differences"]) == {"relative", "rho"}
    trained = {case.name for case in (*TRAINED_CASES, *TRAINING_UPDATES)} - set(ILL_CONDITIONED)
    assert ("training" in part) == bool(trained & set(part["rows"]))
    assert ("compiled" in part["backends"]["tensorflow"]) == bool(trained & set(part["rows"]))


@pytest.mark.parametrize("key", PARTS)
def test_every_figure_of_a_part_is_within_its_limit(key):
    found = dict(numbers(FIGURES["parts"][key]))
    assert found
    for path, value in found.items():
        limit = 1.0
        if path == "training" or path.endswith("compiled"):
            limit = LIMIT
        elif path.endswith("relative"):
            limit = SHARP
        assert value <= limit, f"{path} is {value}"  # also for NaN, which is not smaller


def test_every_row_of_the_catalogue_is_measured():
    measured = {row for part in FIGURES["parts"].values() for row in part["rows"]}
    rows = {row.name for row in (*NETWORK_CASES, *LOSS_CASES, *TRAINING_UPDATES)}
    assert rows == measured, f"missing {sorted(rows - measured)}, gone {sorted(measured - rows)}"


def test_rows_that_are_held_to_less_are_within_their_own_limit():
    assert set(FIGURES["ill_conditioned"]) == set(ILL_CONDITIONED)
    for row, found in FIGURES["ill_conditioned"].items():
        limit, reason = ILL_CONDITIONED[row]
        assert found <= limit, row
        assert reason
