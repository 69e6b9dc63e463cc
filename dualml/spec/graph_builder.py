"""From a model to its graph: names, wiring, shapes, parameters; composite layers expanded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dualml.errors import SpecError
from dualml.spec.graph import Buffer, Graph, GraphInput, Node, Parameter, Precision, Prediction
from dualml.spec.layers import Activation, Block, Composite, Group, Layer, Shape, Shared
from dualml.spec.model import INPUT, Model
from dualml.spelling import dotted, nearest

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class GraphProblem:
    """One thing that does not fit: ``location`` is the path of the config key at fault."""

    location: Location
    message: str


@dataclass
class _Scope:
    """Layers that see each other by name.

    Attributes:
        prefix: What the names of its nodes begin with.
        location: Where its list of layers stands in the config, or the layer that expands to it.
        listed: Whether ``location`` is a list, so that a layer's own location has its place in it.
        outer: The scope around it, whose names are seen as well.
        ends: Last node of each layer (or model input) by its name in this scope.
        layers: Each layer by its name in this scope.
        copied: The prefix of the nodes whose parameters it uses, if it stands for a shared layer.
    """

    prefix: str
    location: Location
    listed: bool
    outer: _Scope | None
    ends: dict[str, str | None] = field(default_factory=dict)  # None: unknown after an error
    layers: dict[str, Layer] = field(default_factory=dict)
    copied: str | None = None

    def find(self, name: str) -> _Scope | None:
        """The innermost scope that knows a name."""
        scope: _Scope | None = self
        while scope is not None and name not in scope.ends:
            scope = scope.outer
        return scope

    def place(self, index: int, layer: Layer) -> Location:
        """Where one of its layers stands."""
        return (*self.location, index, layer.kind) if self.listed else self.location


def _unchanged(layer: Layer) -> Layer:
    return layer


@dataclass
class _Builder:
    model: Model
    complete: Callable[[Layer], Layer] = _unchanged
    shapes: dict[str, Shape] = field(default_factory=dict)
    integers: set[str] = field(default_factory=set)
    nodes: dict[str, Node] = field(default_factory=dict)
    problems: list[GraphProblem] = field(default_factory=list)
    last_layer: str = ""

    def problem(self, location: Location, message: str) -> None:
        self.problems.append(GraphProblem(location, message))

    def run(self) -> tuple[str, ...]:
        """Build everything; returns the names of the output nodes."""
        scope = _Scope("", ("layers",), listed=True, outer=None)
        for name, item in self.model.all_inputs.items():
            scope.ends[name] = name
            self.shapes[name] = item.shape
            if item.dtype == "integer":
                self.integers.add(name)
        before = next(iter(scope.ends)) if len(scope.ends) == 1 else None
        last = self.build(self.model.layers, scope, before)
        outputs = self.outputs(scope, last)
        if not self.problems:
            self.unused_inputs()
        return outputs

    def outputs(self, scope: _Scope, last: str | None) -> tuple[str, ...]:
        if self.model.outputs is None:
            self.last_layer = next(reversed(scope.layers))
            return () if last is None else (last,)
        found = []
        for index, name in enumerate(self.model.outputs):
            end = scope.ends.get(name) if name in scope.layers else None
            if name not in scope.layers:
                self.problem(("outputs", index), f"no layer is named {name!r}{nearest(name, scope.layers)}")
            elif end in found:
                self.problem(("outputs", index), f"{name!r} is listed twice; keep one")
            elif end is not None:
                found.append(end)
        return tuple(found)

    def unused_inputs(self) -> None:
        fed = {source for node in self.nodes.values() for source in node.inputs}
        for name in self.model.all_inputs:
            if name not in fed:
                where = ("input",) if self.model.inputs is None else ("inputs", name)
                self.problem(where, f"nothing uses the input {name!r}; feed it to a layer or remove it")

    def names(self, layers: Sequence[Layer], scope: _Scope) -> list[str]:
        """The name of every layer in its scope: its own, or its kind and a running number."""
        inputs = set(scope.ends)
        taken = set(inputs)
        for index, layer in enumerate(layers):
            if layer.name is None:
                continue
            if layer.name in taken:
                why = "is a model input" if layer.name in inputs else "names another layer"
                if layer.name == INPUT:
                    why = "is the model's input"
                self.problem((*scope.place(index, layer), "name"), f"{layer.name!r} {why}; names must be unique")
            taken.add(layer.name)
        counts: dict[str, int] = {}
        names = []
        for layer in layers:
            name = layer.name
            while name is None or (layer.name is None and name in taken):
                counts[layer.kind] = counts.get(layer.kind, 0) + 1
                name = f"{layer.kind}_{counts[layer.kind]}"
            taken.add(name)
            names.append(name)
        return names

    def build(self, layers: Sequence[Layer], scope: _Scope, before: str | None) -> str | None:
        """Build some layers; returns the last node, ``None`` after an error."""
        names = self.names(layers, scope)
        first = len(self.nodes)
        for index, (layer, name) in enumerate(zip(layers, names, strict=True)):
            location = scope.place(index, layer)
            sources = self.sources(layer, location, scope, before, names)
            end = None if sources is None else self.layer(layer, name, location, scope, sources)
            scope.ends[name], scope.layers[name] = end, layer
            before = end
        if not self.problems:
            self.unused_layers(layers, names, scope, first)
        return before

    def unused_layers(self, layers: Sequence[Layer], names: Sequence[str], scope: _Scope, first: int) -> None:
        fed = {source for node in list(self.nodes.values())[first:] for source in node.inputs}
        outputs = (self.model.outputs if scope.outer is None else None) or names[-1:]
        for index, (layer, name) in enumerate(zip(layers, names, strict=True)):
            if scope.ends[name] not in fed and name not in outputs:
                self.problem(
                    (*scope.place(index, layer), "name"),
                    f"nothing uses layer {name!r}; feed it to a later layer or remove it",
                )

    def sources(
        self, layer: Layer, location: Location, scope: _Scope, before: str | None, names: Sequence[str]
    ) -> list[str] | None:
        """The nodes that feed a layer; ``None`` after an error, here or in one of them."""
        given = layer.inputs
        wanted = [] if given is None else [given] if isinstance(given, str) else list(given)
        named = [("inputs", name) for name in wanted]
        for key in layer.references:
            value = getattr(layer, key)
            named += [(key, value)] if value is not None else []
        found: list[str | None] = [before] if given is None else []
        for key, source in named:
            holder = scope.find(source)
            if holder is None:
                known = {name: None for outer in _around(scope) for name in outer.ends}
                message = (
                    f"{source!r} comes later; a layer's inputs must stand before"
                    if source in names
                    else f"no layer is named {source!r}{nearest(source, known)}"
                )
                self.problem((*location, key), message)
                return None
            found.append(holder.ends[source])
        count = len(wanted) if given is not None else 1
        fewest, most = layer.fewest_inputs, layer.most_inputs
        if count < fewest or (most is not None and count > most):
            number = (
                f"exactly {fewest}" if fewest == most else f"at least {fewest}" if count < fewest else f"at most {most}"
            )
            hint = "; name them: inputs: [a, b]" if given is None else ""
            plural = "s" * (max(fewest, most or 0) > 1)
            self.problem((*location, "inputs"), f"takes {number} input{plural}, got {count}{hint}")
            return None
        if given is None and before is None and not self.problems:
            inputs = ", ".join(self.model.all_inputs)
            self.problem((*location, "inputs"), f"the model has several inputs: say which feeds this layer ({inputs})")
        return None if None in found else [name for name in found if name is not None]

    def layer(self, layer: Layer, name: str, location: Location, scope: _Scope, sources: list[str]) -> str | None:
        """Build one layer; returns its last node, ``None`` after an error."""
        full = f"{scope.prefix}{name}"
        try:
            if isinstance(layer, Block):
                raise ValueError("a block of a file is replaced when the file is read; in Python, call a function")
            if isinstance(layer, Shared):
                return self.shared(layer, full, location, scope, sources)
            if isinstance(layer, Composite):
                return self.composite(layer, full, location, scope, sources)
            return self.node(layer, full, location, scope, sources)
        except ValueError as error:
            self.problem(location, f"layer {full!r}: {error}")
            return None

    def composite(
        self, layer: Composite, full: str, location: Location, scope: _Scope, sources: list[str]
    ) -> str | None:
        shapes = tuple(self.shapes[source] for source in sources)
        inner = tuple(self.complete(item) for item in layer.expand(shapes))
        if isinstance(layer, Group):
            shortcut = isinstance(scope.layers.get("main"), Group) and layer.name == "shortcut" and not scope.listed
            place, listed = (*location, "shortcut" if shortcut else "layers"), True
        else:
            place, listed = location, False
        copied = None if scope.copied is None else scope.copied + full[len(scope.prefix) :] + "_"
        within = _Scope(f"{full}_", place, listed, scope, copied=copied)
        within.ends.update(zip(layer.input_names, sources, strict=False))
        return self.build(inner, within, sources[0])

    def shared(self, layer: Shared, full: str, location: Location, scope: _Scope, sources: list[str]) -> str | None:
        holder = scope.find(layer.layer)
        if holder is None or layer.layer not in holder.layers:
            known = {name: None for outer in _around(scope) for name in outer.layers}
            self.problem(
                (*location, "layer"), f"no earlier layer is named {layer.layer!r}{nearest(layer.layer, known)}"
            )
            return None
        target = holder.layers[layer.layer]
        if isinstance(target, Shared):
            self.problem((*location, "layer"), f"{layer.layer!r} is itself shared: name the layer it shares")
            return None
        if holder.ends[layer.layer] is None:  # it is wrong itself
            return None
        # The target is built again under this name; its nodes find their owners under the name it had.
        inside = _Scope(full, location, False, holder, copied=f"{holder.prefix}{layer.layer}")
        if isinstance(target, Composite):
            return self.composite(target, full, location, inside, sources)
        return self.node(target, full, location, inside, sources)

    def node(self, layer: Layer, full: str, location: Location, scope: _Scope, sources: list[str]) -> str:
        path = dotted(("model", *location[:-1])) if scope.listed else dotted(("model", *location))
        self.check_integers(layer, sources)
        owner = None
        if scope.copied is not None:
            owner = self.nodes[scope.copied + full[len(scope.prefix) :]]
        self.append(full, layer, sources, path, scope, owner)
        function = getattr(layer, "activation", None)
        if function is None:
            return full
        end = f"{full}_{function.kind}"
        while end in self.shapes or end in {f"{scope.prefix}{name}" for name in scope.layers}:
            end += "_"
        self.append(end, Activation(function=function), [full], path, scope, None)
        return end

    def check_integers(self, layer: Layer, sources: list[str]) -> None:
        """Refuse whole numbers where values are read, and the reverse."""
        integer = sources[0] in self.integers
        if integer and not layer.takes_integers:
            raise ValueError(
                f"the input {sources[0]!r} holds whole numbers, which {layer.kind} cannot read; put an embedding "
                "between them, or give the input dtype: float"
            )
        if layer.takes_integers and not integer:
            raise ValueError(
                f"{layer.kind} reads whole numbers straight from a model input, but {sources[0]!r} holds values; "
                "give the input as {shape: ..., dtype: integer}"
            )
        late = [source for source in sources[1:] if source in self.integers]
        if late:
            raise ValueError(f"the input {late[0]!r} holds whole numbers, which {layer.kind} cannot read here")

    def append(
        self, name: str, settings: Layer, sources: list[str], path: str, scope: _Scope, owner: Node | None
    ) -> None:
        if name in self.shapes:
            raise ValueError(f"its name in the graph, {name!r}, is taken by another layer; rename one of them")
        shapes = tuple(self.shapes[source] for source in sources)
        tied = self.tied(settings, scope)
        known = (*shapes, *(parameter.shape for parameter in tied))
        parameters = tuple(
            Parameter(f"{name}.{item.role}", item.role, item.shape, item.initializer, item.fan_in, item.fan_out)
            for item in settings.parameters(known)
        )
        buffers = tuple(
            Buffer(f"{name}.{item.role}", item.role, item.shape, item.value) for item in settings.buffers(shapes)
        )
        if owner is not None and (parameters or tied):
            if owner.buffers:
                raise ValueError(
                    f"{owner.name!r} keeps running statistics, which two inputs cannot share; give each its own layer"
                )
            if owner.random_mask is not None:
                raise ValueError(
                    f"{owner.name!r} drops values inside at random, and two uses of one layer cannot have a mask each; "
                    "set its rate to 0 (attention_rate of a transformer block), or give each its own layer"
                )
            if [item.shape for item in owner.parameters] != [item.shape for item in (*parameters, *tied)]:
                raise ValueError(
                    f"it shares the parameters of {owner.name!r}, whose input has shape {list(owner.input_shapes[0])}; "
                    f"got an input of shape {list(shapes[0])}"
                )
            parameters, tied, holder = owner.parameters, (), owner.owner
        else:
            holder = name
        self.nodes[name] = Node(
            name=name,
            operation=settings.kind,
            settings=settings,
            inputs=tuple(sources),
            input_shapes=shapes,
            shape=settings.shape(known),
            parameters=(*parameters, *tied),
            buffers=buffers,
            owner=holder,
            random_mask=settings.random_mask(shapes),
            path=path,
        )
        self.shapes[name] = self.nodes[name].shape

    def tied(self, settings: Layer, scope: _Scope) -> tuple[Parameter, ...]:
        """The parameters of other layers that a layer uses."""
        found = []
        for role, (layer, role_there) in settings.tied().items():
            holder = scope.find(layer)
            node = self.nodes.get(f"{holder.prefix}{layer}") if holder is not None else None
            parameter = None if node is None else node.parameter(role_there)
            if parameter is None:
                known = {name for outer in _around(scope) for name in outer.layers}
                raise ValueError(
                    f"it is tied to {layer!r}, but no earlier layer of that name has a {role_there}"
                    f"{nearest(layer, known)}"
                )
            found.append(replace(parameter, role=role))
        return tuple(found)


def _around(scope: _Scope) -> list[_Scope]:
    """A scope and those around it."""
    scopes = [scope]
    while scopes[-1].outer is not None:
        scopes.append(scopes[-1].outer)
    return scopes


def layer_names(model: Model) -> list[str]:
    """The name of every layer: its own, or its kind and a running number."""
    scope = _Scope("", ("layers",), listed=True, outer=None, ends=dict.fromkeys(model.all_inputs))
    return _Builder(model).names(model.layers, scope)


def graph_problems(model: Model, complete: Callable[[Layer], Layer] = _unchanged) -> list[GraphProblem]:
    """Everything that does not fit in a model's graph: names, inputs, shapes."""
    builder = _Builder(model, complete)
    builder.run()
    return builder.problems


def build_graph(
    model: Model,
    precision: Precision,
    predictions: Sequence[Prediction],
    complete: Callable[[Layer], Layer] = _unchanged,
) -> Graph:
    """Work out a model's graph.

    Args:
        model: The model, every default filled in.
        precision: Number format of weights and arithmetic.
        predictions: What turns each output into a prediction, in their order.
        complete: Fills in every default of a layer that a composite layer expands to.

    Raises:
        SpecError: Names, inputs or shapes do not fit; the message holds every problem.
    """
    builder = _Builder(model, complete)
    outputs = builder.run()
    if builder.problems:
        lines = [f"model.{dotted(problem.location)}: {problem.message}" for problem in builder.problems]
        raise SpecError("\n".join(lines))
    inputs = tuple(GraphInput(name, item.shape, item.dtype == "integer") for name, item in model.all_inputs.items())
    labels = model.outputs or (builder.last_layer,)
    nodes = tuple(builder.nodes.values())
    return Graph(inputs, nodes, outputs, labels, precision, dict(zip(outputs, predictions, strict=True)))
