"""A third party's backend enters by its entry point: the package in tests/plugin, as pip would have put it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).parents[1] / "plugin"

PROGRAM = """
import json, sys
from dualml import Adam, CrossEntropy, Dense, Model, Spec, registry
from dualml.protocol import Backend

names = registry.names()
before = sorted({"dualml_numpy_example", "torch", "tensorflow"} & set(sys.modules))
backend = registry.load("numpy_example")
spec = Spec(backend="numpy_example", model=Model(input=(4,), layers=[Dense(3, activation="relu"), Dense(2)]),
            loss=CrossEntropy(), optimizer=Adam(0.01))
registry.check(backend, spec)
try:
    registry.check(backend, spec.replace(model=Model(input=(4,), layers=[Dense(2, activation="gelu")])))
except Exception as error:
    refusal = f"{type(error).__name__}: {error}"
print(json.dumps({
    "names": names,
    "imported before": before,
    "imported after": sorted({"torch", "tensorflow"} & set(sys.modules)),
    "name": backend.name,
    "is a backend": isinstance(backend, Backend),
    "refusal": refusal,
}))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh process sees when the plugin's metadata lie on its path."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    folder = tmp_path_factory.mktemp("site-packages")
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    path = os.pathsep.join([str(folder), str(PLUGIN)])
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_it_is_listed_without_being_imported(seen: dict[str, Any]) -> None:
    assert "numpy_example" in seen["names"]
    assert seen["imported before"] == []


def test_it_loads_as_a_backend(seen: dict[str, Any]) -> None:
    assert seen["name"] == "numpy_example"
    assert seen["is a backend"]


def test_it_needs_no_framework(seen: dict[str, Any]) -> None:
    assert seen["imported after"] == []


def test_what_it_does_not_declare_is_refused(seen: dict[str, Any]) -> None:
    assert seen["refusal"].startswith("UnsupportedError: ")
    assert "'gelu'" in seen["refusal"]


def test_it_is_not_installed_here() -> None:
    # Otherwise the tests above would pass without the entry point they stand for.
    from dualml import registry

    assert "numpy_example" not in registry.names()
