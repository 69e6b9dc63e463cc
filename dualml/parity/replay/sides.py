"""What each function of a replay script does: a layer, a loss, some updates."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from dualml.protocol import Array, Arrays


class ReplaySide(Protocol):
    """One side of a replay."""

    @property
    def framework(self) -> str:
        """``torch`` or ``tensorflow``."""

    @property
    def said(self) -> str:
        """What it is, for people."""

    def arrays(self) -> Arrays:
        """What its function reads, by name."""

    def lines(self, side: str) -> list[str]:
        """The body of its function, which returns a dictionary of NumPy arrays in the neutral layout.

        Args:
            side: What its arrays are filed under: ``ARRAYS["<side>.<name>"]``.
        """


@dataclass(frozen=True)
class Operation:
    """One native call.

    Attributes:
        code: What makes the layer (``nn.Linear(4, 2)``), names the function (``keras.activations.relu``), or calls it
            with each array as ``x`` (``torch.flatten(x, 1)``).
        inputs: Names of the values it reads.
        output: Name of the value it makes.
        recorded: What it gave in the user's model, with the framework's axes: stands in where the code alone does not
            say what it does.
        weights: The layer's arrays as the framework holds them and in its order: those of ``state_dict()``, or of
            ``get_weights()`` in Keras. ``None``: not known.
    """

    code: str
    inputs: tuple[str, ...]
    output: str
    recorded: Array
    weights: Arrays | None = field(default_factory=dict)


@dataclass(frozen=True)
class LayerReplay:
    """A layer, or several calls that do what one layer does on the other side.

    Attributes:
        framework: Whose.
        said: What it is.
        values: What the operations read, by name, with the framework's axes.
        operations: In order; the last one's output is compared.
        axes: The neutral output is the native one with its axes in this order.
        training: Whether it runs in training mode.
    """

    framework: str
    said: str
    values: Arrays
    operations: tuple[Operation, ...]
    axes: tuple[int, ...]
    training: bool = False

    def arrays(self) -> dict[str, Array]:
        found = dict(self.values)
        for operation in self.operations:
            if callable_code(operation) is None:
                found[f"{operation.output}.recorded"] = operation.recorded
            else:
                found |= {f"{operation.output}.{name}": array for name, array in (operation.weights or {}).items()}
        return found

    def lines(self, side: str) -> list[str]:
        convert = "torch.from_numpy({})" if self.framework == "torch" else "tf.convert_to_tensor({})"
        lines = [f"{name} = {convert.format(_stored(side, name))}" for name in self.values]
        for operation in self.operations:
            lines += _operation(operation, self.framework, side, convert, training=self.training)
        last = self.operations[-1].output
        native = f"{last}.detach().numpy()" if self.framework == "torch" else f"{last}.numpy()"
        return [*lines, f'return {{"output": {native}.transpose({self.axes})}}']


@dataclass(frozen=True)
class LossReplay:
    """A loss for given outputs and targets, and its gradient for the outputs.

    Attributes:
        framework: Whose.
        said: What it is.
        code: What makes it, or ``F.cross_entropy(outputs, targets)``.
        outputs: Of the network.
        targets: As the loss takes them.
    """

    framework: str
    said: str
    code: str
    outputs: Array
    targets: Array

    def arrays(self) -> dict[str, Array]:
        return {"outputs": self.outputs, "targets": self.targets}

    def lines(self, side: str) -> list[str]:
        called = "outputs, targets" in self.code
        if self.framework == "torch":
            value = self.code if called else f"{self.code}(outputs, targets)"
            return [
                f"outputs = torch.from_numpy({_stored(side, 'outputs')}).requires_grad_()",
                f"targets = torch.from_numpy({_stored(side, 'targets')})",
                f"value = {value}",
                "value.backward()",
                'return {"loss": value.detach().numpy(), "gradient": outputs.grad.numpy()}',
            ]
        return [
            f"outputs = tf.convert_to_tensor({_stored(side, 'outputs')})",
            f"targets = {_stored(side, 'targets')}",
            "with tf.GradientTape() as tape:",
            "    tape.watch(outputs)",
            f"    value = keras.ops.mean({self.code}(targets, outputs))",
            'return {"loss": np.asarray(value), "gradient": np.asarray(tape.gradient(value, outputs))}',
        ]


@dataclass(frozen=True)
class UpdateReplay:
    """Some updates of one parameter by an optimizer that has done nothing yet.

    Attributes:
        framework: Whose.
        said: What it is.
        code: What makes the optimizer; in PyTorch ``model.parameters()`` is what it updates.
        parameter: Before the first update.
        gradients: One for each update.
    """

    framework: str
    said: str
    code: str
    parameter: Array
    gradients: tuple[Array, ...]

    def arrays(self) -> dict[str, Array]:
        return {"parameter": self.parameter, "gradients": np.stack(self.gradients)}

    def lines(self, side: str) -> list[str]:
        start = [f"found, gradients = {{}}, {_stored(side, 'gradients')}"]
        if self.framework == "torch":
            return [
                *start,
                f"parameter = nn.Parameter(torch.from_numpy({_stored(side, 'parameter')}.copy()))",
                "model = nn.ParameterList([parameter])",
                f"optimizer = {self.code}",
                "for step, gradient in enumerate(gradients, 1):",
                "    parameter.grad = torch.from_numpy(gradient.copy())",
                "    optimizer.step()",
                '    found[f"parameter after step {step}"] = parameter.detach().numpy().copy()',
                "return found",
            ]
        return [
            *start,
            f"parameter = keras.Variable({_stored(side, 'parameter')}, dtype=PRECISION)",
            f"optimizer = {self.code}",
            "for step, gradient in enumerate(gradients, 1):",
            "    optimizer.apply_gradients([(tf.convert_to_tensor(gradient), parameter)])",
            '    found[f"parameter after step {step}"] = parameter.numpy().copy()',
            "return found",
        ]


def callable_code(operation: Operation) -> str | None:
    """The operation as an expression of its inputs; ``None`` if its code does not say it all.

    Example:
        >>> nothing = np.zeros(0)
        >>> callable_code(Operation("torch.add(x, x, alpha=2)", ("a", "b"), "c", nothing))
        'torch.add(a, b, alpha=2)'
        >>> callable_code(Operation("keras.activations.relu", ("a",), "c", nothing))
        'keras.activations.relu(a)'
        >>> callable_code(Operation("helper(x, 3)", ("a",), "c", nothing)) is None
        True
    """
    code = operation.code
    root, _, rest = code.partition(".")
    if root not in ("nn", "torch", "F", "keras") or rest.startswith("Tensor.") or operation.weights is None:
        return None
    try:
        tree = ast.parse(code, mode="eval").body
    except SyntaxError:
        return None
    if isinstance(tree, ast.Attribute):
        return f"{code}({', '.join(operation.inputs)})"
    if not isinstance(tree, ast.Call):
        return None
    if is_layer(code):
        return code
    names = [item for item in ast.walk(tree) if isinstance(item, ast.Name) and item.id == "x"]
    if len(names) != len(operation.inputs):
        return None  # some of its arrays are weights or constants
    for item, name in zip(
        sorted(names, key=lambda item: (item.lineno, item.col_offset)), operation.inputs, strict=True
    ):
        item.id = name
    return ast.unparse(tree)


def is_layer(code: str) -> bool:
    """Whether code makes a layer."""
    return re.match(r"(nn|keras\.layers)\.[A-Z]\w*\(", code) is not None


def _stored(side: str, name: str) -> str:
    return f'ARRAYS["{side}.{name}"]'


def _operation(operation: Operation, framework: str, side: str, convert: str, *, training: bool) -> list[str]:
    call, output = callable_code(operation), operation.output
    if call is None:
        recorded = convert.format(_stored(side, f"{output}.recorded"))
        return [f"{output} = {recorded}  # as the model gave it: {_comment(operation.code)}"]
    if not is_layer(operation.code):
        return [f"{output} = {call}"]
    weights = ", ".join(f"{name!r}: {_stored(side, f'{output}.{name}')}" for name in operation.weights or {})
    inputs = ", ".join(operation.inputs)
    if framework == "torch":
        return [f"{output} = torch_layer({call}, {{{weights}}}, {training})({inputs})"]
    return [f"{output} = keras_layer({call}, {{{weights}}}, {training}, {inputs})"]


def _comment(text: str) -> str:
    return " ".join(text.split()) or "a function of its own"
