"""The boundary between the core and an adapter for a model that the user already has.

An adapter runs the user's own model as it stands and says what it called, in the terms of ``dualml.spec``;
it never decides whether two things mean the same. Arrays cross as NumPy arrays: values with the axes the
framework has them in, weights in the neutral layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from dualml.protocol import Array, Arrays, State
from dualml.spec.objective import Minimised
from dualml.spec.optimizers import Optimizer

Precision = Literal["float32", "float64"]

Reduction = Literal["mean", "positions", "values"]
"""What a loss does with the numbers of a batch."""

OPAQUE = "opaque"
"""Kind of a call that no layer of the catalogue stands for: it can be run and compared, but has no formula."""


@dataclass(frozen=True)
class Value:
    """An array that flows through a model.

    Attributes:
        key: Its number, unique in the trace and the same in every run of the same model.
        shape: Its shape as the framework has it, with the batch axis.
        integer: Whether it holds whole numbers.
    """

    key: int
    shape: tuple[int, ...]
    integer: bool = False


@dataclass(frozen=True)
class Call:
    """One operation that a model did, in the order of execution.

    A stock layer with something fused in (an activation, a softmax) is several calls where the values between them
    can be had, so that each is one operation; a stock layer without a formula of its own here is ``opaque``.

    Attributes:
        name: Where it is in the model: the layer's path (``features.4``), its path and what is fused into it
            (``dense.activation``), or for a function its name and number (``relu_2``); unique in the trace.
        kind: Kind of a layer of ``dualml.spec.layers`` (``conv2d``, ``batch_norm``, ``activation``, ``add`` …);
            ``permute``, ``reshape`` and ``flatten`` with ``settings`` as below; ``identity`` for what changes no
            value (dropout in inference is not one: it is ``dropout``); or ``opaque``.
        settings: The layer's settings, every one filled in, as the spec spells them, but not ``name``, ``inputs``,
            ``activation`` (a call of its own), nor the initializers. Of ``permute``: ``axes`` of the framework's array,
            the batch axis included (``[0, 2, 3, 1]``); of ``reshape`` and ``flatten``: nothing, the shapes of the
            values say it. A setting ``axis`` (of ``concat``, ``slice``, ``select``, ``glu``, ``softmax``) counts the
            axes of the framework's array, not the neutral ones: from 0 behind its first axis, or negative from the
            end; its first axis is minus its rank. A setting ``mask`` is ``""`` if the last of ``inputs`` is the mask.
        inputs: Keys of the values it read, in the order of the spec layer's inputs. A constant array it read is a
            value of ``Trace.constants``. A weight that is itself an operand of ``add``, ``subtract`` or ``multiply``
            (``x + self.bias``) is not among them, but in ``weights`` under the role ``operand``. Operands may differ in
            shape: the reading looks whether the spec's layer takes them.
        outputs: Keys of the values it made; mostly one. Of a recurrent layer, further ones are its last states, and
            the first is what ``return_sequences`` says.
        channels_first: Whether it takes the axis behind the batch as channels; ``None`` where it has no such axis.
        weights: The arrays it holds: role in the spec layer (``kernel``, ``running_mean`` …) to the name in
            ``NativeModel.get_weights``; those of an opaque call by their own names.
        native: The framework's name of it: ``BatchNorm2d``, ``torch.nn.functional.relu``, ``tf.add``.
        code: How it would be written, for fixes: ``nn.BatchNorm2d(64, eps=1e-05, momentum=0.1)``.
        where: File and line of the user's code that called it, ``model.py:31``; empty if not known.
        unsaid: Settings that the user's code left to the framework's default, as far as can be told.
        batch_axis: Which axis of its inputs it takes as the batch: 1 for PyTorch's recurrent layers and attention
            without ``batch_first``.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    channels_first: bool | None = None
    weights: Mapping[str, str] = field(default_factory=dict)
    native: str = ""
    code: str = ""
    where: str = ""
    unsaid: tuple[str, ...] = ()
    batch_axis: int = 0


