"""Measures which parts of the catalogue each export format can express, and how exactly: docs/export_figures.json.

Run: python docs/measure_export.py                  (measures every row in every format; goes on where it stopped)
     python docs/measure_export.py --format onnx    (measures this format again)
     python docs/generate.py                        (afterwards: the page)
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from measure_support import shortened, worst, written

from dualml.errors import UnsupportedError
from dualml.export.check import runner
from dualml.export.compare import Run, reference_predictions
from dualml.export.formats import FORMATS
from dualml.export.onnx import emit
from dualml.protocol import Arrays
from dualml.spec.graph import Graph
from dualml.testing import figures
from dualml.testing.cases import NETWORK_CASES, Case

DOCS = Path(__file__).parent
FIGURES = DOCS / "export_figures.json"
PARTIAL = DOCS.parent / "build" / "export_figures.jsonl"
"""What has been measured so far, one row on a line."""
COMMAND = "python docs/measure_export.py"
PACKAGES = ("onnx", "onnxruntime", "torch", "tensorflow", "keras", "numpy")
EXAMPLES = 5
LIMIT = 2e-6
"""What ``dualml export`` refuses to keep: a row that is further off counts as one that the format cannot express."""
WRONG = "What is written predicts something else (off by {off:.1g}), which the comparison finds: it is not kept."

Measured = dict[str, Any]


def runs(name: str, graph: Graph, weights: Arrays, folder: Path) -> Run:
    """A model written in a format, to be run."""
    kind = FORMATS[name]
    if kind.backend is None:
        return runner(emit(graph, weights), graph.output_names)
    write = import_module(f"dualml_{kind.backend}.export").FORMATS[name]
    run: Run = write(graph, weights, folder / f"model{kind.ending}")
    return run


def measure(case: Case, name: str) -> Measured:
    """How far a row is from the float64 reference in a format, relative to the largest value; or why it is refused."""
    graph, weights = case.graph("float32"), case.weights("float32")
    inputs = graph.named_inputs(case.inputs("float32", examples=EXAMPLES))
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = runs(name, graph, weights, Path(folder))(inputs)
        except UnsupportedError as error:
            return {"refused": str(error)}
    exact = reference_predictions(graph, weights, inputs)
    apart = [
        float(np.max(np.abs(found[label] - exact[label]))) / max(1.0, float(np.max(np.abs(exact[label]))))
        for label in graph.output_names
    ]
    return {"largest": max(apart)}


def summed_up(measured: dict[tuple[str, str], Measured]) -> Measured:
    """For each part and format: how many rows there are, how many it can express, the largest figure, the reasons."""
    parts: Measured = {}
    for case in NETWORK_CASES:
        for part in map(written, figures.subjects(case)):
            for name in FORMATS:
                found = measured[case.name, name]
                if found.get("largest", 0.0) > LIMIT:
                    found = {"refused": WRONG.format(off=found["largest"])}
                cell = parts.setdefault(part, {}).setdefault(name, {"rows": 0, "refused": {}})
                cell["rows"] += 1
                if "refused" in found:
                    cell["refused"][case.name] = found["refused"]
                else:
                    cell["largest"] = worst(cell.get("largest"), found["largest"])
    return dict(sorted(parts.items()))


def main() -> int:
    """Measure what is missing, then write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=FORMATS, help="measure this format again")
    again = parser.parse_args().format
    measured: dict[tuple[str, str], Measured] = {}
    if PARTIAL.exists():
        for line in map(json.loads, PARTIAL.read_text(encoding="utf-8").splitlines()):
            if line["format"] != again:
                measured[line["row"], line["format"]] = line["figures"]
    PARTIAL.parent.mkdir(exist_ok=True)
    with PARTIAL.open("w", encoding="utf-8") as partial:

        def keep(row: str, name: str) -> None:
            partial.write(json.dumps({"row": row, "format": name, "figures": measured[row, name]}) + "\n")
            partial.flush()

        for row, name in measured:
            keep(row, name)
        for name in FORMATS:
            for case in NETWORK_CASES:
                if (case.name, name) in measured:
                    continue
                start = time.perf_counter()
                measured[case.name, name] = measure(case, name)
                keep(case.name, name)
                print(f"{name} {case.name}: {time.perf_counter() - start:.1f} s", flush=True)
    document = {
        "command": COMMAND,
        "versions": {name: version(name.replace("tensorflow", "tensorflow-cpu")) for name in PACKAGES},
        "parts": summed_up(measured),
    }
    FIGURES.write_text(json.dumps(shortened(document), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FIGURES.name}: {len(measured)} figures")
    return 0


if __name__ == "__main__":
    sys.exit(main())
