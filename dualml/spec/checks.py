"""What a spec must fulfil beyond the types of its settings: shapes that fit, settings that go together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dualml.spec.graph_builder import graph_problems, layer_names
from dualml.spec.losses import Loss
from dualml.spec.metric_checks import metric_problems
from dualml.spelling import nearest

if TYPE_CHECKING:
    from dualml.spec.config import Conventions, Spec
    from dualml.spec.graph import Graph
    from dualml.spec.model import Model

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class SpecProblem:
    """One thing that is wrong: the location of the key at fault, and a sentence."""

    location: Location
    message: str


def model_problems(model: Model, conventions: Conventions = "torch") -> list[SpecProblem]:
    """What does not fit together in a model's graph."""
    from dualml.conventions import PRESETS, fill

    complete = partial(fill, preset=PRESETS[conventions])
    found = graph_problems(complete(model), complete)
    return [SpecProblem(("model", *item.location), item.message) for item in found]


def _loss_locations(spec: Spec) -> list[Location]:
    if spec.losses is None:
        return [("loss",)]
    return [("losses", name) for name in spec.model.outputs or spec.losses]


def _output_problems(spec: Spec) -> list[SpecProblem]:
    """Losses and outputs that do not belong together."""
    outputs = spec.model.outputs
    if spec.losses is None:
        if outputs is not None and len(outputs) > 1:
            message = f"the model has several outputs: give losses, one for each of {', '.join(outputs)}"
            return [SpecProblem(("loss",), message)]
        return []
    if outputs is None:
        if len(spec.losses) > 1:
            return [SpecProblem(("model", "outputs"), f"name the layers that losses are for: {list(spec.losses)}")]
        (name,), last = spec.losses, layer_names(spec.model)[-1]
        if name != last:
            message = f"the output is the last layer, {last!r}; give its name, or name {name!r} in model.outputs"
            return [SpecProblem(("losses", name), message)]
        return []
    missing = [name for name in outputs if name not in spec.losses]
    unknown = [name for name in spec.losses if name not in outputs]
    problems = [SpecProblem(("losses",), f"no loss for the output {name!r}; add one") for name in missing]
    for name in unknown:
        message = f"{name!r} is not among model.outputs{nearest(name, outputs)}"
        problems.append(SpecProblem(("losses", name), message))
    return problems


def _regularizer_problems(spec: Spec) -> list[SpecProblem]:
    """Regularisers that are for no parameter."""
    problems = []
    for index, regularizer in enumerate(spec.regularizers):
        try:
            regularizer.check(item.name for item in spec.graph.parameters)
        except ValueError as error:
            problems.append(SpecProblem(("regularizers", index, regularizer.kind, "scope"), str(error)))
    return problems


_ONE_LABEL = ("digits", "idx", "fashion_mnist")
"""Data sources with one label for each example."""


def _loss_problems(spec: Spec, loss: Loss, location: Location, output: tuple[int, ...]) -> list[SpecProblem]:
    """What keeps a loss from taking an output of this shape."""
    try:
        loss.check_output(output)
    except ValueError as error:
        return [SpecProblem(location, str(error))]
    if loss.target != "class":
        return []
    if len(output) > 1 and spec.data is not None and spec.data.source in _ONE_LABEL:
        message = (
            f"{loss.kind} needs one row of logits for each example, because data has one label for each, but "
            f"the last layer's output has shape {list(output)}; add a flatten before the last dense layer"
        )
        return [SpecProblem(location, message)]
    if output[-1] < 2:
        message = (
            f"{loss.kind} needs 2 or more classes, but the last layer's output has shape {list(output)}; "
            "give the last layer one unit for each class"
        )
        return [SpecProblem(location, message)]
    return []


def _initializer_problems(graph: Graph) -> list[SpecProblem]:
    """Initializers that cannot draw a parameter of the shape it has."""
    problems = []
    for parameter in graph.parameters:
        message = parameter.initializer.problem(parameter.shape)
        if message is not None:
            found = f"{parameter.name} has shape {list(parameter.shape)}: {message}"
            problems.append(SpecProblem(("model", "layers"), found))
    return problems


def spec_problems(spec: Spec) -> list[SpecProblem]:
    """Everything wrong with a spec whose settings have the right types."""
    problems = model_problems(spec.model, spec.conventions)
    unmatched = _output_problems(spec)
    if unmatched:  # what the losses imply cannot be worked out
        return problems + unmatched
    resolved = spec.resolved
    if not problems:
        graph = spec.graph
        if not graph.parameters:
            problems.append(SpecProblem(("model", "layers"), "hold no parameters to train; add a dense layer"))
        problems += _initializer_problems(graph)
        for term, location in zip(spec.objective.terms, _loss_locations(spec), strict=True):
            problems += _loss_problems(spec, term.loss, location, graph.by_name[term.output].shape)
        problems += _regularizer_problems(spec)
    optimizer = resolved.optimizer
    shapes = {} if problems else {item.name: item.shape for item in spec.graph.parameters}
    for location, message in optimizer.problems(shapes):
        if shapes or "groups" not in location:
            problems.append(SpecProblem(("optimizer", optimizer.kind, *location), message))
    classes = None if problems else spec.graph.output_shape[-1]
    problems += [SpecProblem(*found) for found in metric_problems(spec, classes)]
    return problems
