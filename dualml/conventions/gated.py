"""Gates."""

from __future__ import annotations

from dualml.conventions.base import Preset
from dualml.spec.initializers import Constant, Zeros
from dualml.spec.layers.gated import Prelu

TORCH: Preset = {Prelu: {"slopes": "one", "slope_initializer": Constant(0.25)}}


KERAS: Preset = {Prelu: {"slopes": "values", "slope_initializer": Zeros()}}
