"""What a model asks of its data: for each input and each output, what an example must look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dualml.errors import DataError


@dataclass(frozen=True)
class InputNeed:
    """One input of a model.

    Attributes:
        shape: Shape of one example, channels last.
        integer: Whether it takes whole numbers from 0 on (token ids, categories); they stay int64 and are never
            scaled. Otherwise values in the model's precision.
        size: Whole numbers must be below this: the size of the smallest embedding that reads them; ``None``: any.
    """

    shape: tuple[int, ...]
    integer: bool = False
    size: int | None = None


@dataclass(frozen=True)
class OutputNeed:
    """What one output of a model is compared with.

    Attributes:
        kind: ``class``: class numbers, int64; ``value``: values in the model's precision.
        shape: Shape of one example's target. For classes, ``()`` is one label for each example and ``(length,)``
            one for each position. ``None`` for values: as they are stored.
        classes: How many classes there are; ``None`` leaves the numbers unbounded.
        ignored: A class number that means "no label here" and may be outside the range, if the loss has one.
    """

    kind: Literal["class", "value"]
    shape: tuple[int, ...] | None = None
    classes: int | None = None
    ignored: int | None = None

    @property
    def positions(self) -> tuple[int, ...]:
        """The shape of one example's class numbers."""
        return self.shape or ()


@dataclass(frozen=True)
class Needs:
    """Inputs and outputs of a model by name, in the model's order."""

    inputs: Mapping[str, InputNeed]
    outputs: Mapping[str, OutputNeed]

    def single_input(self, where: str) -> tuple[str, InputNeed]:
        """Name and need of the one input.

        Raises:
            DataError: There are several.
        """
        if len(self.inputs) != 1:
            raise DataError(
                f"{where}: gives one input, but the model has {len(self.inputs)} ({', '.join(self.inputs)}); "
                f"use a source with named inputs, such as npz, csv or python"
            )
        return next(iter(self.inputs.items()))
