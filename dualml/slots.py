"""What an optimizer's memory must look like for a model: which slots each parameter has, their shapes, their start."""

from __future__ import annotations

import numpy as np

from dualml.errors import WeightsError
from dualml.protocol import Array, State
from dualml.spec.graph import Graph
from dualml.spec.optimizers import Optimizer
from dualml.weights import check_arrays

Shape = tuple[int, ...]


def slot_shapes(optimizer: Optimizer, graph: Graph) -> dict[str, dict[str, Shape]]:
    """Neutral shape of every array of an optimizer's memory, by slot and parameter.

    A slot that a parameter does not have is not there: a bias has no ``row_variance``.
    """
    shapes: dict[str, dict[str, Shape]] = {slot: {} for slot in optimizer.slots}
    for parameter in graph.parameters:
        for slot, shape in optimizer.slot_shapes(parameter.name, parameter.shape).items():
            shapes[slot][parameter.name] = shape
    return shapes


def start_state(optimizer: Optimizer, graph: Graph) -> State:
    """The memory before the first update, in the graph's precision: zeros, or what ``slot_start`` says."""
    slots: dict[str, dict[str, Array]] = {
        slot: {
            name: np.full(shape, optimizer.slot_start(slot), dtype=graph.precision) for name, shape in shapes.items()
        }
        for slot, shapes in slot_shapes(optimizer, graph).items()
    }
    return State(0, slots)


def check_state(state: State, optimizer: Optimizer, graph: Graph, what: str = "the optimizer's state") -> None:
    """Refuse a memory that another optimizer or another model left behind.

    Args:
        state: What is to be put in place.
        optimizer: Every setting filled in.
        graph: The model.
        what: What the message calls the state.

    Raises:
        WeightsError: A slot is missing or unknown, or an array in a slot is, or has a wrong shape. A slot that no
            parameter has may be missing.
    """
    shapes = slot_shapes(optimizer, graph)
    needed = {slot for slot, of_parameters in shapes.items() if of_parameters}
    if not needed <= set(state.slots) <= set(shapes):
        raise WeightsError(
            f"{what} must hold exactly the slots {', '.join(optimizer.slots) or 'none'}, "
            f"got {', '.join(state.slots) or 'none'}; is it of another optimizer?"
        )
    for slot, of_parameters in shapes.items():
        check_arrays(state.slots.get(slot, {}), of_parameters, f"{what}, slot {slot!r}")
