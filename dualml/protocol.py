"""The boundary between the core and a backend: whole models in, NumPy arrays out.

An adapter builds, runs, differentiates and updates a whole model; it never decides what anything means.
Arrays cross the boundary as NumPy arrays in the neutral layout (channels last, dense kernels as
``(inputs, units)``) and in the spec's precision. Arrays that an adapter returns are the caller's own:
later training does not change them, and an adapter never writes into its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dualml.spec.graph import Graph
from dualml.spec.objective import Minimised
from dualml.spec.optimizers import Clipping, Optimizer

Array = NDArray[Any]
Arrays = Mapping[str, Array]
Masks = Mapping[str, NDArray[np.bool_]]
"""For each node that draws, which values are kept: shape ``(examples, *node.random_mask)``, dtype bool."""


@dataclass(frozen=True)
class Batch:
    """Some examples.

    Attributes:
        inputs: Shape ``(examples, *input.shape)``, dtype of the graph's precision, or int64 for an input of whole
            numbers; for a model with several inputs a mapping of their names to such arrays.
        targets: Class numbers, shape ``(examples, *output_shape[:-1])``, int64; or values, shape
            ``(examples, *output_shape)``, dtype of the graph's precision; for a model with several outputs a mapping
            of the outputs' names to such arrays.
        weights: What each example's loss is multiplied by, shape ``(examples,)``, dtype of the graph's precision;
            ``None``: 1.
    """

    inputs: Array | Arrays
    targets: Array | Arrays
    weights: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())) if isinstance(self.inputs, Mapping) else self.inputs)

    def take(self, rows: slice | Array) -> Batch:
        """Some of the examples, by their places."""
        weights = None if self.weights is None else self.weights[rows]
        return Batch(_take(self.inputs, rows), _take(self.targets, rows), weights)


def _take(arrays: Array | Arrays, rows: slice | Array) -> Array | Arrays:
    return {name: array[rows] for name, array in arrays.items()} if isinstance(arrays, Mapping) else arrays[rows]


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do. What is not listed is refused by ``dualml.registry.check`` before anything is built.

    Attributes:
        operations: Kinds of layers, for example ``dense``.
        activations: Kinds of activation functions.
        losses: Kinds of losses.
        optimizers: Kinds of optimizers.
        precisions: Number formats.
        devices: ``cpu``, ``gpu``.
        compiled: Whether ``Network.trainer(compiled=True)`` differs from the eager one.
        native_randomness: Whether dropout can draw its own masks (``randomness: native``).
    """

    operations: frozenset[str]
    activations: frozenset[str]
    losses: frozenset[str]
    optimizers: frozenset[str]
    precisions: frozenset[str] = frozenset({"float32", "float64"})
    devices: frozenset[str] = frozenset({"cpu"})
    compiled: bool = False
    native_randomness: bool = False


@dataclass(frozen=True)
class State:
    """What an optimizer remembers, in the neutral layout.

    Attributes:
        step: Updates done.
        slots: For each of ``optimizer.slots``, an array for each parameter that has it, in the network's precision;
            ``dualml.slots`` says which have, of what shape, and what they are before the first update.
    """

    step: int
    slots: Mapping[str, Arrays] = field(default_factory=dict)


@dataclass(frozen=True)
class Gradients:
    """What one forward and backward pass in training mode gives.

    Attributes:
        loss: The objective: the sum of the examples' losses divided by ``count``, and penalties.
        example_losses: Loss of each example times its weight, shape ``(examples,)``; of several outputs the sum.
        parameters: Gradient of ``loss`` for each parameter, neutral name and layout.
        values: Output of each tapped node, shape ``(examples, *node.shape)``, and of each tapped input.
        values_gradients: Gradient of ``loss`` for each of ``values``; zeros for an input of whole numbers.
        buffers: What every buffer becomes through this pass, by neutral name.
    """

    loss: float
    example_losses: Array
    parameters: dict[str, Array]
    values: dict[str, Array] = field(default_factory=dict)
    values_gradients: dict[str, Array] = field(default_factory=dict)
    buffers: dict[str, Array] = field(default_factory=dict)


class Trainer(Protocol):
    """Updates one network's weights by one optimizer.

    ``step`` is ``Network.gradients`` followed by ``apply`` and by the pass's new buffers, and ``run`` is ``step``
    for each update: bit for bit in eager mode, within rounding when compiled. Where an update has several pieces,
    each piece finds the buffers that the piece before it left.
    """

    @property
    def optimizer(self) -> Any:
        """The native optimizer object."""

    def apply(self, gradients: Arrays, lr: float) -> None:
        """Clip the gradients as the trainer was told to, then do one update with them.

        Args:
            gradients: For every parameter, neutral name and layout.
            lr: Learning rate of this update.
        """

    def step(self, batch: Batch, lr: float, *, masks: Masks | None = None) -> float:
        """One update from one batch; returns its loss before the update."""

    def place(self, batch: Batch) -> Any:
        """Data as the framework holds it, for ``run``; the caller keeps the result and knows nothing of it."""

    def run(
        self, placed: Any, order: NDArray[np.int64], lrs: NDArray[np.float64], *, masks: Masks | None = None
    ) -> NDArray[np.float64]:
        """Many updates without returning to Python for each example, nor for each update where compiled.

        Args:
            placed: What ``place`` returned.
            order: Rows of the data in the order of their use, shape ``(examples,)``. Update ``u`` takes the rows
                ``order[u * update_size : (u + 1) * update_size]``, in pieces of ``batch_size``; the last
                update may be smaller.
            lrs: Learning rate of each update, shape ``(updates,)``.
            masks: Row ``i`` of a mask belongs to ``order[i]``.

        Returns:
            The loss of each update, before it, shape ``(updates,)``, dtype float64.
        """

    def get_state(self) -> State:
        """The optimizer's memory."""

    def set_state(self, state: State) -> None:
        """Replace the optimizer's memory.

        Raises:
            WeightsError: Names or shapes are not those of the network.
        """


