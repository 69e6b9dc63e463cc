"""docs/support.md: what each backend declares, and how close each part comes to its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _generate.sections import FAMILIES
from dualml import registry
from dualml.protocol import Capabilities
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.base import Keyed
from dualml.spec.initializers import INITIALIZERS
from dualml.spec.layers import LAYERS, Activation, Block
from dualml.spec.losses import LOSSES
from dualml.spec.metrics import METRICS
from dualml.spec.mixed import MIXED
from dualml.spec.optimizers import CLIPPINGS, OPTIMIZERS
from dualml.spec.regularizers import REGULARIZERS
from dualml.spec.schedules import SCHEDULES
from dualml.testing import catalogue

FIGURES = Path(__file__).parents[1] / "support_figures.json"
NAMES = ("torch", "tensorflow")
WITHOUT_FIGURES: Mapping[str, str] = {
    f"layer/{Activation.kind}": "see [Activations](#activations): a row for each function",
    f"layer/{Block.kind}": "replaced by the layers it stands for before a spec is validated",
}
"""Parts without figures of their own, and why."""
PRECISIONS = ("float64", "float32")

INTRODUCTION = """\
How close each part of the catalogue comes to what a correct implementation may differ by. Measured by
`{command}` on a CPU
({versions});
`python docs/generate.py` writes this page from what the backends declare and from `support_figures.json`. Tests fail if
a part is missing here, if a figure exceeds its limit, or if the page is older than the figures. The conformance suite
judges the same on every run, and that what is not declared is refused.

- **rows**: rows of the conformance suite that are about the part.
- **forward**, **backward**: largest `rho`, float64 / float32, over every row in which the part occurs: the error of a
  value (or of a gradient) in units of the float64 reference's bound on rounding, given what the backend itself computed
  just before. The limit is 1. See [`parity.md`](parity.md).
- **differences**: largest distance, in float64, between the gradients of the whole model and sixth-order central
  differences of the reference's loss, relative to the largest gradient. The limit is what the differences may be off by
  themselves, of which it is {differences_rho:.2g} at most, and 1e-7: beyond that they judge nothing.
- **{updates} updates**: how far apart the weights of the two backends are after {updates} training steps in float64,
  relative to the largest weight (but at least 1). The limit is {limit:g}; rows that need another one are below.
- **compiled**: the same distance between compiled and eager training in TensorFlow. PyTorch trains eagerly.

`differences`, `{updates} updates` and `compiled` belong to what a row is about: the dense layers around a convolution
have none of its figures. A layer made of other layers has the largest figures of all of them. `–`: not applicable.
"""


def lines() -> Iterator[str]:
    """The page."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    parts = figures["parts"]
    able = {name: registry.load(name).capabilities for name in NAMES}
    rhos = [
        cell["differences"]["rho"]
        for part in parts.values()
        for cell in part["backends"].values()
        if "differences" in cell
    ]
    yield "# What each backend supports, and how exactly\n"
    yield "<!-- Written by docs/generate.py from docs/support_figures.json; measure again instead of editing. -->\n"
    yield INTRODUCTION.format(
        command=figures["command"],
        versions=", ".join(f"{name} {version}" for name, version in figures["versions"].items()),
        updates=catalogue.UPDATES,
        limit=catalogue.LIMIT,
        differences_rho=max(rhos),
    )
    yield from _declared(able)
    for family in FAMILIES:
        yield f"## {family.title}\n"
        yield from _networks("layer", family.layers, parts, able)
    yield "## Activations\n"
    yield from _networks("activation", ACTIVATIONS, parts, able)
    yield "## Losses and regularizers\n"
    yield from _networks("loss", LOSSES, parts, able)
    yield from _networks("regularizer", REGULARIZERS, parts, able)
    yield "## Optimizers and clipping\n"
    yield "`update` is the largest `rho` of parameters and slots, float64 / float32, each update judged by itself.\n"
    yield from _updates("optimizer", OPTIMIZERS, parts, able)
    yield from _updates("clipping", CLIPPINGS, parts, able)
    yield "## Computed once, in the core\n"
    yield "The same numbers reach both backends, so there is nothing to compare; tests hold them against the"
    yield "frameworks' own.\n"
    for label, kinds in (("initializers", INITIALIZERS), ("schedules", SCHEDULES), ("metrics", METRICS)):
        yield f"- {label}: {', '.join(f'`{item.kind}`' for item in kinds)}"
    yield ""
    yield from _ill_conditioned(figures["ill_conditioned"])


