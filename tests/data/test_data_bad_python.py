"""A data function that is missing, raises or returns something else ends in one DataError."""

from __future__ import annotations

import sys

import pytest
from data_files import load

from dualml.errors import DataError
from dualml.spec.data import PythonData

PYTHON_CASES = {
    "raises": ("def load(): raise KeyError('column')", r"\.py: load\(\) .* raised KeyError: 'column'; correct"),
    "exits": ("import sys\ndef load(): sys.exit(3)", r"raised SystemExit: 3; correct"),
    "OS error": ("def load(): open('/nowhere/at/all')", r"raised FileNotFoundError: .*'/nowhere/at/all'; correct"),
    "asks for arguments": ("def load(n): pass", r"raised TypeError: .*'n'; correct the function or data.arguments"),
    "does not import": ("import nothing_of_that_name", r"importing it raised ModuleNotFoundError.*; correct it"),
    "syntax": ("def load(:", r"importing it raised SyntaxError.*; correct it"),
    "misspelt": ("def loads(): pass", r"'load' is not there. Did you mean 'loads'\? Correct data.function"),
    "not a function": ("load = 3", r"must be a function, but is int; correct data.function"),
    "None": ("def load(): pass", r"returned NoneType; correct its return statement"),
    "three": ("def load(): return 1, 2, 3", r"returned tuple of 3; correct"),
    "ragged": ("def load(): return [[1, 2], [3]], [0, 1]", r"inputs cannot become one \(ValueError.*; return NumPy"),
    "objects": ("def load(): return [{}, {}], [0, 1]", r"inputs have dtype object \(from list\); return NumPy"),
    "no y": ("def load(): return {'x': [1]}", r"'y' is missing; add it"),
    "nothing": ("def load(): return {}", r"has no key; add them"),
    "unknown key": ("def load(): return {'x': [1], 'y': [1], 'x_tset': 3}", r"'x_tset'. Did you mean 'x_test'\?"),
    "names": ("def load(): return {'x': [[1, 2]], 'y': [1], 'class_names': 'ab'}", r"as a list of text.*return a list"),
    "lengths": ("def load(): return [[1, 2]], [1, 2]", r"1 inputs and 2 targets; correct"),
    "scaling": (
        "from dualml.data import *\nimport numpy as np\n"
        "def load(): return Dataset(Split(np.ones((9, 2)), np.ones(9, int)), normalisation=Normalisation([0., 0, 0]))",
        r"one number or one for each value .* \(2,\), but has the shape \(3,\); use numpy.broadcast_to",
    ),
    "bad split": (
        "from dualml.data import *\nimport numpy as np\ndef load(): return Dataset(Split(np.ones((9, 2)), [1]))",
        r"raised DataError: split: .*9 inputs and 1 targets; correct",
    ),
}


@pytest.mark.parametrize("name", PYTHON_CASES)
def test_bad_python(tmp_path, name):
    body, found = PYTHON_CASES[name]
    module = "bad_data_" + "".join(character if character.isalnum() else "_" for character in name)
    (tmp_path / f"{module}.py").write_text(body)
    try:
        with pytest.raises(DataError, match=found) as caught:
            load(PythonData(function=f"{module}:load"), tmp_path)
        assert "Traceback" not in str(caught.value)
        assert str(tmp_path) in str(caught.value) or name == "scaling"
    finally:
        sys.modules.pop(module, None)


def test_python_module_that_is_not_there(tmp_path):
    (tmp_path / "my_loader.py").write_text("")
    with pytest.raises(DataError, match=r"no.* of that name .*Did you mean 'my_loader'\? .*my_loadr.py beside"):
        load(PythonData(function="my_loadr:load"), tmp_path)


def test_python_module_that_another_config_has_imported(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same_name_data.py").write_text("def load(): return [[1., 2.]] * 9, [0] * 9")
    try:
        load(PythonData(function="same_name_data:load"), tmp_path / "one")
        load(PythonData(function="same_name_data:load"), tmp_path / "one")
        with pytest.raises(DataError, match=r"already imported another .*one/same_name_data.py; rename the file"):
            load(PythonData(function="same_name_data:load"), tmp_path / "two")
    finally:
        sys.modules.pop("same_name_data", None)
