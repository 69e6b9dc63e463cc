"""Every setting of a config that a cause stands for is that cause; the others stay ``unknown`` and are told."""

from __future__ import annotations

import pytest

from dualml import (
    Adagrad,
    Adam,
    BatchNorm,
    Conv2d,
    Cosine,
    CrossEntropy,
    Dense,
    Dropout,
    Flatten,
    Model,
    MultiStep,
    RMSprop,
    Sgd,
    Spec,
    Train,
)
from dualml.parity.causes import configured_cause, setting_cause, spec_differences
from dualml.parity.hypotheses import MEANINGS

LAYERS = [
    Conv2d(4, 3, padding="symmetric", stride=2),
    BatchNorm(),
    Flatten(),
    Dense(4, activation="relu"),
    Dropout(0.3),
]


def spec(layers=LAYERS, **changes):
    given = {"model": Model(input=(8, 8, 3), layers=layers), "loss": CrossEntropy(), "optimizer": Adam(), **changes}
    return Spec(**given).resolved


def layers(place, layer):
    return {"layers": [*LAYERS[:place], layer, *LAYERS[place + 1 :]]}


CASES = [
    ("padding.same_stride", spec(), spec(**layers(0, Conv2d(4, 3, padding="same", stride=2)))),
    ("padding.mode", spec(), spec(**layers(0, Conv2d(4, 3, padding="symmetric", stride=2, padding_mode="reflect")))),
    ("norm.epsilon", spec(), spec(**layers(1, BatchNorm(epsilon=1e-3)))),
    ("norm.momentum", spec(), spec(**layers(1, BatchNorm(momentum=0.99)))),
    ("norm.unbiased_variance", spec(), spec(**layers(1, BatchNorm(variance="biased")))),
    ("norm.frozen_mode", spec(), spec(**layers(1, BatchNorm(frozen=True)))),
    ("layout.flatten_order", spec(), spec(**layers(2, Flatten("channels_first")))),
    ("activation.kind", spec(), spec(**layers(3, Dense(4, activation="tanh")))),
    ("activation.slope", spec(), spec(**layers(3, Dense(4, activation="leaky_relu")))),
    ("dropout.rate", spec(), spec(**layers(4, Dropout(0.5)))),
    ("unknown", spec(), spec(**layers(3, Dense(5, activation="relu")))),
    ("unknown", spec(), spec(**layers(3, Dense(4, activation="relu", kernel_initializer="zeros")))),
    ("optimizer.kind", spec(), spec(optimizer=Sgd())),
    ("optimizer.betas", spec(), spec(optimizer=Adam(beta2=0.9))),
    ("optimizer.betas", spec(optimizer=RMSprop()), spec(optimizer=RMSprop(rho=0.5))),
    ("optimizer.initial_accumulator", spec(optimizer=Adagrad()), spec(optimizer=Adagrad(initial_accumulator=0.1))),
    ("optimizer.decay_scope", spec(), spec(optimizer=Adam(decay_scope="kernels"))),
    ("loss.label_smoothing", spec(), spec(loss=CrossEntropy(label_smoothing=0.1))),
    ("loss.ignore_index", spec(), spec(loss=CrossEntropy(ignore_index=0))),
    ("loss.class_weights", spec(), spec(loss=CrossEntropy(normalization="examples"))),
    ("schedule.offset", spec(schedule=MultiStep(milestones=(3, 5))), spec(schedule=MultiStep(milestones=(4, 5)))),
    (
        "schedule.offset",
        spec(schedule=MultiStep(milestones=(3, 5))),
        spec(schedule=MultiStep(milestones=(3, 5), at_boundary="old")),
    ),
    (
        "optimizer.lr",
        spec(schedule=MultiStep(milestones=(3, 5))),
        spec(schedule=MultiStep(milestones=(3, 5), decay=0.5)),
    ),
    ("optimizer.lr", spec(), spec(schedule=Cosine())),
    ("gradients.accumulated", spec(), spec(train=Train(accumulate=2))),
    ("clipping.scope", spec(), spec(train=Train(clip={"global_norm": 1.0}))),
    (
        "clipping.value",
        spec(train=Train(clip={"global_norm": 1.0})),
        spec(train=Train(clip={"global_norm": 2.0})),
    ),
]


@pytest.mark.parametrize(("cause", "one", "two"), CASES)
def test_one_setting(cause, one, two):
    assert len(spec_differences(one, two)) == 1
    found = configured_cause(one, two, followed=True)
    assert (found.id, found.confirmed) == (cause, cause != "unknown")
    assert spec_differences(one, two)[0][0] in found.evidence


def test_differences_of_several_kinds_are_told_without_a_cause():
    found = configured_cause(spec(), spec(conventions="keras"), followed=True)
    assert (found.id, found.confirmed) == ("unknown", False)
    assert "settings" in found.evidence


def test_a_side_that_does_not_follow_its_own_config_has_another_cause():
    assert configured_cause(spec(), spec(optimizer=Sgd()), followed=False).id == "unknown"


@pytest.mark.parametrize(
    "path",
    ["regularizers[0].l2.factor", "regularizers[0].l2.scope", "optimizer.adam.groups[0].lr_factor", "train.shuffle"],
)
def test_the_causes_of_paths_are_known(path):
    assert setting_cause(path) in set(MEANINGS) - {"unknown"}
