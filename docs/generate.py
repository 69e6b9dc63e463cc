"""Writes docs/config.md and docs/support.md from the code, so that they cannot be out of date.

Run: python docs/generate.py          (writes both)
     python docs/generate.py --check  (exits with 1 if one of them is out of date)
"""

import inspect
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualml import registry
from dualml.conventions import PRESETS
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.base import Keyed, OneKey, Settings
from dualml.spec.config import Spec
from dualml.spec.data import DataSettings
from dualml.spec.initializers import INITIALIZERS
from dualml.spec.layers import LAYERS
from dualml.spec.losses import LOSSES
from dualml.spec.metrics import METRICS
from dualml.spec.model import Model
from dualml.spec.optimizers import CLIPPINGS, OPTIMIZERS
from dualml.spec.schedules import SCHEDULES, Warmup
from dualml.spec.train import Checkpoints, EarlyStopping, Train

DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the docstrings in dualml/spec instead. -->\n"


EXAMPLE = """\
Where the value is *one of a kind*, it is one key with its settings under it, `{adam: {lr: 0.001}}`, or the bare name
where nothing is set, `adam`. A file with a bit of everything:

```yaml
conventions: keras
precision: float32
model:
  input: [28, 28]
  layers:
    - flatten:
    - dense: {units: 64, activation: relu, name: trunk}
    - dropout: 0.2
    - dense: {units: 64, activation: {leaky_relu: {negative_slope: 0.1}}, name: block}
    - add: {inputs: [trunk, block]}
    - dense: 10
data: {source: npz, path: images.npz, normalize: unit, validation: 0.2}
loss: {cross_entropy: {label_smoothing: 0.1}}
optimizer: {adamw: {lr: 0.002, weight_decay: 0.01}}
schedule: {cosine: {warmup: {length: 100}, final: 0.1}}
train:
  epochs: 20
  batch_size: 32
  accumulate: 2
  clip: {global_norm: {max_norm: 1.0}}
  early_stopping: {patience: 4, metric: val_accuracy}
metrics: [accuracy]
```
"""


def sources() -> tuple[type[Settings], ...]:
    """The data sources, out of their union."""
    return typing.get_args(typing.get_args(DataSettings)[0])


SECTIONS: tuple[tuple[str, str, tuple[type[Settings], ...]], ...] = (
    ("The file", "", (Spec,)),
    ("model", "", (Model,)),
    (
        "Layers",
        "Entries of `model.layers`: one key with its settings. Every layer also takes `name`, unique in the model\n"
        "(left out, its kind and a running number: `dense_1`), and `inputs`, the name or names of the layers that\n"
        "feed it (`input` is the model's input; left out, the layer before it). Both may stand under the layer's key\n"
        "or beside it.",
        LAYERS,
    ),
    ("Activations", "For `activation:` of a layer, or a layer of its own: `- activation: relu`.", ACTIVATIONS),
    ("Initializers", "For `kernel_initializer:` and `bias_initializer:`.", INITIALIZERS),
    (
        "data",
        '`source` selects one of these; `{python: "module:function"}` is short for the source `python`. Files are\n'
        "looked for from the config's folder on.",
        sources(),
    ),
    ("loss", "", LOSSES),
    ("optimizer", "", OPTIMIZERS),
    ("schedule", "", (*SCHEDULES, Warmup)),
    ("train", "", (Train, EarlyStopping, Checkpoints)),
    ("train.clip", "", CLIPPINGS),
    (
        "metrics",
        "Entries of `metrics`: `[accuracy, {top_k: 5}]`. In `metrics.jsonl` and where a setting watches one, a metric\n"
        "is called `val_` and its name: `val_accuracy`, `val_top_5`, `val_f1_macro`.",
        METRICS,
    ),
)


def title(settings: type[Settings]) -> str:
    """What selects a class in a file."""
    if issubclass(settings, Keyed):
        return f"`{settings.kind}`"
    source = settings.model_fields.get("source")
    if source is not None:
        return f"`source: {typing.get_args(source.annotation)[0]}`"
    return {
        Spec: "Top level",
        Model: "`model`",
        Train: "`train`",
        EarlyStopping: "`train.early_stopping`",
        Checkpoints: "`train.checkpoints`",
        Warmup: "`schedule.<kind>.warmup`",
    }[settings]


