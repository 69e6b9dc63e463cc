"""Random valid models from the whole catalogue, each built around one kind of layer."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from random_settings import KINDS, Draw, chance, drawn_settings, one_of
from random_sketch import Sketch, named_where_needed
from ruamel.yaml import YAML

from dualml.spec.losses import LOSSES
from dualml.spec.regularizers import REGULARIZERS

MOST_LAYERS = 4
"""Layers drawn beside the one that a model is built around, and those that tie loose ends."""
POSITIVE = ("softplus", "sigmoid", "exponential")
"""Activations whose values a loss of rates can take."""


def to_text(config: Any) -> str:
    """A config as YAML."""
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.dump(config, text)
    return text.getvalue()


@dataclass(frozen=True, repr=False)
class RandomModel:
    """A config, and what its numbers are drawn from.

    Attributes:
        config: As a file has it.
        kind: What it is built around.
        seed: Of weights, inputs, targets and masks.
        examples: Examples in the batch.
        weighted: Whether they have weights.
        built: Whether the kind is in it.
    """

    config: dict[str, Any]
    kind: str
    seed: int
    examples: int
    weighted: bool
    built: bool

    def __repr__(self) -> str:
        beside = f"{self.examples} examples, weighted: {self.weighted}, numbers from {self.seed}"
        return f"a model around {self.kind}, {beside}:\n{to_text(self.config)}"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How hypothesis prints it."""
        printer.text(repr(self))


def drawn_loss(draw: Draw, sketch: Sketch, output: str) -> tuple[str, Any]:
    """A loss that suits an output, and the output: another one where the loss takes positive values only."""
    shape = sketch.shapes[output]
    fitting = [loss for loss in LOSSES if loss.target == "value" or shape[-1] > 1]
    loss = draw(st.sampled_from(fitting))
    settings = drawn_settings(draw, loss, shape)
    if loss.kind == "poisson":
        settings.setdefault("log_input", True)
        if not settings["log_input"]:
            function = draw(st.sampled_from(POSITIVE))
            output = sketch.must("activation", {"function": function}, [output])
    return output, {loss.kind: settings} if settings else loss.kind


@st.composite
def random_models(draw: Draw, kind: str) -> RandomModel:
    """Models around a layer of some kind."""
    sketch = Sketch(draw, draw(st.sampled_from(["torch", "keras"])))
    before = draw(st.integers(0, MOST_LAYERS // 2))
    for _ in range(before):
        sketch.grow(draw(st.sampled_from(sorted(KINDS))))
    built = any(sketch.grow(kind) is not None for _ in range(3))
    for _ in range(draw(st.integers(0, MOST_LAYERS - before))):
        sketch.grow(draw(st.sampled_from(sorted(KINDS))))
    if not sketch.layers:
        sketch.grow("dense")
    losses = dict(drawn_loss(draw, sketch, name) for name in sketch.finish())
    config: dict[str, Any] = {"precision": "float64", "conventions": sketch.conventions, "model": {}}
    single = set(sketch.inputs) == {"input"}
    config["model"] |= {"input": sketch.inputs["input"]} if single else {"inputs": sketch.inputs}
    if sketch.blocks:
        config["model"]["blocks"] = sketch.blocks
    several = len(losses) > 1 or next(iter(losses)) != sketch.layers[-1]["name"]
    kept = set(losses) if several else set()
    config["model"]["layers"] = named_where_needed(sketch.layers, kept, "input" if single else None)
    if several:
        config["model"]["outputs"] = list(losses)
        weighted = {name: {"loss": loss, "weight": 0.7} for name, loss in losses.items()}
        config["losses"] = weighted if draw(st.booleans()) else losses
    else:
        (config["loss"],) = losses.values()
    if chance(draw, 3):
        penalty = one_of(draw, REGULARIZERS, ())
        for settings in penalty.values():
            settings["scope"] = draw(st.sampled_from(["all", "*.*", "kernels" if sketch.kernels else "all"]))
        config["regularizers"] = [penalty]
    config["optimizer"] = {"sgd": {"lr": 0.1}}
    config["seed"] = draw(st.integers(0, 99))
    return RandomModel(
        config, kind, draw(st.integers(0, 2**16)), draw(st.integers(2, 3)), weighted=draw(st.booleans()), built=built
    )
