"""A model that is being drawn, layer by layer.

Each layer is drawn for the shape of a value that is already there, and kept if the spec takes it. So what is drawn is
valid, and what the spec refuses on the way must be refused by a message.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import event, strategies as st
from pydantic import ValidationError
from random_settings import KINDS, Draw, Shape, chance, drawn_settings, rank_of, without_initializers

from dualml.conventions import PRESETS, fill
from dualml.errors import SpecError
from dualml.spec.graph import Graph
from dualml.spec.graph_builder import build_graph
from dualml.spec.model import Model

MOST_VALUES = 120
"""Values of one example that a layer may give."""
INTEGERS = frozenset(key for key, kind in KINDS.items() if kind.takes_integers)
SEQUENCES = frozenset(
    {key for key, kind in KINDS.items() if "mask" in kind.model_fields}
    | {"bidirectional", "position_embedding", "position_encoding"}
)
POSITIONED = frozenset(
    {"resize", "pad", "crop", "spatial_dropout", "global_average_pool", "global_max_pool", "squeeze_excite"}
    | {"instance_norm"}
)
"""Kinds that need positions and channels."""
MERGING = frozenset(key for key, kind in KINDS.items() if kind.fewest_inputs == 2 and kind.most_inputs != 2)
PAIRING = frozenset(key for key, kind in KINDS.items() if kind.fewest_inputs == 2 and kind.most_inputs == 2)
INNER = ("dense", "activation", "layer_norm", "dropout", "prelu", "multiply", "feed_forward", "permute", "conv1d")
"""Kinds that stand inside of layers made of layers."""


@dataclass
class Sketch:
    """A model that is being drawn.

    Attributes:
        draw: Draws.
        conventions: Whose defaults fill what is left unsaid.
        inputs: Each input as a file has it.
        layers: Each layer as a file has it, with a name and inputs.
        shapes: Shape of every value that layers may read.
        used: What is read by some layer.
        trained: Number of parameters.
        kernels: Whether there are kernels among them.
        blocks: Definitions under ``model.blocks``.
    """

    draw: Draw
    conventions: str
    inputs: dict[str, Any] = field(default_factory=dict)
    layers: list[dict[str, Any]] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    trained: int = 0
    kernels: bool = False
    blocks: dict[str, Any] = field(default_factory=dict)

    # ---------------------------------------------------------------- values

    def input(self, shape: Shape) -> str:
        """A new input of values."""
        name = "input" if not self.inputs else f"extra_{len(self.inputs)}"
        self.inputs[name] = list(shape)
        self.shapes[name] = shape
        return name

    def tokens(self, shape: Shape) -> str:
        """An input of ids: an old one of that shape, or a new one."""
        for name, item in self.inputs.items():
            if isinstance(item, dict) and tuple(item["shape"]) == shape:
                return name
        name = "input" if not self.inputs else f"tokens_{len(self.inputs)}"
        self.inputs[name] = {"shape": list(shape), "dtype": "integer"}
        return name

    def suiting(self, kind: str) -> str:
        """A value that a kind can read: the newest more often than others, or a new input."""
        ranks = ranks_of(kind)
        fitting = [name for name, shape in self.shapes.items() if len(shape) in ranks]
        if not fitting:
            return self.input(self.draw(shapes(ranks)))
        return fitting[-1] if self.draw(st.booleans()) else self.draw(st.sampled_from(fitting))

    # ---------------------------------------------------------------- layers

    def add(
        self, kind: str, settings: Any, sources: list[str], *, most: int = MOST_VALUES, **beside: Any
    ) -> str | None:
        """Add a layer if the spec takes it; its name, or ``None``."""
        name = f"layer_{len(self.layers)}"
        layer = {kind: settings, "name": name, "inputs": sources if len(sources) > 1 else sources[0]}
        if isinstance(settings, dict):
            layer[kind] = {**settings, **beside}
        graph = self.tried(layer)
        if graph is None and without_initializers(layer) != layer:
            layer = without_initializers(layer)
            graph = self.tried(layer)
        if graph is None:
            return None
        shape = graph.by_name[graph.outputs[0]].shape
        if math.prod(shape) > most:
            event(f"too large: {kind}")
            return None
        self.layers.append(layer)
        self.shapes[name] = shape
        self.used |= set(reads(layer))
        self.trained += len(graph.parameters)
        self.kernels |= any(item.name.endswith("kernel") for item in graph.parameters)
        return name

    def must(self, kind: str, settings: Any, sources: list[str]) -> str:
        """Add a layer that no spec may refuse."""
        name = self.add(kind, settings, sources, most=10 * MOST_VALUES)
        assert name is not None, (kind, settings, sources, self.shapes)
        return name

    def tried(self, layer: dict[str, Any]) -> Graph | None:
        """The graph of one layer with those it needs, or ``None`` where the spec refuses it with a message."""
        needed = [item for item in self.layers if item["name"] in owners(layer)]
        stand_ins = {
            name: item
            for part in (*needed, layer)
            for name in reads(part)
            for item in [self.inputs[name] if name in self.inputs else list(self.shapes[name])]
            if name not in {item["name"] for item in needed}
        }
        config = {
            "inputs": stand_ins,
            "blocks": self.blocks,
            "layers": [*needed, layer],
            "outputs": [layer["name"], *(item["name"] for item in needed)],
        }
        complete = partial(fill, preset=PRESETS[self.conventions])
        try:
            graph = build_graph(
                complete(Model.model_validate(config)), "float64", ["identity"] * len(config["outputs"]), complete
            )
        except (ValidationError, SpecError) as error:
            event(f"refused: {next(iter(layer))}", str(error).splitlines()[0][:80])
            return None
        return None if any(item.initializer.problem(item.shape) for item in graph.parameters) else graph

    def grow(self, kind: str) -> str | None:
        """Draw a layer of some kind, with what it needs; its name, or ``None`` if the spec refused it."""
        special = SPECIAL.get(kind)
        if special is not None:
            return special(self, kind)
        source = self.suiting(kind)
        beside = {}
        if "mask" in KINDS[kind].model_fields and chance(self.draw, 3):
            beside["mask"] = self.mask(self.shapes[source][0])
        sources = [source]
        if kind == "attention" and chance(self.draw, 3):
            sources.append(self.suiting(kind))
            beside = {key: self.mask(self.shapes[sources[1]][0]) for key in beside}
        return self.add(kind, drawn_settings(self.draw, KINDS[kind], self.shapes[source]), sources, **beside)

    def mask(self, length: int) -> str:
        """A mask of ids that are padding."""
        return self.must("padding_mask", {"index": 0}, [self.tokens((length,))])

    def merge(self, kind: str) -> str | None:
        """A layer that joins values: of one shape, or as it takes them."""
        source = self.suiting(kind)
        shape, settings = self.shapes[source], drawn_settings(self.draw, KINDS[kind], self.shapes[source])
        most = 2 if KINDS[kind].most_inputs == 2 else 3
        sources = [source]
        for _ in range(self.draw(st.integers(1, most - 1))):
            same = [name for name, item in self.shapes.items() if item == shape]
            way = self.draw(st.sampled_from(["made", "old", "own"]))
            if kind == "multiply" and way == "own" and len(shape) > 1:
                made = self.add("global_average_pool", {"keep_axes": self.draw(st.booleans())}, [source])
            elif way == "made":
                wide = kind == "concat" and settings.get("axis", -1) in (-1, len(shape) - 1)
                made = self.add("dense", {"units": shape[-1] + wide}, [source])
            else:
                made = self.draw(st.sampled_from(same))
            sources.append(made or source)
        return self.add(kind, settings, sources)

    def decoder(self, kind: str) -> str | None:
        source, memory = self.suiting(kind), self.suiting(kind)
        beside = {}
        for key, read in (("mask", source), ("memory_mask", memory)):
            if chance(self.draw, 3):
                beside[key] = self.mask(self.shapes[read][0])
        settings = drawn_settings(self.draw, KINDS[kind], self.shapes[source])
        return self.add(kind, settings, [source, memory], **beside)

    def ids(self, kind: str) -> str | None:
        """A layer that reads ids; of a mask, one that is used."""
        shape = self.draw(shapes({1})) if kind == "padding_mask" else self.draw(shapes({1, 2}))
        source = self.tokens(shape)
        return self.add(kind, drawn_settings(self.draw, KINDS[kind], shape), [source])

    def padding_mask(self, kind: str) -> str | None:
        mask = self.ids(kind)
        if mask is None:
            return None
        (length,) = self.shapes[mask]
        sequence = self.input((length, 3))
        user = self.draw(st.sampled_from(["lstm", "gru", "simple_rnn", "attention"]))
        settings = drawn_settings(self.draw, KINDS[user], self.shapes[sequence])
        self.add(user, settings, [sequence], mask=mask)
        return mask

    def tied(self, kind: str) -> str | None:
        table = self.ids("embedding")
        if table is None:
            return None
        units = self.shapes[table][-1]
        fitting = [name for name, shape in self.shapes.items() if shape[-1] == units]
        settings = {**drawn_settings(self.draw, KINDS[kind], (units,)), "layer": table}
        return self.add(kind, settings, [self.draw(st.sampled_from(fitting))])

    def shared(self, kind: str) -> str | None:
        """An earlier layer once more, on a value of the same shape."""
        fitting = [
            (layer["name"], name)
            for layer in self.layers
            for name in self.shapes
            if isinstance(layer["inputs"], str)
            and not {"shared", "padding_mask", "embedding"} & set(layer)
            and self.shapes[layer["inputs"]] == self.shapes[name]
        ]
        if not fitting:
            self.grow(
                self.draw(st.sampled_from(["dense", "conv1d", "layer_norm", "lstm", "attention", "feed_forward"]))
            )
            last = self.layers[-1] if self.layers else {}
            if "padding_mask" in last or not isinstance(last.get("inputs"), str):
                return None
            fitting = [(last["name"], self.input(self.shapes[last["inputs"]]))]
        owner, source = self.draw(st.sampled_from(fitting))
        return self.add(kind, {"layer": owner}, [source])

    # ---------------------------------------------------------------- layers made of layers

    def inside(self, shape: Shape, *, keeps: bool = False) -> list[dict[str, Any]]:
        """Layers for the inside of one; with ``keeps`` they end in the shape they begin with."""
        inner = Sketch(self.draw, self.conventions)
        source = now = inner.input(shape)
        for _ in range(self.draw(st.integers(1, 2))):
            kind = self.draw(st.sampled_from(INNER))
            if kind == "multiply":
                now = inner.add(kind, {}, [now, now]) or now
            elif len(inner.shapes[now]) in ranks_of(kind):
                now = inner.add(kind, drawn_settings(self.draw, KINDS[kind], inner.shapes[now]), [now]) or now
        if now == source or (keeps and inner.shapes[now][:-1] != shape[:-1]):
            inner, now = Sketch(self.draw, self.conventions), source
            inner.input(shape)
            now = inner.add("dense", {"units": shape[-1]}, [now]) or now
        if keeps and inner.shapes[now] != shape:
            inner.add("dense", {"units": shape[-1]}, [now])
        return named_where_needed(inner.layers, set(), "input")

    def composite(self, kind: str) -> str | None:
        source = self.suiting(kind)
        shape = self.shapes[source]
        settings: dict[str, Any] = {"layers": self.inside(shape, keeps=kind in ("residual", "repeat"))}
        if kind == "repeat":
            settings["times"] = self.draw(st.integers(1, 3))
        if kind == "residual":
            if self.draw(st.booleans()):
                settings["shortcut"] = self.inside(shape, keeps=True)
            if self.draw(st.booleans()):
                settings["activation"] = self.draw(st.sampled_from(["relu", "tanh", "gelu"]))
        return self.add(kind, settings, [source])

    def block(self, kind: str) -> str | None:
        source = self.suiting(kind)
        name = f"part_{len(self.blocks)}"
        units = self.draw(st.integers(1, 3))
        default = self.draw(st.sampled_from([None, 2]))
        self.blocks[name] = {
            "parameters": {"units": default, "function": "tanh"},
            "layers": [{"dense": {"units": "$units", "activation": "$function"}}, *self.inside((units,))[:1]],
        }
        if len(self.shapes[source]) > 1 or default is not None:
            self.blocks[name]["layers"] = self.blocks[name]["layers"][:1]
        arguments = {"units": units} if default is None or self.draw(st.booleans()) else {}
        return self.add(kind, {"use": name, "arguments": arguments}, [source])

    # ---------------------------------------------------------------- the end

    def loose(self) -> list[str]:
        """Layers that nothing reads."""
        return [layer["name"] for layer in self.layers if layer["name"] not in self.used]

    def finish(self) -> list[str]:
        """Tie loose ends; returns the outputs."""
        for name in self.inputs:
            if name not in self.used:
                kind, settings = ("activation", {"function": "tanh"}) if name in self.shapes else ("padding_mask", {})
                self.must(kind, settings, [name])
        ends = self.loose()
        several = 1 < len(ends) <= 3 and self.draw(st.booleans())
        if not several and len(ends) > 1:
            ends = [self.must("concat", {}, [self.must("flatten", {}, [name]) for name in ends])]
        if not self.trained or (self.draw(st.booleans()) and not several):
            ends[0] = self.must("dense", {"units": self.draw(st.integers(1, 3))}, [ends[0]])
        inner = [layer["name"] for layer in self.layers if layer["name"] in self.used]
        if inner and len(ends) < 3 and chance(self.draw, 6):  # an inner layer that is an output too
            ends.append(self.draw(st.sampled_from(inner)))
        return ends


def reads(layer: dict[str, Any]) -> list[str]:
    """The values that a layer reads."""
    inputs = layer["inputs"]
    (kind,) = set(layer) - {"name", "inputs"}
    settings = layer[kind] if isinstance(layer[kind], dict) else {}
    masks = [settings[key] for key in ("mask", "memory_mask") if key in settings]
    return [*([inputs] if isinstance(inputs, str) else inputs), *masks]


def owners(layer: dict[str, Any]) -> set[str]:
    """The layers whose parameters a layer uses."""
    (kind,) = set(layer) - {"name", "inputs"}
    return {layer[kind]["layer"]} if kind in ("shared", "tied_dense") else set()


def ranks_of(kind: str) -> set[int]:
    """Numbers of axes of the inputs that suit a kind."""
    of = KINDS[kind]
    if kind in SEQUENCES or kind == "conv1d":
        return {2}
    if getattr(of, "rank", None) or getattr(of, "depthwise", None):
        return {rank_of(of) + 1}
    if kind == "select":
        return {2, 3, 4}
    return {2, 3, 4} if kind in POSITIONED else {1, 2, 3, 4}


def shapes(ranks: set[int]) -> st.SearchStrategy[Shape]:
    """Small shapes; the last axis often has a size that divides."""
    channels = st.sampled_from([4, 2, 6, 3, 1])

    def of(rank: int) -> st.SearchStrategy[Shape]:
        most = {1: 0, 2: 6, 3: 5, 4: 3}[rank]
        axes = st.sampled_from([size for size in (3, 4, 2, 5, 6, 1) if size <= most] or [1])
        last = channels if rank < 4 else st.sampled_from([2, 4, 1])
        return st.tuples(*[axes] * (rank - 1), last)

    return st.sampled_from(sorted(ranks)).flatmap(of)


SPECIAL: dict[str, Any] = {
    **dict.fromkeys(MERGING, Sketch.merge),
    **dict.fromkeys(PAIRING, Sketch.merge),
    **dict.fromkeys(INTEGERS, Sketch.ids),
    "padding_mask": Sketch.padding_mask,
    "tied_dense": Sketch.tied,
    "transformer_decoder": Sketch.decoder,
    "shared": Sketch.shared,
    "block": Sketch.block,
    **dict.fromkeys(("group", "residual", "repeat"), Sketch.composite),
}
"""Kinds that need more than one value of a fitting shape."""


def named_where_needed(layers: list[dict[str, Any]], kept: set[str], first: str | None) -> list[dict[str, Any]]:
    """The same layers without the names and inputs that go without saying."""
    found, before = [], first
    chained = []
    for layer in layers:
        plain = layer["inputs"] == before
        chained.append(plain)
        before = layer["name"]
    wanted = set(kept)
    for layer, plain in zip(layers, chained, strict=True):
        named = reads(layer)
        wanted |= set(named[1:] if plain else named) | owners(layer)
    for layer, plain in zip(layers, chained, strict=True):
        shown = {key: item for key, item in layer.items() if key != "inputs" or not plain}
        if layer["name"] not in wanted:
            del shown["name"]
        found.append(shown)
    return found
