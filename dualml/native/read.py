"""From what a native model did to what it means: a graph in neutral terms, each node with its native place."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from dualml.errors import ParityError
from dualml.native.calls import UnreadableError, axis_of, completed, neutral_axis, spec_layer, with_axis
from dualml.native.canonical import Canonical
from dualml.native.demands import NORMALISING, POOLED, batch_size, demanded, input_axes, trailing
from dualml.native.hidden import Hidden, guessed_order
from dualml.native.layouts import (
    Axes,
    behind_batch,
    keeps_order,
    native_axis,
    neutral_shape,
    permuted,
    reshaping,
    transposition,
    unchanged,
    without,
)
from dualml.native.nodes import Nodes, identifier
from dualml.native.opaque import Opaque
from dualml.native.protocol import OPAQUE, Call, Precision, Trace
from dualml.native.reading import Held, Place, Reading
from dualml.native.returned import returned
from dualml.native.settled import REFERENCE, shaped_to
from dualml.protocol import Arrays
from dualml.spec.graph import Graph, GraphInput
from dualml.spec.layers import Flatten, Layer, Permute, Recurrent, Select, Slice


def read(
    trace: Trace,
    weights: Arrays,
    precision: Precision,
    *,
    trained: Collection[str] | None = None,
    layouts: Mapping[str, Axes] | None = None,
) -> Reading:
    """Read a trace.

    Args:
        trace: What a model did.
        weights: ``NativeModel.get_weights``; only names and shapes are used.
        precision: The number format the graph is to have.
        trained: ``NativeModel.parameters``, for what opaque calls hold; left out, all weights.
        layouts: For inputs whose order of axes no call says (an image that is flattened at once): the order, by name.

    Raises:
        ParityError: Nothing the model returns could be followed from its inputs.
    """
    trained = weights if trained is None else trained
    reader = _Reader(trace, weights, trained, layouts or {}, batch_first=False)
    if reader.lost and any(call.batch_axis for call in trace.calls):
        other = _Reader(trace, weights, trained, layouts or {}, batch_first=True)
        reader = min(reader, other, key=lambda item: item.lost)
    return reader.reading(precision)


class _Reader:
    """Follows the calls of a trace.

    Attributes:
        lost: How many calls could not be read because they mix examples.
    """

    def __init__(
        self,
        trace: Trace,
        weights: Arrays,
        trained: Collection[str],
        layouts: Mapping[str, Axes],
        *,
        batch_first: bool,
    ) -> None:
        self.trace = trace
        self.nodes = Nodes(trace, weights, trained)
        self.held: dict[int, Held] = {}
        self.views: dict[tuple[int, Axes], str] = {}
        self.hidden: dict[int, Hidden] = {key: Hidden() for key in trace.constants}
        self.notes = list(trace.notes)
        self.positions = {call.name: position for position, call in enumerate(trace.calls)}
        self.inputs: dict[str, str] = {}
        self.batch_first = batch_first
        self.lost = 0
        asked = input_axes(trace, batch_first=batch_first)
        axes = {
            name: asked[name] or layouts.get(name) or unchanged(len(trace.values[key].shape))
            for name, key in trace.inputs.items()
        }
        self.examples = batch_size(trace, axes)
        for name, key in trace.inputs.items():
            own = self.nodes.input(name, Place(key, axes[name]))
            self.inputs[own] = name
            self.held[key] = Held(own, axes[name])
        for call in trace.calls:
            self.call(call)
        self.lost += sum(key not in self.held for key in trace.outputs.values())

    # Calls

    def call(self, call: Call) -> None:
        """Read one call."""
        try:
            if call.kind == OPAQUE or "operand" in call.weights or any(key not in self.held for key in call.inputs):
                self.opaque(call)
            elif call.kind in ("identity", "permute"):
                self.moved(call)
            elif call.kind in ("reshape", "flatten") or self.drops_one(call):
                self.reshaped(call)
            else:
                self.layer(call)
        except UnreadableError as error:
            self.notes.append(f"{call.name} ({call.native or call.kind}{_at(call)}) has no formula here: {error}")
            self.lost += error.mixes
            self.opaque(call)

    def shape(self, key: int) -> tuple[int, ...]:
        """Native shape of a value."""
        return self.trace.values[key].shape

    def moved(self, call: Call) -> None:
        """What leaves the neutral array as it is."""
        held = self.held[call.inputs[0]]
        if call.kind == "permute":
            held = Held(held.node, permuted(held.axes, call.settings["axes"]))
        self.held[call.outputs[0]] = held

    def drops_one(self, call: Call) -> bool:
        """Whether a call selects the only value of an example, which leaves no axis but that of the examples."""
        return call.kind == "select" and len(self.shape(call.outputs[0])) == 1 and 1 in self.shape(call.inputs[0])

    def reshaped(self, call: Call) -> None:
        """A row-major reshape of the native array."""
        key, made = call.inputs[0], call.outputs[0]
        axes, target = self.held[key].axes, self.shape(made)
        found = reshaping(self.shape(key), axes, target)
        if found is None:
            raise UnreadableError("it mixes the axis of the examples with others", mixes=True)
        shape = neutral_shape(target, found.after)
        layer: Layer = Flatten() if len(shape) == 1 else shaped_to(shape)
        if found.before != axes and len(shape) == 1 and axes == behind_batch(len(axes)):
            layer, source = Flatten(order="channels_first"), self.held[key].node
        else:
            source = self.turned(key, found.before)
            if self.nodes.shapes[source] == shape:
                self.held[made] = Held(source, found.after)
                return
        place = Place(made, found.after, (call,))
        self.held[made] = Held(self.nodes.add(layer, call.name, [source], place, {}), found.after)

    def layer(self, call: Call) -> None:
        """A layer of the spec."""
        axes = self.order(call)
        names = {}
        sources = [self.turned(call.inputs[0], axes)] if call.inputs else []
        for key in call.inputs[1:]:
            sources.append(self.turned(key, self.other_order(call, key, axes)))
        if call.settings.get("mask") is not None:
            names["mask"] = REFERENCE
        if call.kind == "tied_dense":
            names["layer"] = REFERENCE
        layer = spec_layer(call, **names)
        axis = axis_of(layer)
        if axis is not None:
            layer = with_axis(layer, neutral_axis(axis, axes))
        layer = completed(layer, tuple(self.nodes.shapes[source] for source in sources))
        changes_nothing = getattr(layer, "rate", None) == 0 and call.kind != "attention"
        if changes_nothing or getattr(getattr(layer, "function", None), "kind", "") == "linear":
            self.held[call.outputs[0]] = Held(sources[0], axes)
            return
        made = call.outputs[0]
        after = self.order_after(layer, call, axes)
        before = self.held[call.inputs[0]] if call.inputs else None
        name = self.nodes.add(layer, call.name, sources, Place(made, after, (call,)), call.weights)
        self.held[made] = Held(name, after)
        if before is not None and before.node != sources[0] and call.kind in NORMALISING:
            self.turned_back(made, before.axes)
        for key in call.outputs[1:]:
            self.further(call, layer, name, key)

    def order(self, call: Call) -> Axes:
        """The order of axes in which a call takes its first input: its own, or that which the input has."""
        key = call.inputs[0]
        axes = self.held[key].axes
        rank = len(axes)
        wanted = demanded(call, rank, batch_first=self.batch_first)
        last = trailing(call)
        if wanted is not None:
            if self.batch_first and call.batch_axis and call.kind not in POOLED:
                self.notes.append(
                    f"{call.name} ({call.native}{_at(call)}) takes axis {call.batch_axis} of its input for the "
                    "examples, but they are along axis 0 here; it is read as if it took axis 0"
                )
            return wanted
        if last and axes[-last:] != tuple(range(rank - last, rank)):
            return (*(axis for axis in axes if axis < rank - last), *range(rank - last, rank))
        return axes

    def other_order(self, call: Call, key: int, axes: Axes) -> Axes:
        """The order in which a call takes a further input, given that of its first."""
        own = self.held[key].axes
        if len(own) == len(axes):
            return axes
        if call.kind == "multiply":
            raise UnreadableError("its operands have different numbers of axes")
        return unchanged(
            len(own), call.batch_axis if len(own) > call.batch_axis and call.kind != "attention" else own[0]
        )

    def order_after(self, layer: Layer, call: Call, axes: Axes) -> Axes:
        """The order of a call's output."""
        rank = len(self.shape(call.outputs[0]))
        if call.kind == "embedding":
            return (*axes, len(axes))
        if call.kind == "select":
            return without(axes, native_axis(int(call.settings.get("axis", 0)), len(axes)))
        return axes if rank == len(axes) else unchanged(rank)

    def further(self, call: Call, layer: Layer, name: str, key: int) -> None:
        """A further output: the last state of a recurrent layer, or something without a formula."""
        shape = self.shape(key)
        node = self.nodes.nodes[name]
        last = isinstance(layer, Recurrent) and key == call.outputs[1] and layer.mask is None
        if last and isinstance(layer, Recurrent):
            alone, one = shape == (self.examples, layer.units), shape == (1, self.examples, layer.units)
            if not layer.return_sequences and alone:
                self.held[key] = Held(name, (0, 1))
                return
            if layer.return_sequences and (alone or one):
                at = 0 if layer.reverse else -1
                axes: Axes = (0, 1) if alone else (1, 0, 2)
                part: Layer = Select(at, axis=0) if alone else Slice(at, at + 1 or None, axis=0)
                place = Place(key, axes, (call,))
                self.held[key] = Held(self.nodes.add(part, f"{call.name}_last", [name], place, {}), axes)
                return
        self.hide_or_add(call, key, Hidden((call,), call.inputs), list(node.inputs))

    # What has no formula

    def opaque(self, call: Call) -> None:
        """A node without a formula for each output of a call; with it go the calls that made what cannot be a node."""
        calls: dict[str, Call] = {}
        keys: dict[int, None] = {}
        for key in call.inputs:
            if key in self.held:
                keys[key] = None
                continue
            hidden = self.hidden.get(key, Hidden())
            calls.update((item.name, item) for item in hidden.calls)
            keys.update(dict.fromkeys(hidden.sources))
        ordered = sorted((*calls.values(), call), key=lambda item: self.positions[item.name])
        whole = Hidden(tuple(ordered), tuple(keys))
        sources = list(dict.fromkeys(self.held[key].node for key in keys))
        for key in call.outputs:
            self.hide_or_add(call, key, whole, sources)

    def hide_or_add(self, call: Call, key: int, made_by: Hidden, sources: Sequence[str]) -> None:
        """One value without a formula: a node, or nothing as long as it has no batch axis."""
        axes = guessed_order(made_by, self.shape(key), self.held, self.examples)
        if axes is None:
            self.hidden[key] = made_by
            return
        weights = {
            (role if len(made_by.calls) == 1 else f"{identifier(item.name)}_{role}"): native
            for item in made_by.calls
            for role, native in item.weights.items()
        }
        shape = neutral_shape(self.shape(key), axes)
        layer = Opaque(output=shape, native=call.native, arrays=self.nodes.arrays_of(weights))
        path = call.name if key == call.outputs[0] else f"{call.name}_output_{call.outputs.index(key) + 1}"
        name = self.nodes.add(layer, path, sources, Place(key, axes, made_by.calls), weights)
        self.held[key] = Held(name, axes)

    # Orders

    def turned(self, key: int, want: Axes) -> str:
        """A node whose neutral array is a native value with its axes in a given order; makes one if there is none.

        Raises:
            UnreadableError: The order has another axis for the batch.
        """
        held = self.held[key]
        if held.axes == want:
            return held.node
        if (key, want) in self.views:
            return self.views[key, want]
        p = transposition(held.axes, want)
        if p[0] != 0:
            raise UnreadableError(
                f"it takes axis {want[0]} of its input for the examples, which are axis {held.axes[0]}", mixes=True
            )
        shape = neutral_shape(self.shape(key), want)
        source = self.nodes.shapes[held.node]
        if shape == source and keeps_order(p, (0, *source)):
            self.held[key] = Held(held.node, want)
            return held.node
        calls = tuple(call for call in self.trace.calls if key in call.outputs and call.kind == "permute")
        place = Place(key, want, calls)
        if not keeps_order(p, (0, *source)):
            layer: Layer = Permute(axes=tuple(axis - 1 for axis in p[1:]))
            name = self.nodes.add(layer, calls[0].name if calls else f"{held.node}_turned", [held.node], place, {})
        else:
            name = self.shaped(key, held, shape, place)
        self.views[key, want] = name
        return name

    def turned_back(self, key: int, want: Axes) -> None:
        """Give a value its axes in the order in which a layer found them that takes another one.

        So axes are turned right before and right behind the layer that wants it, not somewhere behind what follows.
        """
        held = self.held[key]
        self.views[key, held.axes] = held.node
        self.held[key] = Held(self.turned(key, want), want)

    def shaped(self, key: int, held: Held, shape: tuple[int, ...], place: Place) -> str:
        """Axes of size 1 moved; a reshape that made them is told where to put them."""
        node = self.nodes.nodes.get(held.node)
        own = node is not None and node.operation == "reshape" and self.nodes.places[node.name].value == key
        if node is not None and own and not self.nodes.readers(node.name):
            target = replace(node, settings=shaped_to(shape), shape=shape)
            self.nodes.put(node.name, target, replace(place, calls=self.nodes.places[node.name].calls))
            self.held[key] = Held(node.name, place.axes)
            return node.name
        return self.nodes.add(shaped_to(shape), f"{held.node}_reshaped", [held.node], place, {})

    # The end

    def reading(self, precision: Precision) -> Reading:
        """The reading of everything that was read."""
        outputs: dict[str, str] = {}
        for name, key in self.trace.outputs.items():
            if (held := self.held.get(key)) is None:
                self.notes.append(f"the output {name!r} has no axis of examples, so it is not compared")
                continue
            node = returned(self.nodes, self.turned, key, held, alone=len(self.trace.outputs) == 1)
            if node is None:
                self.notes.append(f"the output {name!r} is the input {held.node!r} as it came")
            elif node in outputs:
                self.notes.append(f"the output {name!r} is the output {outputs[node]!r} once more")
            else:
                outputs[node] = name
        if not outputs:
            raise ParityError(
                "the model must return something that it computes from its inputs, example by example, but no output "
                f"could be followed: {'; '.join(self.notes) or 'it returns nothing'}"
            )
        for path in self.nodes.prune(outputs):
            self.notes.append(f"{path} is computed, but nothing the model returns depends on it")
        Canonical(self.nodes, self.held, outputs, dict(self.trace.constants)).run()
        self.held = {key: held for key, held in self.held.items() if held.node in self.nodes.shapes}
        integers = {own: self.trace.values[self.trace.inputs[name]].integer for own, name in self.inputs.items()}
        graph = Graph(
            inputs=tuple(GraphInput(own, self.nodes.shapes[own], integers[own]) for own in self.inputs),
            nodes=tuple(self.nodes.nodes.values()),
            outputs=tuple(outputs),
            output_names=tuple(outputs.values()),
            precision=precision,
            predictions=dict.fromkeys(outputs, "identity"),
        )
        used = {item.name for item in graph.weights}
        weights = {name: native for name, native in self.nodes.weights.items() if name in used}
        if unused := [name for name in self.nodes.arrays if name not in weights.values()]:
            self.notes.append(f"nothing the model returns depends on {', '.join(unused)}")
        return Reading(
            graph=graph,
            places=dict(self.nodes.places),
            weights=weights,
            notes=tuple(self.notes),
            values=self.held,
            constants=self.trace.constants,
            inputs=dict(self.inputs),
            outputs=outputs,
        )


def _at(call: Call) -> str:
    return f" at {call.where}" if call.where else ""
