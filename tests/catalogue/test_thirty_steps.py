"""Every row of the catalogue is trained for 30 updates in both backends, in float64, to the same weights."""

import importlib.util

import numpy as np
import pytest

from dualml import registry
from dualml.testing.cases import PLAIN
from dualml.testing.catalogue import ILL_CONDITIONED, LIMIT, TRAINED_CASES, TRAINING_UPDATES, trained_difference

for package in ("torch", "tensorflow"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)


@pytest.fixture(scope="module")
def backends():
    return [registry.load(name) for name in sorted(("torch", "tensorflow"), key=registry.load_order)]


@pytest.mark.parametrize("case", TRAINED_CASES, ids=lambda case: case.name)
def test_thirty_updates_agree(backends, case):
    difference = trained_difference(*backends, case)
    assert np.isfinite(difference)
    assert difference <= ILL_CONDITIONED.get(case.name, (LIMIT, ""))[0]


@pytest.mark.parametrize("row", TRAINING_UPDATES, ids=lambda row: row.name)
def test_thirty_updates_of_each_optimizer_agree(backends, row):
    difference = trained_difference(*backends, PLAIN, row)
    assert np.isfinite(difference)
    assert difference <= ILL_CONDITIONED.get(row.name, (LIMIT, ""))[0]


def test_exceptions_are_rows_of_the_catalogue():
    assert set(ILL_CONDITIONED) <= {row.name for row in (*TRAINED_CASES, *TRAINING_UPDATES)}
    assert all(reason and limit > LIMIT for limit, reason in ILL_CONDITIONED.values())
