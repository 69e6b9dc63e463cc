"""``dualml describe``, ``dualml backends`` and ``dualml schema``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dualml import registry
from dualml.cli.output import write_json
from dualml.config import load
from dualml.errors import DualmlError
from dualml.spec.graph import Graph, parameter_count
from dualml.spec.schema import config_schema
from dualml.training.run_directory import to_yaml


def run_describe(config: Path, overrides: Sequence[str], json_file: str | None, *, quiet: bool) -> None:
    """Print what a config means: every layer with shapes, every default written out."""
    spec = load(config, overrides).resolved
    graph = spec.graph
    if json_file is not None:
        write_json(json_file, {"config": spec.to_dict(), "nodes": _nodes(graph), "parameters": parameter_count(graph)})
    if quiet or json_file == "-":
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{config}: {parameter_count(graph):,} parameters", title_justify="left")
    for heading in ("node", "operation", "inputs", "output shape", "parameters"):
        table.add_column(heading, justify="right" if heading == "parameters" else "left")
    for row in _nodes(graph):
        shape = " x ".join(map(str, row["shape"]))
        table.add_row(row["name"], row["operation"], ", ".join(row["inputs"]), shape, f"{row['parameters']:,}")
    Console(highlight=False).print(table)
    print(f"# resolved: every default of the {spec.conventions} conventions is written out")
    sys.stdout.write(to_yaml(spec))


def _nodes(graph: Graph) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "operation": node.settings.function.kind if node.operation == "activation" else node.operation,
            "inputs": list(node.inputs),
            "shape": list(node.shape),
            "parameters": sum(math.prod(parameter.shape) for parameter in node.parameters if node.owner == node.name),
        }
        for node in graph.nodes
    ]


def run_backends(json_file: str | None, *, quiet: bool) -> None:
    """Print each known backend: its versions and abilities, or why it cannot be used."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(registry.names(), key=registry.load_order):
        try:
            backend = registry.load(name)
        except Exception as error:  # a third party's package may fail in any way; the others are still shown
            reason = str(error) if isinstance(error, DualmlError) else f"{type(error).__name__}: {error}"
            found[name] = {"usable": False, "reason": reason}
            continue
        able = {
            key: sorted(item) if isinstance(item, frozenset) else item
            for key, item in asdict(backend.capabilities).items()
        }
        found[name] = {"usable": True, "versions": backend.versions(), **able}
    write_json(json_file, found)
    if quiet or json_file == "-":
        return
    for name, facts in found.items():
        if not facts["usable"]:
            print(f"{name}: not usable: {facts['reason']}")
            continue
        print(f"{name}: " + ", ".join(f"{package} {version}" for package, version in facts["versions"].items()))
        for key, value in facts.items():
            if key not in ("usable", "versions"):
                shown = ", ".join(value) if isinstance(value, list) else "yes" if value else "no"
                print(f"  {key.replace('_', ' ')}: {shown}")


def run_schema(*, report: bool) -> None:
    """Print the JSON Schema of config files, or of reports."""
    from dualml.parity.schema import report_schema  # nothing else here needs what a report consists of

    sys.stdout.write(json.dumps(report_schema() if report else config_schema(), indent=2) + "\n")
