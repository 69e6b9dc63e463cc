"""Measures how close every row of the catalogue comes to its limit, on both backends: docs/support_figures.json.

Run: python docs/measure_support.py                (goes on where an interrupted run stopped)
     python docs/measure_support.py --only rms     (measures rows again whose name holds ``rms``)
     python docs/measure_support.py --fresh        (measures everything again)
     python docs/generate.py                       (afterwards: the page)

``dualml/testing/figures.py`` says what the numbers are.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dualml import registry
from dualml.errors import UnsupportedError
from dualml.protocol import Backend
from dualml.spec.graph import Precision
from dualml.testing import catalogue, figures
from dualml.testing.cases import LOSS_CASES, NETWORK_CASES, PLAIN, Case, Update
from dualml.testing.figures import Part

DOCS = Path(__file__).parent
FIGURES = DOCS / "support_figures.json"
PARTIAL = DOCS.parent / "build" / "support_figures.jsonl"
"""What has been measured so far, one row on a line."""
NAMES = ("torch", "tensorflow")
PRECISIONS: tuple[Precision, ...] = ("float64", "float32")
COMMAND = "python docs/measure_support.py"

Measured = dict[str, Any]


def rows() -> Iterator[tuple[str, Callable[[Mapping[str, Backend]], Measured]]]:
    """Every row by its name, and what measures it."""
    for case in (*NETWORK_CASES, *LOSS_CASES):
        yield case.name, lambda backends, case=case: of_case(case, backends)  # type: ignore[misc]
    for update in catalogue.TRAINING_UPDATES:
        yield update.name, lambda backends, update=update: of_update(update, backends)  # type: ignore[misc]


def written(part: Part) -> str:
    """A part as the file names it: ``layer/dense``."""
    return f"{part.group}/{part.kind}"


def of_case(case: Case, backends: Mapping[str, Backend]) -> Measured:
    """The figures of a network or a loss."""
    found: Measured = {
        "parts": sorted(map(written, figures.parts(case))),
        "subjects": sorted(map(written, figures.subjects(case))),
        "backends": {},
    }
    exact = figures.exact_gradients(case)
    for name, backend in able(backends, case.spec()):
        own: Measured = {"forward": {}, "backward": {}}
        for precision in PRECISIONS:
            network = backend.build(case.graph(precision), case.weights(precision))
            rhos = figures.network_rhos(network, case, precision)
            for direction in ("forward", "backward"):
                own[direction][precision] = {written(key): rho for key, rho in getattr(rhos, direction).items()}
            if precision == "float64":
                own["differences"] = figures.distance_to_differences(network, case, exact)._asdict()
        found["backends"][name] = own
    if case.graph().parameters:
        found |= of_training(case, None, backends, found)
    return found


def of_update(row: Update, backends: Mapping[str, Backend]) -> Measured:
    """The figures of an optimizer or of clipping."""
    part = Part("optimizer", row.optimizer.kind) if row.clip is None else Part("clipping", row.clip.kind)
    found: Measured = {"parts": [written(part)], "subjects": [written(part)], "backends": {}}
    for name, backend in able(backends, PLAIN.spec(optimizer=row.optimizer)):
        rhos = {precision: {written(part): figures.update_rho(backend, row, precision)} for precision in PRECISIONS}
        found["backends"][name] = {"forward": rhos}
    return found | of_training(PLAIN, row, backends, found)


def of_training(case: Case, by: Update | None, backends: Mapping[str, Backend], found: Measured) -> Measured:
    """How far apart the backends are after a training, and how far compiled and eager training are in each."""
    compiled = {}
    for name in found["backends"]:
        weights = catalogue.trained(backends[name], case, by).get_weights()
        compiled[name] = weights
        if backends[name].capabilities.compiled:
            eager = catalogue.trained(backends[name], case, by, compiled=False).get_weights()
            found["backends"][name]["compiled"] = catalogue.distance(weights, eager)
    return {"training": catalogue.distance(*compiled.values())} if len(compiled) == len(NAMES) else {}


def able(backends: Mapping[str, Backend], spec: Any) -> Iterator[tuple[str, Backend]]:
    """The backends that declare what a spec needs."""
    for name, backend in backends.items():
        try:
            registry.check(backend, spec)
        except UnsupportedError:
            continue
        yield name, backend


# ------------------------------------------------------------------ from rows to parts


def worst(old: float | None, new: float) -> float:
    """The larger of two figures; NaN, which is larger than no number, counts as the largest."""
    return new if old is None or not new <= old else old


def summed_up(measured: Mapping[str, Measured]) -> Measured:
    """The worst figures of each part."""
    parts: dict[str, Measured] = {}
    apart: dict[str, float] = {}
    for row, found in measured.items():
        for key in found["parts"]:
            part = parts.setdefault(key, {"occurs": 0, "rows": [], "backends": {name: {} for name in NAMES}})
            part["occurs"] += 1
            for name, own in found["backends"].items():
                for direction in ("forward", "backward"):
                    for precision, rhos in own.get(direction, {}).items():
                        if key in rhos:
                            cell = part["backends"][name].setdefault(direction, {})
                            cell[precision] = worst(cell.get(precision), rhos[key])
        ill = row in catalogue.ILL_CONDITIONED
        if ill:
            apart[row] = found["training"]
        for key in found["subjects"]:
            part = parts[key]
            part["rows"].append(row)
            if "training" in found and not ill:
                part["training"] = worst(part.get("training"), found["training"])
            for name, own in found["backends"].items():
                cell = part["backends"][name]
                if "compiled" in own and not ill:
                    cell["compiled"] = worst(cell.get("compiled"), own["compiled"])
                if "differences" in own:
                    old = cell.setdefault("differences", dict.fromkeys(own["differences"]))
                    cell["differences"] = {key: worst(old[key], value) for key, value in own["differences"].items()}
    return {"parts": dict(sorted(parts.items())), "ill_conditioned": dict(sorted(apart.items()))}


def shortened(value: Any) -> Any:
    """Figures to six digits."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shortened(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def packages(backends: Mapping[str, Backend]) -> dict[str, str]:
    """What it was measured with."""
    found = {"python": platform.python_version(), "numpy": version("numpy")}
    for backend in backends.values():
        found |= backend.versions()
    return found