@dataclass(frozen=True)
class Trace:
    """What a model did in one forward pass.

    Attributes:
        inputs: Its inputs by name, in order.
        values: Every value by key, inputs and constants among them.
        calls: What it did, in order.
        outputs: Keys of what it returned, by name (``output`` if there is one).
        constants: Arrays that calls read and that no call made.
        notes: What could not be seen or read, a sentence each, for the report.
    """

    inputs: Mapping[str, int]
    values: Mapping[int, Value]
    calls: tuple[Call, ...]
    outputs: Mapping[str, int]
    constants: Mapping[int, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadLoss:
    """A native loss in the terms of a spec.

    Attributes:
        minimised: What it is, or ``None`` if it is the user's own function. Penalties are scoped by the names of
            ``NativeModel.get_weights``.
        from_probabilities: Whether it takes probabilities, not logits.
        reduction: What becomes of the numbers of a batch: their mean, as the spec says it; the sum over examples and
            positions; or the sum over every value, where the spec takes the mean over the last axis as well.
        unsaid: Settings that the user's code left to the framework's default, as far as can be told.
        native: The framework's name of it.
        code: How it would be written.
        where: File and line, if it is the user's own.
    """

    minimised: Minimised | None
    from_probabilities: bool = False
    native: str = ""
    code: str = ""
    where: str = ""
    reduction: Reduction = "mean"
    unsaid: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptimizer:
    """A native optimizer in the terms of a spec.

    Attributes:
        optimizer: What it is, every setting filled in as the framework uses it; ``None`` if it is the user's own.
        lr: Its learning rate now.
        parameters: Weights it updates, by name in ``get_weights``; what is missing is frozen or forgotten.
        clip: Clipping it does itself (Keras' ``clipnorm``, ``clipvalue``, ``global_clipnorm``), as the spec says it.
        schedule: Learning rates of the first hundred updates, if it has a schedule of its own.
        native: The framework's name of it.
        code: How it would be written.
        gathered: Gradients whose mean makes one update: all but every so many calls only keep theirs.
        unsaid: Settings that the user's code left to the framework's default, as far as can be told.
    """

    optimizer: Optimizer | None
    lr: float
    parameters: tuple[str, ...]
    clip: Any = None
    schedule: tuple[float, ...] | None = None
    native: str = ""
    code: str = ""
    gathered: int = 1
    unsaid: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observation:
    """What one pass gave.

    Attributes:
        values: By value key, with the framework's axes; only those of the trace's calls, inputs and outputs.
        outputs: Keys of what the model returned in this pass, by name.
        loss: The objective that was differentiated, penalties included; ``None`` in a forward pass.
        example_losses: Each example's loss, if the loss can give it.
        penalties: Part of ``loss`` that the model added itself (Keras' regularizers and ``add_loss``).
        value_gradients: Gradient of ``loss`` for each value that has one, by key.
        gradients: Gradient for each trained weight, by name in ``get_weights``, neutral layout; those that the
            framework leaves out (``None``) are missing.
        buffers: What the buffers became through this pass, by name.
    """

    values: Mapping[int, Array]
    outputs: Mapping[str, int]
    loss: float | None = None
    example_losses: Array | None = None
    penalties: float = 0.0
    value_gradients: Mapping[int, Array] = field(default_factory=dict)
    gradients: Arrays = field(default_factory=dict)
    buffers: Arrays = field(default_factory=dict)


class NativeModel(Protocol):
    """The user's model, and the loss and the optimizer if there are some, in one framework.

    Works on copies: the user's own objects are as they were afterwards.
    """

    @property
    def framework(self) -> str:
        """Name of the backend: ``torch``, ``tensorflow``."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the weights that are trained (``requires_grad``, ``trainable``)."""

    @property
    def input_shapes(self) -> Mapping[str, tuple[int | None, ...]] | None:
        """Shape of each input with the batch axis, where the model says it; ``None``: it does not."""

    @property
    def loss(self) -> ReadLoss | None:
        """The loss, if there is one."""

    @property
    def optimizer(self) -> ReadOptimizer | None:
        """The optimizer, if there is one."""

    def versions(self) -> dict[str, str]:
        """Versions of the framework's packages."""

    def start(self, precision: Precision) -> None:
        """Begin anew in a precision: the user's weights, converted, and an optimizer that has done nothing.

        Raises:
            ParityError: The model cannot be had in that precision; the message says why.
        """

    def trace(self, inputs: Arrays) -> Trace:
        """What the model does in inference, from one pass. Keys and names are those of every later pass.

        Args:
            inputs: By name, or under ``""`` for a model with one input; with the framework's axes.

        Raises:
            ParityError: The model refuses the inputs; the message holds the framework's reason in a line.
        """

    def get_weights(self) -> dict[str, Array]:
        """Every parameter and buffer in the neutral layout, by ``<layer's path>.<role>``."""

    def set_weights(self, weights: Arrays) -> None:
        """Replace some or all of them."""

    def forward(self, inputs: Arrays, *, training: bool, masks: Arrays | None = None) -> Observation:
        """One pass; changes no weight. ``masks``: for each random call's name which values it keeps (bool, the shape
        of its output); without a mask, a random call keeps everything, unscaled.
        """

    def backward(
        self,
        inputs: Arrays,
        targets: Arrays | None,
        *,
        cotangents: Arrays | None = None,
        masks: Arrays | None = None,
    ) -> Observation:
        """One forward and backward pass in training mode; changes no weight and no buffer.

        Args:
            inputs: As for ``trace``.
            targets: As the native loss takes them; by output name, or ``""``.
            cotangents: Instead of the loss: what each output is multiplied by before all is summed, by output name.
            masks: As for ``forward``.
        """

    def call(
        self, name: str, inputs: Sequence[Array], *, training: bool, mask: Array | None = None
    ) -> tuple[Array, ...]:
        """One call of the trace done again natively with other inputs, of the precision begun, the framework's axes."""

    def layer_arrays(self, name: str) -> Arrays | None:
        """The arrays of a call's layer as the framework holds them and in its order, to make the layer again.

        Those of ``state_dict()`` in PyTorch, those of ``get_weights()`` in Keras; ``None``: the call is no layer's.
        """

    def loss_of(self, outputs: Arrays, targets: Arrays) -> tuple[float, Arrays]:
        """The native loss for given outputs, and its gradient for them."""

    def apply(self, gradients: Arrays, lr: float | None = None) -> None:
        """One update by the native optimizer with given gradients (neutral layout, by name).

        Args:
            gradients: Of the trained weights; those that are missing are ``None`` to the framework.
            lr: Set as its learning rate first; ``None``: it stays.
        """

    def train(self, inputs: Arrays, targets: Arrays, masks: Arrays | None = None) -> float:
        """One whole update as the user's own loop would do it: forward, loss, backward, native optimizer, buffers."""

    def get_state(self) -> State | None:
        """The native optimizer's memory in the neutral slots of ``ReadOptimizer.optimizer``; ``None`` if unknown."""

    def set_state(self, state: State) -> None:
        """Replace it."""
