"""Convolutions that cannot work are refused from the spec, with a sentence; no framework is needed."""

from __future__ import annotations

import re
from typing import Any

import pytest

import dualml
from dualml import Conv1d, Conv2d, ConvTranspose1d, SeparableConv2d
from dualml.errors import SpecError

REFUSED = {
    "rank": (Conv2d(3, 3), (28, 28), "its input must have shape [height, width, channels], got [28, 28]"),
    "sizes": (Conv2d(3, (3, 3, 3)), (8, 8, 1), "kernel_size must be one number or 2 of them, one for each spatial"),
    "stride": (Conv1d(3, 3, stride=(1, 2)), (8, 1), "stride must be one number, got [1, 2]"),
    "amounts": (Conv2d(3, 3, padding=((1, 2),)), (8, 8, 1), "padding must be one number or a list of 2"),
    "window": (Conv2d(3, 3, dilation=2), (4, 8, 1), "its window spans 5 positions, but axis 0 has 4"),
    "padded": (Conv2d(3, 7, padding=1), (4, 8, 1), "axis 0 has 4 values and padding makes it 6"),
    "groups": (Conv2d(4, 3, groups=2), (8, 8, 3), "groups must divide the input's 3 channels and the 4 filters, got 2"),
    "filters": (
        Conv2d(3, 3, groups=2),
        (8, 8, 4),
        "groups must divide the input's 4 channels and the 3 filters, got 2",
    ),
    "causal": (Conv2d(3, 3, padding="causal"), (8, 8, 1), "padding: causal needs a single spatial axis, got 2"),
    "reflect": (Conv1d(3, 3, padding=4, padding_mode="reflect"), (4, 1), "reflect can add at most 3 values on a side"),
    "circular": (Conv1d(3, 3, padding=5, padding_mode="circular"), (4, 1), "circular can add at most 4 values"),
    "transposed-groups": (ConvTranspose1d(3, 3, groups=2), (4, 2), "groups must divide the input's 2 channels"),
    "output-padding": (ConvTranspose1d(3, 3, stride=2, output_padding=2), (4, 2), "below the stride or the dilation"),
    "same": (
        ConvTranspose1d(3, 3, stride=2, padding="same", output_padding=1),
        (4, 2),
        "padding: same fixes the output",
    ),
    "crop": (
        ConvTranspose1d(3, 3, padding=4),
        (4, 2),
        "padding takes [4, 4] off axis 0, where there are only 6 values",
    ),
    "separable": (SeparableConv2d(3, 3), (2, 8, 1), "its window spans 3 positions, but axis 0 has 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused(case: str) -> None:
    layer, shape, message = REFUSED[case]
    with pytest.raises((ValueError, SpecError), match=re.escape(message)):
        _ = dualml.Spec(model=dualml.Model(input=shape, layers=[layer]), loss="mse", optimizer="sgd").graph


@pytest.mark.parametrize("value", [0, -1, "x", (0, 1), 1.5, True])
def test_sizes_are_whole_numbers_above_0(value: Any) -> None:
    with pytest.raises(ValueError, match="kernel_size"):
        Conv2d(3, value)
