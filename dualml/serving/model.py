"""The model that is served: what clients send it, what it makes of that, what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from dualml.serving.tensors import Tensor

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Model:
    """A model ready to answer.

    Attributes:
        name: What paths and answers call it.
        version: Its version, a text.
        inputs: What clients send: examples as the training's data held them, before scaling and encoding.
        outputs: What they get.
        prepare: Raw examples to the engine's inputs; raises ``DataError`` for examples that are none.
        run: Prepared examples to outputs by name; may be called from several threads.
        example: Raw examples that are valid, one row.
        class_names: Names of the classes of outputs that have them.
        batch_invariant: Whether an example's answer is the same whatever stands beside it in a batch.
        page: What the page at ``/`` needs to know of the inputs; see ``dualml.serving.page``.
    """

    name: str
    version: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    prepare: Callable[[Arrays], Arrays] = field(repr=False)
    run: Callable[[Arrays], Arrays] = field(repr=False)
    example: Arrays = field(repr=False)
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    batch_invariant: bool = False
    page: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def output(self, name: str) -> Tensor:
        """The output of that name."""
        return next(item for item in self.outputs if item.name == name)

    def metadata(self) -> dict[str, Any]:
        """As the protocol describes a model."""
        named = {name: list(names) for name, names in self.class_names.items()}
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": "onnx_onnxruntime",
            "inputs": [item.metadata() for item in self.inputs],
            "outputs": [item.metadata() for item in self.outputs],
            **({"parameters": {"class_names": named}} if named else {}),
        }