# ------------------------------------------------------------------ the command


def kept(arguments: argparse.Namespace, wanted: set[str]) -> dict[str, Measured]:
    """What earlier runs have measured and need not be measured again."""
    if arguments.fresh or not PARTIAL.exists():
        return {}
    lines = (json.loads(line) for line in PARTIAL.read_text(encoding="utf-8").splitlines())
    return {
        line["row"]: line["figures"]
        for line in lines
        if line["row"] in wanted and not (arguments.only and arguments.only in line["row"])
    }


def main() -> int:
    """Measure what is missing, then write the figures; 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", help="measure rows again whose name holds it, and what is missing")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs have measured")
    arguments = parser.parse_args()
    work = dict(rows())
    measured = kept(arguments, set(work))
    backends = {name: registry.load(name) for name in sorted(NAMES, key=registry.load_order)}
    PARTIAL.parent.mkdir(exist_ok=True)
    failed: dict[str, str] = {}
    with PARTIAL.open("w", encoding="utf-8") as partial:
        for row, found in measured.items():
            partial.write(json.dumps({"row": row, "figures": found}) + "\n")
        for number, (row, measure) in enumerate(work.items(), start=1):
            if row in measured:
                continue
            start = time.perf_counter()
            try:
                measured[row] = measure(backends)
            except Exception as error:  # one row that fails must not lose the others; it is reported at the end
                failed[row] = f"{type(error).__name__}: {error}"
                print(f"{number}/{len(work)} {row}: FAILED {failed[row]}", flush=True)
                continue
            partial.write(json.dumps({"row": row, "figures": measured[row]}) + "\n")
            partial.flush()
            print(f"{number}/{len(work)} {row}: {time.perf_counter() - start:.1f} s", flush=True)
            gc.collect()
    ordered = {row: measured[row] for row in work if row in measured}
    document = {"command": COMMAND, "versions": packages(backends), **summed_up(ordered)}
    FIGURES.write_text(json.dumps(shortened(document), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {FIGURES.name}: {len(ordered)} rows, {len(document['parts'])} parts")
    for row, message in failed.items():
        print(f"not measured: {row}: {message}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
