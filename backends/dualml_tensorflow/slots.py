"""Between an optimizer's neutral slots and the variables of Keras optimizers, whose layout is neutral already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from dualml.protocol import Array, State
from dualml.slots import check_state, slot_shapes
from dualml.spec.graph import Graph
from dualml.spec.optimizers import AVERAGE, Optimizer
from dualml_tensorflow.formulas import Formula

_MOMENTS = {"first_moment": "_momentums", "second_moment": "_velocities"}

STOCK: Mapping[type, Mapping[str, str]] = {
    keras.optimizers.SGD: {"momentum": "momentums"},
    keras.optimizers.Adam: {**_MOMENTS, "largest_second_moment": "_velocity_hats"},
    keras.optimizers.AdamW: {**_MOMENTS, "largest_second_moment": "_velocity_hats"},
    keras.optimizers.Nadam: {**_MOMENTS, "momentum_product": "_u_product"},
    keras.optimizers.Adamax: {"first_moment": "_m", "largest_gradient": "_u"},
    keras.optimizers.RMSprop: {
        "mean_square": "_velocities",
        "mean_gradient": "_average_gradients",
        "momentum": "_momentums",
    },
    keras.optimizers.Adagrad: {"sum_of_squares": "_accumulators"},
    keras.optimizers.Adadelta: {
        "mean_square": "_accumulated_grads",
        "mean_square_step": "_accumulated_delta_vars",
    },
    keras.optimizers.Lion: {"momentum": "_momentums"},
    keras.optimizers.Adafactor: {"row_variance": "_r", "column_variance": "_c", "variance": "_v"},
    keras.optimizers.Muon: {
        "momentum": "momentums",
        "first_moment": "momentums",
        "second_moment": "adam_velocities",
    },
}
"""The attribute of each stock optimizer that holds a slot: a list in the order of the variables, or one for all."""


def slot_variables(
    optimizer: Any, settings: Optimizer, graph: Graph, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The Keras variable of each slot and parameter.

    Args:
        optimizer: A built optimizer.
        settings: What it was built from.
        graph: The model.
        names: Names of the parameters, in the order in which it was built.
    """
    found: dict[str, dict[str, Any]] = {}
    for slot, shapes in slot_shapes(settings, graph).items():
        if not shapes:  # a slot of matrices, say, in a model of vectors
            held = []
        elif slot == AVERAGE:
            held = optimizer._model_variables_moving_average
        elif isinstance(optimizer, Formula):
            held = optimizer.memory[slot]
        else:
            held = getattr(optimizer, STOCK[type(optimizer)][slot])
        alone = not isinstance(held, Sequence)  # Nadam's product of momenta
        found[slot] = {name: held if alone else held[place] for place, name in enumerate(names) if name in shapes}
    return found


def get_state(optimizer: Any, variables: Mapping[str, Mapping[str, Any]]) -> State:
    """An optimizer's memory: copies of its slots."""
    slots: dict[str, dict[str, Array]] = {
        slot: {name: np.array(variable.value.numpy()) for name, variable in held.items()}
        for slot, held in variables.items()
    }
    return State(int(optimizer.iterations.numpy()), slots)


def set_state(
    optimizer: Any, variables: Mapping[str, Mapping[str, Any]], settings: Optimizer, graph: Graph, state: State
) -> None:
    """Replace an optimizer's memory.

    Raises:
        WeightsError: Names or shapes are not those of the model; nothing has been changed.
    """
    check_state(state, settings, graph)
    for slot, held in variables.items():
        for name, variable in held.items():
            variable.assign(np.asarray(state.slots[slot][name], dtype=variable.dtype))
    optimizer.iterations.assign(state.step)
