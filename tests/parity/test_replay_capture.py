"""Replays recorded from two real models, and run without dualml."""

import keras
import numpy as np
import pytest
import torch
from test_replay import alone, gap_of
from torch import nn

import dualml
from dualml.parity.diff import result
from dualml.parity.diff.adopt import adopted
from dualml.parity.diff.engine import Comparison
from dualml.parity.replay import write_replay
from dualml.parity.replay.capture import capture, without_activation
from dualml.parity.replay.sides import LayerReplay, Operation, callable_code

RANDOM = np.random.default_rng(0)


def compared(left, right, inputs, targets=None):
    """The finished run of a comparison, and its findings."""
    comparison = Comparison(
        adopted(left, "left"), adopted(right, "right"), ({"": inputs}, None), targets, 3, "auto", None, lambda _: None
    )
    run = comparison.compare()
    return run, result.report(comparison, ("", ""), "", 0.0)


@pytest.fixture(scope="module")
def norms():
    """A convolution and a batch norm with each framework's epsilon; losses and optimizers with theirs."""
    torch.manual_seed(0)
    left = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 4))
    right = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(3, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Permute((3, 1, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(4),
        ]
    )
    return compared(
        dualml.Trainable(left, nn.CrossEntropyLoss(reduction="sum"), lambda items: torch.optim.Adam(items, lr=0.01)),
        dualml.Trainable(
            right,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            keras.optimizers.Adam(0.01, epsilon=1e-3),
        ),
        RANDOM.normal(size=(5, 1, 6, 6)).astype("float32"),
        {"": np.array([0, 1, 2, 3, 0])},
    )


def replay_of(norms, phase):
    run, report = norms
    finding = next(item for item in report.native.findings if item.phase == phase)
    return capture(run, finding), finding


def test_both_adapters_give_their_layers_arrays(norms):
    run, _ = norms
    for side in run.sides:
        call = next(call for call in side.trace.calls if call.kind == "batch_norm")
        arrays = side.model.layer_arrays(call.name)
        assert len(arrays) >= 4
        assert side.model.layer_arrays("nothing of the kind") is None


def test_a_layer_is_made_again_with_its_weights_and_inputs(norms, tmp_path):
    replay, finding = replay_of(norms, "forward")
    for side in (replay.left, replay.right):
        assert all(callable_code(operation) is not None for operation in side.operations)
    write_replay(replay, tmp_path / "replay.py")
    assert gap_of(alone(tmp_path / "replay.py")) == pytest.approx(finding.max_abs, rel=1e-3)
    text = (tmp_path / "replay.py").read_text(encoding="utf-8")
    assert "nn.BatchNorm2d(" in text
    assert "keras.layers.BatchNormalization(" in text


def test_the_right_side_reads_what_the_left_side_recorded(norms):
    replay, _ = replay_of(norms, "forward")
    (one,), (two,) = replay.left.values.values(), replay.right.values.values()
    assert np.array_equal(one.transpose(0, 2, 3, 1), two)


def test_losses_and_optimizers(norms, tmp_path):
    for phase, code in (("loss", "nn.CrossEntropyLoss(reduction='sum')"), ("update", "torch.optim.Adam(")):
        replay, _ = replay_of(norms, phase)
        assert code in replay.left.code
        assert replay.right.code.startswith("keras.")


def test_an_own_layer_is_shown_by_what_it_gave(tmp_path):
    class Own(nn.Module):
        def forward(self, x):
            return torch.special.i0e(x) + 0.25

    left = nn.Sequential(nn.Linear(3, 2), nn.Sigmoid())
    right = nn.Sequential(nn.Linear(3, 2), Own())
    right[0].load_state_dict(left[0].state_dict())
    run, report = compared(left, right, RANDOM.normal(size=(4, 3)).astype("float32"))
    assert report.verdict == "different"
    replays = [capture(run, finding) for finding in report.native.findings]
    assert all(item is None or isinstance(item.right, LayerReplay) for item in replays)


def test_a_layer_that_a_call_of_its_own_follows_loses_its_activation():
    assert without_activation("keras.layers.Dense(4, activation='softmax')") == "keras.layers.Dense(4)"
    assert without_activation("nn.Linear(2, 3") == "nn.Linear(2, 3"
    assert without_activation("relu") == "relu"


def test_code_of_unknown_arrays_is_not_run():
    assert callable_code(Operation("nn.Linear(2, 3)", ("x",), "y", np.zeros(1), None)) is None
    assert callable_code(Operation("nn.Linear(2, 3)", ("x",), "y", np.zeros(1), {})) == "nn.Linear(2, 3)"