def _declared(able: Mapping[str, Capabilities]) -> Iterator[str]:
    yield "| | " + " | ".join(able) + " |"
    yield "|---|" + "---|" * len(able)
    cells: dict[str, list[bool]] = {
        "native dropout masks": [item.native_randomness for item in able.values()],
        "compiled steps": [item.compiled for item in able.values()],
    }
    for precision in (*PRECISIONS, MIXED):
        cells[precision] = [precision in item.precisions for item in able.values()]
    for label, flags in cells.items():
        yield f"| {label} | " + " | ".join("yes" if flag else "no" for flag in flags) + " |"
    yield ""


_ATTRIBUTES = {"layer": "operations", "activation": "activations", "loss": "losses", "optimizer": "optimizers"}


def declares(able: Capabilities, group: str, kind: str) -> bool:
    """Whether a backend says that it can do something; layers made of others are anyone's, as is what the core does."""
    if group == "layer" and kind not in {item.kind for item in LAYERS}:
        return True
    return group not in _ATTRIBUTES or kind in getattr(able, _ATTRIBUTES[group])


def _networks(
    group: str, kinds: tuple[type[Keyed], ...], parts: Mapping[str, Any], able: Mapping[str, Capabilities]
) -> Iterator[str]:
    """A row for each part that a network is made of."""
    columns = [group, "rows"]
    for name in able:
        columns += [f"{name}: forward", "backward", "differences"]
    yield from _head([*columns, f"{catalogue.UPDATES} updates", "compiled"])
    for item in kinds:
        key = f"{group}/{item.kind}"
        if key in WITHOUT_FIGURES:
            yield _row([f"`{item.kind}`: {WITHOUT_FIGURES[key]}", *[""] * (len(columns) + 1)])
            continue
        part = parts.get(key)
        cells = [f"`{item.kind}`", str(len(part["rows"])) if part else "–"]
        for name, backend in able.items():
            if not declares(backend, group, item.kind):
                cells += ["no", "", ""]
                continue
            own = part["backends"][name] if part else {}
            cells += [_pair(own.get("forward")), _pair(own.get("backward"))]
            cells.append(_small(own.get("differences", {}).get("relative")))
        yield _row([*cells, *_trained(part)])
    yield ""


def _updates(
    group: str, kinds: tuple[type[Keyed], ...], parts: Mapping[str, Any], able: Mapping[str, Capabilities]
) -> Iterator[str]:
    """A row for each way to update."""
    head = [group, "rows", *(f"{name}: update" for name in able), f"{catalogue.UPDATES} updates", "compiled"]
    yield from _head(head)
    for item in kinds:
        part = parts.get(f"{group}/{item.kind}")
        cells = [f"`{item.kind}`", str(len(part["rows"])) if part else "–"]
        for name, backend in able.items():
            known = declares(backend, group, item.kind)
            cells.append(_pair(part["backends"][name].get("forward") if part else None) if known else "no")
        yield _row([*cells, *_trained(part)])
    yield ""


def _trained(part: Any) -> tuple[str, str]:
    if part is None:
        return "–", "–"
    return _small(part.get("training")), _small(part["backends"]["tensorflow"].get("compiled"))


def _head(columns: list[str]) -> Iterator[str]:
    yield _row(columns)
    yield "|---|" + "---:|" * (len(columns) - 1)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pair(found: Mapping[str, float] | None) -> str:
    return " / ".join(f"{found[precision]:.3f}" for precision in PRECISIONS) if found else "–"


def _small(found: float | None) -> str:
    return "–" if found is None else "0" if found == 0 else f"{found:.0e}"


def _ill_conditioned(figures: Mapping[str, float]) -> Iterator[str]:
    yield f"## Rows that are held to less after {catalogue.UPDATES} updates\n"
    if not catalogue.ILL_CONDITIONED:
        yield "None."
        return
    yield "Each update of theirs is judged like any other, and passes. Over many, the exact training itself takes close"
    yield "weights apart:\n"
    yield from _head(["row", "measured", "limit", "reason"])
    for row, (limit, reason) in catalogue.ILL_CONDITIONED.items():
        yield _row([f"`{row}`", _small(figures.get(row)), f"{limit:.0e}", reason])