class Network(Protocol):
    """One model built in one framework."""

    @property
    def native(self) -> Any:
        """The framework's own model object, which works without dualml; its output is the graph's (logits)."""

    @property
    def graph(self) -> Graph:
        """What it was built from."""

    def get_weights(self) -> dict[str, Array]:
        """All parameters and buffers, neutral names and layout."""

    def set_weights(self, weights: Arrays) -> None:
        """Replace all parameters and buffers.

        Raises:
            WeightsError: A name is missing or unknown, or a shape is wrong; the message lists both sets.
        """

    def forward(
        self, inputs: Array | Arrays, *, training: bool = False, taps: Sequence[str] = (), masks: Masks | None = None
    ) -> dict[str, Array]:
        """Evaluate the model; changes no weight and no buffer.

        Args:
            inputs: As in ``Batch``.
            training: Whether random layers are active and norms use the batch's statistics; the mode of ``native``
                is afterwards what it was.
            taps: Nodes (or inputs) whose values are wanted beside the outputs.
            masks: Dropout masks; needed in training mode unless randomness is native.

        Returns:
            The values of the tapped nodes and of ``graph.outputs``, by node name.

        Raises:
            ValueError: A tap is no node, or masks are missing; these are mistakes of the caller's code.
        """

    def predict(self, inputs: Array | Arrays, *, output: str | None = None) -> Array:
        """Predictions in inference mode: the framework's softmax or sigmoid of an output, or the output itself.

        Args:
            inputs: As in ``Batch``.
            output: Name of an output node; ``None``: the main one.
        """

    def gradients(
        self,
        batch: Batch,
        loss: Minimised,
        *,
        masks: Masks | None = None,
        taps: Sequence[str] = (),
        count: int | None = None,
    ) -> Gradients:
        """One forward and backward pass in training mode; changes no weight and no buffer.

        Args:
            batch: The examples.
            loss: What is differentiated.
            masks: Dropout masks; needed unless randomness is native.
            taps: Nodes (or inputs) whose values and gradients are wanted.
            count: What the sum of the examples' losses is divided by; ``None``: their number, or what the loss says.
        """

    def input_gradients(self, inputs: Array | Arrays, slopes: Arrays) -> dict[str, Array]:
        """Gradients for the inputs in inference mode: ``sum(slopes[o] * o)`` over outputs ``o``, differentiated.

        Args:
            inputs: As in ``Batch``.
            slopes: For one or more of ``graph.outputs``, by node name: what each of its values counts, shape
                ``(examples, *output_shape)``, dtype of the graph's precision.

        Returns:
            For every input by name, shape ``(examples, *input.shape)``, dtype of the graph's precision; zeros for an
            input of whole numbers.
        """

    def trainer(
        self,
        loss: Minimised,
        optimizer: Optimizer,
        *,
        batch_size: int,
        update_size: int | None = None,
        clip: Clipping | None = None,
        compiled: bool = True,
    ) -> Trainer:
        """A trainer of this network.

        Args:
            loss: What is minimised.
            optimizer: How, every setting filled in.
            batch_size: Most examples in one forward and backward pass.
            update_size: Most examples in one update (gradient accumulation); ``None``: ``batch_size``.
            clip: Gradient clipping, every setting filled in.
            compiled: Use the framework's compiler or fused kernels for updates where the backend has some.
        """

    def seed(self, seed: int) -> None:
        """Seed the framework's own random numbers, where the network uses them (``randomness: native``)."""


@runtime_checkable
class Backend(Protocol):
    """A framework. Plugs in by an entry point of the group ``dualml.backends`` that names such an object."""

    @property
    def name(self) -> str:
        """What ``backend:`` in a config says."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    def versions(self) -> dict[str, str]:
        """Versions of the framework's packages, by package name."""

    def build(self, graph: Graph, weights: Arrays, *, device: str = "cpu", native_randomness: bool = False) -> Network:
        """Build a native model.

        Args:
            graph: What to build.
            weights: First values of all parameters and buffers, neutral names and layout.
            device: ``cpu`` or ``gpu``.
            native_randomness: Use the framework's stock dropout with its own masks.

        Raises:
            UnsupportedError: The graph needs what ``capabilities`` does not list.
        """


@runtime_checkable
class AdoptingBackend(Protocol):
    """A backend that can take over a model which the user already has, for ``dualml.diff``."""

    def owns(self, model: object) -> bool:
        """Whether an object is a model of this framework; imports nothing that is not imported already."""

    def adopt(self, model: Any, loss: Any = None, optimizer: Any = None) -> Any:
        """Take over a copy of a model; the user's own objects stay as they are.

        Args:
            model: A model of the framework.
            loss: Its loss, as the framework's users write it.
            optimizer: Its optimizer, as the framework's users write it.

        Returns:
            A ``dualml.native.protocol.NativeModel``.

        Raises:
            ParityError: The loss or the optimizer does not belong to the model, or is not one of the framework.
        """
