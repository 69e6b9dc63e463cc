"""What several groups of tests share."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

# Both frameworks use every core by default; with several test processes on a machine that costs more than it gives.
for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(variable, "1")


def pytest_collection_modifyitems(items):
    """Run the checks of one case of the conformance kit one after the other, in one process.

    What they have in common (networks, central differences) is then made once: in a list of thousands of checks that is
    most of the time.
    """
    for item in items:
        case = getattr(getattr(item, "callspec", None), "params", {}).get("case")
        if case is not None and item.path.parent.name in ("conformance", "catalogue"):
            item.add_marker(pytest.mark.xdist_group(case.name))
            item.user_properties.append(("case", case.name))
    places = {}
    for item in items:
        name = dict(item.user_properties).get("case")
        places.setdefault((str(item.path), name), len(places))
    items.sort(key=lambda item: places[str(item.path), dict(item.user_properties).get("case")])


@pytest.fixture(autouse=True)
def precisions_of_the_frameworks():
    """Puts each framework's global precision back to what it is at the start.

    A test may set it, and so does reading Keras' dtype policy: the first reader fixes what ``floatx`` then cannot move.
    """
    yield
    if torch := sys.modules.get("torch"):
        torch.set_default_dtype(torch.float32)
    if keras := sys.modules.get("keras"):
        keras.config.set_floatx("float32")
        sys.modules["keras.src.backend.common.global_state"].set_global_attribute("dtype_policy", None)


SMALL = """\
backend: torch
seed: 3
precision: {precision}
model:
  input: [64]
  layers:
    - dense: {{units: 24, activation: relu, name: hidden}}
    - dropout: {{rate: 0.25}}
    - dense: {{units: 10, name: logits}}
data: {{source: digits, limit: 500}}
loss: cross_entropy
optimizer: {{adam: {{lr: 0.01}}}}
train: {{epochs: 4, batch_size: 32}}
"""


@pytest.fixture
def small_config(tmp_path):
    """Writes a config that trains in a moment, and returns its path."""

    def write(precision="float32", **replacements):
        text = SMALL.format(precision=precision)
        for old, new in replacements.items():
            text += f"{old}: {new}\n"
        path = tmp_path / "small.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def dualml_command(capsys, monkeypatch) -> Callable[..., Outcome]:
    """Runs a command line in this process, as the console script does."""
    from dualml.cli.main import main

    def run(*arguments) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["dualml", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
