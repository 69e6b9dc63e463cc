"""docs/export.md: the formats, and which parts of the catalogue each of them can express."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from _generate.sections import FAMILIES
from dualml.export.formats import FORMATS
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.base import Keyed
from dualml.spec.layers import Activation, Block

FIGURES = Path(__file__).parents[1] / "export_figures.json"
ELSEWHERE = (f"layer/{Activation.kind}", f"layer/{Block.kind}")
"""Parts without rows of their own: an activation has one for each function, a block is replaced before."""

INTRODUCTION = """\
`dualml export RUN --format F` writes a trained model for use elsewhere, from the weights of *either* backend: what is
written follows from the spec. Every export is run and compared before it is kept: with the float64 reference, and with
every installed backend on 512 rows (`--against torch` names some, `--against none` none). It is removed, with exit code
2, if a probability differs by more than 2e-6 (other values by 1e-5 of the largest) or a class changes that leads by
more than 1e-4. A model with steep logits makes more of float32's roundings: there float64 decides, and the limit is a
few times what roundings of its inputs and weights alone would change.

| format | needs | what it is |
|---|---|---|
{formats}

- **All formats** take the model's inputs by name, prepared (scaled, encoded) as in training, channels last, any number
  of examples; whole numbers are int64. They give predictions (softmax, sigmoid) by the names of `model.outputs`; only
  `keras` gives what the losses take, as `Network.native` does. The artefact (`--format artefact`, the default) keeps
  preparation and class names beside the model.
- **onnx** is the same file, byte for byte, whichever backend trained the weights, with nothing of the machine in it:
  opset 20, one file, no subgraphs, operators of the standard domain only. Beside the weights it holds about 0.2 kB for
  each operator. Sequences with a `mask` need no loop: the steps that are read move to the front and back. ONNX Runtime
  computes convolutions, average pooling, recurrent layers, `gelu` and `softplus` in float32 only: of a float64 run give
  `--precision float32`. A run of mixed precision is exported in float32.
- **keras** names classes of `dualml_tensorflow` where no stock layer does what the spec says: whoever opens such a file
  imports that package first. A layer tied to another cannot be read back.
- **litert** has recurrent layers unrolled, as its interpreter has no loops over lists.
- **torch** is a folder: `model.pt2`, which holds pickles (open only files that you wrote), and
  `state_dict.safetensors` with the tensors of `Network.native`, which holds none. dualml opens no `.pt2`.
- Whether a row's answer depends on its neighbours in a batch is measured and said: in float32 its last digits can.

## Bundles

`dualml export RUN --bundle triton|tfserving|kserve --out DIR [--name NAME]` writes the folder that a serving engine
loads:

- **triton**: a model repository, `NAME/config.pbtxt`, `NAME/1/model.onnx` and class names. Start:
  `tritonserver --model-repository=DIR`.
- **tfserving**: a base path, `NAME/1/saved_model.pb` and `NAME/1/variables/`, with `models.config` beside it. Start:
  `tensorflow_model_server --model_name=NAME --model_base_path=DIR/NAME`, with `DIR` as an absolute path; or mount `DIR`
  at `/models` and give `--model_config_file=/models/models.config`.
- **kserve**: `models/` as for Triton, and `inferenceservice.yaml`. Copy `models` to the URI that `--storage` named,
  then `kubectl apply -f inferenceservice.yaml`.

Requests to Triton are put together (`dynamic_batching`) only where a row's answer does not depend on its neighbours.

## What each format can express

Measured by `{command}`
({versions}):
every row of the conformance suite is written in each format and run; the figure is the largest difference from the
float64 reference in float32, relative to the largest value (but at least 1). `1 of 5 not (2)`: rows that the format
cannot express, and why, below; such an export is refused, names the part and leaves nothing behind. Losses, optimizers
and all else that only training uses leave nothing in an export.
"""


def lines() -> Iterator[str]:
    """The page."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    notes: dict[str, int] = {}
    yield "# Export: formats and bundles\n"
    yield "<!-- Written by docs/generate.py from docs/export_figures.json; measure again instead of editing. -->\n"
    yield INTRODUCTION.format(
        formats="\n".join(
            f"| `{item.name}` | {_package(item.backend)} | {item.summary} |" for item in FORMATS.values()
        ),
        command=figures["command"],
        versions=", ".join(f"{name} {version}" for name, version in figures["versions"].items()),
    )
    for family in FAMILIES:
        yield f"### {family.title}\n"
        yield from _table("layer", family.layers, figures["parts"], notes)
    yield "### Activations\n"
    yield from _table("activation", ACTIVATIONS, figures["parts"], notes)
    yield "### Why not\n"
    for reason, number in notes.items():
        yield f"{number}. {reason}"


def _package(backend: str | None) -> str:
    return f"`dualml[{backend or 'export'}]`"


def _table(
    group: str, kinds: tuple[type[Keyed], ...], parts: Mapping[str, Any], notes: dict[str, int]
) -> Iterator[str]:
    yield f"| {group} | rows | {' | '.join(FORMATS)} |"
    yield "|---|" + "---:|" * (len(FORMATS) + 1)
    for item in kinds:
        key = f"{group}/{item.kind}"
        if key in ELSEWHERE:
            continue
        cells = [_cell(parts[key][name], notes) for name in FORMATS]
        yield f"| `{item.kind}` | {parts[key]['onnx']['rows']} | {' | '.join(cells)} |"
    yield ""


def _cell(found: Mapping[str, Any], notes: dict[str, int]) -> str:
    """The figure, or how many rows there are and why not all."""
    figure = f"{found['largest']:.0e}" if "largest" in found else ""
    if not found["refused"]:
        return figure
    reasons = {_short(reason) for reason in found["refused"].values()}
    marks = ", ".join(str(notes.setdefault(reason, len(notes) + 1)) for reason in sorted(reasons))
    missing = f"{len(found['refused'])} of {found['rows']} not ({marks})"
    return f"{figure}; {missing}" if figure else f"no ({marks})"


def _short(reason: str) -> str:
    """The first sentence of a converter's message, on one line and without what differs from row to row."""
    text = " ".join(reason.split())
    for end in ("Example error", "Expected:", "For more information", " at index"):
        text = text.partition(end)[0]
    return text.rstrip(" .:;,") + "."
