"""Convolutions."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.initializers import FanInUniform, GlorotUniform, Zeros
from dualml.spec.layers.convolution import Conv1d, Conv2d, Conv3d, DepthwiseConv1d, DepthwiseConv2d
from dualml.spec.layers.transposed import ConvTranspose1d, ConvTranspose2d

_FULL = (Conv1d, Conv2d, Conv3d)
_DEPTHWISE = (DepthwiseConv1d, DepthwiseConv2d)
_TRANSPOSED = (ConvTranspose1d, ConvTranspose2d)
_TORCH = {"kernel_initializer": FanInUniform(), "bias_initializer": FanInUniform()}
_KERAS = {"kernel_initializer": GlorotUniform(), "bias_initializer": Zeros()}

TORCH: Preset = {
    **dict.fromkeys(_FULL, _TORCH),
    **{kind: {**_TORCH, "fans": "channel"} for kind in _DEPTHWISE},
    **{kind: {**_TORCH, "output_padding": 0} for kind in _TRANSPOSED},
}


KERAS: Preset = {
    **dict.fromkeys(_FULL, _KERAS),
    **{kind: {**_KERAS, "fans": "kernel"} for kind in _DEPTHWISE},
    **{kind: {**_KERAS, "output_padding": "fill"} for kind in _TRANSPOSED},
}
