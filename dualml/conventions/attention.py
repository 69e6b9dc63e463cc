"""Attention.

``torch.nn.MultiheadAttention`` draws the packed ``(3 E, E)`` input projection from its Glorot bound,
``sqrt(6 / 4 E)``, which is that of one ``(E, E)`` projection divided by ``sqrt 2``.
"""

from __future__ import annotations

import math

from dualml.conventions.base import Preset
from dualml.spec.initializers import FanInUniform, GlorotUniform, Zeros
from dualml.spec.layers import Attention

TORCH: Preset = {
    Attention: {
        "kernel_initializer": GlorotUniform(gain=math.sqrt(0.5)),
        "bias_initializer": Zeros(),
        "output_kernel_initializer": FanInUniform(),
        "output_bias_initializer": Zeros(),
    },
}


KERAS: Preset = {
    Attention: {
        "kernel_initializer": GlorotUniform(),
        "bias_initializer": Zeros(),
        "output_kernel_initializer": GlorotUniform(),
        "output_bias_initializer": Zeros(),
    },
}
