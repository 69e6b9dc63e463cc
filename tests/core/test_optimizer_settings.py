"""Settings of optimizers: which parameters decay and at what rate, what is remembered, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

import dualml
from dualml.conventions import KERAS, TORCH, fill
from dualml.errors import WeightsError
from dualml.protocol import State
from dualml.slots import check_state, slot_shapes, start_state
from dualml.spec.optimizers import (
    OPTIMIZERS,
    Adafactor,
    Adagrad,
    Adam,
    AdamW,
    Ema,
    Lion,
    Muon,
    NAdam,
    ParameterGroup,
    RMSprop,
    Sgd,
    in_scope,
)
from dualml.spec.optimizers.base import is_kernel

GRAPH = dualml.Spec(
    model=dualml.Model(input=3, layers=[dualml.Dense(4), dualml.Dense(2)]), loss="cross_entropy", optimizer="adam"
).graph
SHAPES = {item.name: item.shape for item in GRAPH.parameters}

SCOPES = {
    # name: all, no_bias_no_norm, kernels
    "dense_1.kernel": (True, True, True),
    "lstm_1.recurrent_kernel": (True, True, True),
    "attention.query_kernel": (True, True, True),
    "embedding_1.embeddings": (True, True, False),
    "embedding_1.table": (True, True, False),
    "dense_1.bias": (True, False, False),
    "lstm_1.recurrent_bias": (True, False, False),
    "batch_norm.scale": (True, False, False),
    "batch_norm.gamma": (True, False, False),
    "kernel.bias": (True, False, False),  # a layer's name decides nothing
    "embedding.bias": (True, False, False),
    "prelu.slope": (True, False, False),
}


@pytest.mark.parametrize("name", SCOPES)
def test_scope_goes_by_the_role(name):
    assert tuple(in_scope(name, scope) for scope in ("all", "no_bias_no_norm", "kernels")) == SCOPES[name]


def test_decay_of_a_parameter_is_its_groups_or_the_optimizers_in_scope():
    groups = [
        ParameterGroup(match="embedding_*", lr_factor=0.1, weight_decay=0.0),
        ParameterGroup(match="*.bias", lr_factor=0.5),
        ParameterGroup(match="head.*", weight_decay=0.7),
    ]
    optimizer = AdamW(weight_decay=0.2, decay_scope="no_bias_no_norm", groups=groups)
    wanted = {
        "embedding_1.table": (0.1, 0.0),
        "embedding_1.bias": (0.1, 0.0),  # the first group that matches
        "dense_1.kernel": (1.0, 0.2),
        "dense_1.bias": (0.5, 0.0),
        "head.bias": (0.5, 0.0),
        "head.scale": (1.0, 0.7),  # said of the group, whatever the scope
    }
    assert {name: (optimizer.lr_factor(name), optimizer.decay_of(name, (3,))) for name in wanted} == wanted


def test_muon_has_a_decay_for_matrices_and_one_for_the_rest():
    optimizer = Muon(weight_decay=0.2, adam_weight_decay=0.3)
    assert optimizer.decay_of("dense.kernel", (3, 4)) == 0.2
    assert optimizer.decay_of("conv.kernel", (3, 3, 2, 4)) == 0.3
    assert optimizer.decay_of("dense.bias", (4,)) == 0.3
    assert not optimizer.orthogonalises("embedding.table", (10, 4))
    assert optimizer.orthogonalises("embedding_projection.kernel", (10, 4))  # Keras would go by the layer's name


def test_names_of_kernels():
    assert is_kernel("a.kernel")
    assert is_kernel("a.depthwise_kernel")
    assert not is_kernel("kernel.bias")
    assert not is_kernel("a.kernels_bias")


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("preset", [TORCH, KERAS], ids=["torch", "keras"])
def test_conventions_fill_everything(kind, preset):
    filled = fill(kind(ema=Ema(), groups=[{"match": "*"}]), preset)
    assert all(getattr(filled, name) is not None for name in type(filled).model_fields)
    assert filled.ema.decay == (0.999 if preset is TORCH else 0.99)


def test_a_config_with_everything_survives_its_own_text():
    settings = {
        "lr": 0.01,
        "decay_scope": "kernels",
        "groups": [{"match": "dense_1.*", "lr_factor": 0.1, "weight_decay": 0.0}],
        "ema": {"decay": 0.9, "every": 3},
    }
    model = {"input": 3, "layers": [{"dense": 2}]}
    for kind in OPTIMIZERS:
        spec = dualml.Spec(model=model, loss="cross_entropy", optimizer={kind.kind: settings}).resolved
        again = dualml.Spec(**spec.to_dict())
        assert again == spec
        assert again.optimizer.groups[0].lr_factor == 0.1


def test_slots_and_their_shapes():
    optimizer = fill(Adafactor(ema=Ema()), KERAS)
    shapes = slot_shapes(optimizer, GRAPH)
    assert shapes["row_variance"] == {"dense_1.kernel": (3,), "dense_2.kernel": (4,)}
    assert shapes["column_variance"] == {"dense_1.kernel": (4,), "dense_2.kernel": (2,)}
    assert shapes["variance"] == {"dense_1.bias": (4,), "dense_2.bias": (2,)}
    assert shapes["average"] == SHAPES
    assert Adafactor().slot_shapes("conv.kernel", (3, 5, 2, 4)) == {
        "row_variance": (3, 5, 2),
        "column_variance": (3, 5, 4),
    }
    assert Sgd(momentum=0.0).slots == ()
    assert Adam().slots == ("first_moment", "second_moment")
    assert Adam(amsgrad=True).slots[2:] == ("largest_second_moment",)
    assert RMSprop(centered=True).slots == ("mean_square", "mean_gradient")
    assert RMSprop(momentum=0.5).slots == ("mean_square", "momentum")


def test_where_slots_start():
    state = start_state(fill(Adagrad(), KERAS), GRAPH)
    assert state.step == 0
    assert {array.flat[0] for array in state.slots["sum_of_squares"].values()} == {np.float32(0.1)}
    state = start_state(fill(NAdam(), TORCH), GRAPH)
    assert all(array == 1 and array.shape == () for array in state.slots["momentum_product"].values())
    assert not any(array.any() for array in state.slots["first_moment"].values())


def test_a_state_of_another_optimizer_or_model_is_refused():
    optimizer = fill(Adafactor(), KERAS)
    right = start_state(optimizer, GRAPH)
    check_state(right, optimizer, GRAPH)
    rows = dict(right.slots["row_variance"])
    wrong = {
        "slots": State(0, start_state(fill(Adam(), KERAS), GRAPH).slots),
        "missing": State(0, {**right.slots, "row_variance": {"dense_1.kernel": rows["dense_1.kernel"]}}),
        "dense_1.bias": State(0, {**right.slots, "row_variance": {**rows, "dense_1.bias": np.zeros(4)}}),
        "shape": State(0, {**right.slots, "row_variance": {**rows, "dense_1.kernel": np.zeros((3, 4))}}),
    }
    for message, state in wrong.items():
        with pytest.raises(WeightsError, match=message):
            check_state(state, optimizer, GRAPH)


def test_a_group_must_match_something():
    optimizer = Adam(groups=[{"match": "dense_*"}, {"match": "embeding_*"}])
    ((location, message),) = optimizer.problems(SHAPES)
    assert location == ("groups", 1, "match")
    assert "embeding_*" in message
    assert "dense_1.kernel" in message


def test_nesterov_needs_momentum():
    assert [location for location, _ in Sgd(nesterov=True).problems(SHAPES)] == [("nesterov",)]
    assert Sgd(nesterov=True, momentum=0.5).problems(SHAPES) == []


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Adam, {"decay_scope": "bias"}),
        (Adam, {"groups": [{"match": ""}]}),
        (Adam, {"groups": [{"match": "*", "lr_factor": -1.0}]}),
        (Adam, {"groups": [{"match": "*", "lr": 1.0}]}),
        (Adam, {"ema": {"decay": 1.0}}),
        (Adam, {"ema": {"every": 0}}),
        (Adam, {"amsgrad": 1}),
        (AdamW, {"decay": "coupled"}),
        (Muon, {"decay": "coupled"}),
        (Muon, {"ns_coefficients": [1.0, 2.0]}),
        (Muon, {"ns_coefficients": ["1", "2", "3"]}),
        (Lion, {"beta1": 0.0}),  # keras.optimizers.Lion refuses it
        (Adafactor, {"clip_threshold": 0.5}),  # torch.optim.Adafactor refuses it
        (Adafactor, {"beta2_decay": 0.5}),
        (RMSprop, {"rho": 1.0}),
    ],
)
def test_what_is_refused(kind, settings):
    with pytest.raises(ValidationError):
        kind(**settings)