def kind_of_value(field: Any) -> str:
    """The type of a setting in words."""
    annotation = field.annotation
    if any(isinstance(item, OneKey) for item in field.metadata):
        return "one of a kind"
    return words(annotation)


def words(annotation: Any) -> str:
    """A type in words."""
    names = {int: "whole number", float: "number", bool: "true or false", str: "text", dict: "mapping"}
    if annotation in names:
        return names[annotation]
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{item}`" for item in arguments)
    if any(isinstance(item, OneKey) for item in arguments):
        return "one of a kind"
    if origin is typing.Annotated:
        return words(arguments[0])
    if origin in (tuple, list):
        choices = words(arguments[0])
        return f"list of {choices}" if choices.startswith("`") else "list"
    if origin is dict:
        return "mapping"
    if arguments:
        return " or ".join(dict.fromkeys(words(item) for item in arguments if item is not type(None)))
    return "mapping"


def default(settings: type[Settings], name: str) -> str:
    """The default of a setting: its own, or that of each preset."""
    field = settings.model_fields[name]
    presets = {preset: rows.get(settings, {}).get(name) for preset, rows in PRESETS.items()}
    if any(value is not None for value in presets.values()):
        shown = {preset: plain(value) for preset, value in presets.items()}
        same = len(set(shown.values())) == 1
        return shown["torch"] if same else ", ".join(f"{value} ({preset})" for preset, value in shown.items())
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if value is None else plain(value)


def plain(value: Any) -> str:
    """A default as it is written in a file."""
    if isinstance(value, Keyed):
        return f"`{value.kind}`"
    if isinstance(value, Settings):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def config_page() -> Iterator[str]:
    """The lines of docs/config.md."""
    yield "# Every setting\n"
    yield NOTE
    yield "A file needs `model`, `loss` and `optimizer`; to train, also `data`. Where a default has two values,"
    yield "`conventions` chooses. `dualml describe CONFIG` prints a config with every default written out.\n"
    yield EXAMPLE
    for heading, text, classes in SECTIONS:
        yield f"## {heading}\n"
        if text:
            yield f"{text}\n"
        for settings in classes:
            if len(classes) > 1 or issubclass(settings, Keyed):
                yield f"### {title(settings)}\n"
            yield inspect.cleandoc(settings.__doc__ or "").split("Example:")[0].split("Raises:")[0].strip() + "\n"
            common = {"source"} | (settings.siblings if issubclass(settings, Keyed) else set())
            rows = [name for name in settings.model_fields if name not in common]
            if not rows:
                continue
            yield "| setting | value | default | |"
            yield "|---|---|---|---|"
            for name in rows:
                field = settings.model_fields[name]
                text_of = " ".join((field.description or "").split()).replace("|", "\\|")
                yield f"| `{name}` | {kind_of_value(field)} | {default(settings, name)} | {text_of} |"
            yield ""


def support_page() -> Iterator[str]:
    """The lines of docs/support.md."""
    names = ("torch", "tensorflow")
    able = {name: registry.load(name).capabilities for name in names}
    yield "# What each backend supports\n"
    yield NOTE
    yield "From what the backends declare; the conformance suite checks that each declared cell works and that each"
    yield "other one is refused.\n"
    yield "| | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    groups = (
        ("layer", LAYERS, "operations"),
        ("activation", ACTIVATIONS, "activations"),
        ("loss", LOSSES, "losses"),
        ("optimizer", OPTIMIZERS, "optimizers"),
    )
    for group, kinds, attribute in groups:
        for kind in kinds:
            cells = ("yes" if kind.kind in getattr(able[name], attribute) else "no" for name in names)
            yield f"| {group} `{kind.kind}` | " + " | ".join(cells) + " |"
    for label, attribute in (("native dropout masks", "native_randomness"), ("compiled steps", "compiled")):
        yield f"| {label} | " + " | ".join("yes" if getattr(able[name], attribute) else "no" for name in names) + " |"
    for precision in ("float32", "float64"):
        yield (
            f"| {precision} | "
            + " | ".join("yes" if precision in able[name].precisions else "no" for name in names)
            + " |"
        )


PAGES = {"config.md": config_page, "support.md": support_page}


def main() -> int:
    """Write the pages, or only check them."""
    stale = []
    for name, lines in PAGES.items():
        text = "\n".join(lines()).rstrip() + "\n"
        path = DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    if stale and "--check" in sys.argv:
        print(f"out of date: {', '.join(stale)}; run: python docs/generate.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
