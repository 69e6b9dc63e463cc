"""Each recorded array against the float64 reference, in units of its own rounding bound.

``rho = |recorded - reference| / bound``, where the reference is evaluated from what the side itself recorded
just before (a node's inputs, its output's gradient, the state before the update). So an error is charged to
the node that made it, and ``rho <= 1`` is certified agreement: a bound decides, not a tolerance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualml import reference
from dualml.parity.records import Key, Record, recorded_batch
from dualml.protocol import Array, Gradients, State
from dualml.spec.config import Spec
from dualml.training.plan import dropout_masks

LIMIT = 1.0
"""The largest rho a correct implementation can have."""


@dataclass(frozen=True)
class Judgement:
    """How one recorded array compares with the reference.

    Attributes:
        rho: Largest error in units of its bound; infinite where one of the two alone is finite.
        undefined: Values that are not finite in the reference, or too large for the working precision, and so were not
            judged.
    """

    rho: float
    undefined: int = 0


def judge(record: Record, spec: Spec, update_size: int, lr: float) -> dict[Key, Judgement]:
    """Judge everything recorded in one update.

    Args:
        record: A full record.
        spec: The resolved spec, in the precision of the record.
        update_size: Most examples in one update, for the random masks.
        lr: Learning rate the spec gives this update.

    Returns:
        A judgement for each forward, loss, backward, update, state and prediction array.
    """
    graph, arrays = spec.graph, record.arrays
    unit = reference.unit_roundoff(spec.precision)
    weights = record.parameters("before")
    batch = recorded_batch(graph, arrays)
    objective, targets = spec.objective, graph.named_targets(batch.targets)
    given = graph.named_inputs(batch.inputs)
    masks = dropout_masks(graph, spec, record.step - 1, len(batch), update_size)
    values = {node.name: arrays[Key("forward", node.name, "training")] for node in graph.nodes}
    found: dict[Key, Judgement] = {}

    # The reference rounds as well, within the same bound at the unit of float64: twice the bound there, hardly more
    # than the bound in float32.
    widened = 1.0 + reference.unit_roundoff("float64") / unit
    largest = float(np.finfo(spec.precision).max)

    def compare(key: Key, wanted: Array, bound: Array) -> None:
        found[key] = judgement(arrays[key], wanted, bound * widened, largest=largest)

    for node in graph.nodes:
        for tensor, training in (("inference", False), ("training", True)):
            sources = [given[name] if name in given else arrays[Key("forward", name, tensor)] for name in node.inputs]
            mask = (masks or {}).get(node.name) if training else None
            wanted = reference.node_forward(node, weights, sources, training=training, mask=mask)
            bound = reference.forward_bound(node, weights, sources, training=training, mask=mask, unit=unit)
            compare(Key("forward", node.name, tensor), wanted, bound)

    outputs = {name: values[name] for name in graph.outputs}
    scored = reference.objective_value(objective, outputs, targets, batch.weights, None)
    bounds_of = reference.objective_bound(objective, outputs, targets, batch.weights, None, unit=unit)
    compare(Key("loss", graph.output, "examples"), scored.examples, bounds_of.examples)
    value = np.array(scored.value + reference.penalties(objective, graph, weights))
    added = reference.penalties_bound(objective, graph, weights, scored.value, unit=unit)
    compare(Key("loss", graph.output, "value"), value, np.array(bounds_of.value + added))

    passed_on = {name: arrays[Key("backward", name, "gradient")] for name in graph.names}
    parameters = {item.name: arrays[Key("backward", *item.name.rsplit(".", 1))] for item in graph.parameters}
    recorded = Gradients(0.0, scored.examples, parameters, values, passed_on)
    local = reference.local_gradients(graph, weights, batch, objective, recorded, masks=masks, unit=unit)
    for name, array in local.buffers.items():
        compare(Key("buffers", *name.rsplit(".", 1)), array, local.buffer_bounds[name])
    for name, gradient in local.values.items():
        compare(Key("backward", name, "gradient"), gradient, local.value_bounds[name])
    for name, gradient in local.parameters.items():
        compare(Key("backward", *name.rsplit(".", 1)), gradient, local.parameter_bounds[name])

    state = State(record.facts["optimizer_step"], record.slots("before_state"))
    trained = {item.name: weights[item.name] for item in graph.parameters}
    arguments = (spec.optimizer, spec.train.clip, trained, parameters, state, lr)
    moved, after = reference.apply(*arguments)
    bounds, slot_bounds = reference.apply_bounds(*arguments, unit=unit)
    for name, wanted in moved.items():
        compare(Key("update", *name.rsplit(".", 1)), wanted, bounds[name])
    for slot, slot_arrays in after.slots.items():
        for name, wanted in slot_arrays.items():
            node_name, role = name.rsplit(".", 1)
            compare(Key("state", node_name, f"{slot}.{role}"), wanted, slot_bounds[slot][name])

    # Softmax is judged on the side's own outputs after the update; the layers before it are the forward rung's.
    for name in graph.outputs:
        kind, output = graph.predictions[name], arrays[Key("prediction", name, "output")]
        wanted, bound = reference.predictions(kind, output), reference.predictions_bound(kind, output, unit)
        compare(Key("prediction", name, kind), wanted, bound)
    return found


def judgement(recorded: Array, wanted: Array, bound: Array, *, largest: float = np.inf) -> Judgement:
    """Compare one array with what the reference wants.

    Args:
        recorded: What a backend gave.
        wanted: Float64, of the same shape.
        bound: How far rounding may move each value.
        largest: Values of ``wanted`` beyond it are not judged: the working precision cannot hold them.
    """
    if recorded.shape != wanted.shape:
        return Judgement(float("inf"))
    values, wanted, bound = (np.atleast_1d(array).astype(np.float64) for array in (recorded, wanted, bound))
    # Where the true value does not fit into the working precision, a correct implementation overflows.
    defined = (np.abs(wanted) <= largest) & np.isfinite(wanted) & np.isfinite(bound)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.abs(values - wanted) / bound
    rho[values == wanted] = 0.0  # also where the bound is 0
    rho[~np.isfinite(values)] = np.inf  # NaN would pass every comparison with a limit
    rho = rho[defined]
    return Judgement(float(rho.max()) if rho.size else 0.0, int(defined.size - defined.sum()))
