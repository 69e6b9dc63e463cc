"""Layers that normalise."""

from __future__ import annotations

from dualml.spec.activations import Tanh
from dualml.spec.initializers import Constant
from dualml.spec.layers import BatchNorm, Dense, GroupNorm, InstanceNorm, LayerNorm, RmsNorm, UnitNorm
from dualml.testing.cases.base import Case, values

CASES: tuple[Case, ...] = (
    Case("layer-norm", (5,), [LayerNorm(), Dense(units=3)]),
    Case("layer-norm-keras", (5,), [LayerNorm(), Dense(units=3)], conventions="keras"),
    Case("layer-norm-no-scale", (2, 3), [Dense(units=3), LayerNorm(scale=False, epsilon=0.037)], **values()),
    Case("layer-norm-no-offset", (2, 4), [LayerNorm(offset=False, scale_initializer=Constant(0.3))], **values()),
    Case("layer-norm-plain", (4,), [LayerNorm(scale=False, offset=False), Dense(units=3)]),
    Case("layer-norm-two-axes", (2, 2, 3), [LayerNorm(axes=2)], **values()),
    Case("rms-norm", (5,), [RmsNorm(), Dense(units=3)]),
    Case("rms-norm-keras", (2, 3), [RmsNorm()], conventions="keras", **values()),
    Case("rms-norm-plain", (4,), [RmsNorm(scale=False, epsilon=0.037), Dense(units=3)]),
    Case("rms-norm-two-axes", (2, 2, 3), [RmsNorm(axes=2, epsilon=0.013)], **values()),
    Case("unit-norm", (5,), [UnitNorm(), Dense(units=3)]),
    Case("unit-norm-two-axes", (2, 2, 3), [UnitNorm(axes=2)], **values()),
    Case("unit-norm-short", (2, 3), [UnitNorm(epsilon=1.7)], **values()),
    Case("group-norm", (3, 4), [GroupNorm(2)], **values()),
    Case("group-norm-keras", (2, 2, 4), [GroupNorm(2)], conventions="keras", **values()),
    Case("group-norm-one-group", (4,), [GroupNorm(1, scale=False), Dense(units=2)], **values()),
    Case("group-norm-no-offset", (2, 3), [GroupNorm(3, offset=False, epsilon=0.037)], **values()),
    Case("group-norm-plain", (2, 2, 4), [GroupNorm(2, scale=False, offset=False)], **values()),
    Case("instance-norm", (2, 2, 2), [InstanceNorm()], **values()),
    Case("instance-norm-keras", (4, 2), [InstanceNorm()], conventions="keras", **values()),
    Case("instance-norm-five-axes", (2, 1, 2, 1, 2), [InstanceNorm(scale=True)], **values()),
    Case("instance-norm-three-axes", (2, 1, 2, 2), [InstanceNorm(offset=True, epsilon=0.037)], **values()),
    Case("batch-norm", (3,), [BatchNorm(), Dense(units=2)], examples=5),
    Case("batch-norm-keras", (3,), [BatchNorm(), Dense(units=2)], conventions="keras", examples=5),
    Case("batch-norm-no-scale", (2, 2), [BatchNorm(scale=False, momentum=0.87)], **values()),
    Case("batch-norm-no-offset", (2, 1, 2), [BatchNorm(offset=False, variance="biased", epsilon=0.037)], **values()),
    Case("batch-norm-plain", (2, 1, 1, 2), [BatchNorm(scale=False, offset=False)], **values()),
    Case("batch-norm-five-axes", (1, 2, 1, 1, 2), [BatchNorm(momentum=0.6)], **values()),
    Case("batch-norm-frozen", (2, 3), [Dense(units=3), BatchNorm(frozen=True), Dense(units=2)], **values()),
    Case("batch-norm-frozen-plain", (3,), [BatchNorm(frozen=True, scale=False, offset=False), Dense(units=2)]),
    Case("batch-norm-biased-one-example", (2, 2), [BatchNorm(variance="biased")], examples=1, **values()),
    Case(
        "batch-norm-twice",
        (4,),
        [
            Dense(units=3, bias=False),
            BatchNorm(epsilon=0.13),
            Dense(units=3, activation=Tanh(), bias=False),
            BatchNorm(variance="biased", momentum=0.75, epsilon=0.27),
            Dense(units=2),
        ],
        examples=6,
    ),
)
