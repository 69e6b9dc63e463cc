"""A replay script shows a difference without dualml."""

import runpy
import subprocess
import sys

import numpy as np
import pytest

from dualml.errors import ParityError, RunError
from dualml.parity.replay import LayerReplay, LossReplay, Operation, Replay, UpdateReplay, write_replay
from dualml.parity.replay.script import script

ALONE = "import runpy, sys; sys.modules['dualml'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
"""Runs a script where dualml cannot be imported."""
RANDOM = np.random.default_rng(0)


@pytest.fixture
def shown(capsys):
    """Runs a script in this process."""

    def run(path):
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


def alone(path):
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def norm(epsilons, shape=(2, 3, 4, 5), precision="float64"):
    """A batch norm on both sides, on the left with channels first, with the right one's arrays in Keras' order."""
    image = RANDOM.normal(size=shape).astype(precision)
    channels = shape[1]
    scale, offset, mean, variance = (RANDOM.uniform(0.001, 0.01, channels).astype(precision) for _ in range(4))
    left = Operation(
        f"nn.BatchNorm2d({channels}, eps={epsilons[0]})",
        ("x",),
        "y",
        np.zeros(0),
        {
            "weight": scale,
            "bias": offset,
            "running_mean": mean,
            "running_var": variance,
            "num_batches_tracked": np.array(3),
        },
    )
    right = Operation(
        f"keras.layers.BatchNormalization(epsilon={epsilons[1]})",
        ("x",),
        "y",
        np.zeros(0),
        {"gamma": scale, "beta": offset, "moving_mean": mean, "moving_variance": variance},
    )
    expected = [
        (image - mean[:, None, None]) / np.sqrt(variance + epsilon)[:, None, None] * scale[:, None, None]
        + offset[:, None, None]
        for epsilon in epsilons
    ]
    last = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    return Replay(
        'norm.epsilon at "features.1"',
        LayerReplay("torch", 'features.1 """ BatchNorm2d', {"x": image}, (left,), (0, 2, 3, 1)),
        LayerReplay("tensorflow", "batch_normalization", {"x": last}, (right,), (0, 1, 2, 3)),
        precision,
    ), [array.transpose(0, 2, 3, 1) for array in expected]


def gap_of(text):
    return float(text.partition("largest difference ")[2].partition(":")[0])


def test_a_layer_is_run_in_both_frameworks_without_dualml(tmp_path):
    replay, (left, right) = norm((1e-5, 1e-3))
    files = write_replay(replay, tmp_path / "replay.py")
    assert files == (tmp_path / "replay.py",)
    text = alone(tmp_path / "replay.py")
    wanted = np.abs(left - right)
    assert gap_of(text) == pytest.approx(wanted.max(), rel=1e-3)
    place = tuple(int(axis) for axis in np.unravel_index(wanted.argmax(), wanted.shape))
    assert f"output, shape (2, 4, 5, 3), worst at {place}" in text


def test_equal_layers_differ_by_rounding_only_and_large_arrays_stand_beside(tmp_path, shown):
    replay, _ = norm((1e-4, 1e-4), (8, 3, 40, 40))
    files = write_replay(replay, tmp_path / "replay.py")
    assert [file.name for file in files] == ["replay.py", "replay.npz"]
    assert files[0].stat().st_size < 5_000
    assert gap_of(shown(files[0])) < 1e-13


def test_several_operations_functions_and_what_only_the_model_can_do(tmp_path, shown):
    rows, kernel, bias = RANDOM.normal(size=(5, 4)), RANDOM.normal(size=(4, 3)), RANDOM.normal(size=3)
    linear = Operation("nn.Linear(4, 3)", ("x",), "a", np.zeros(0), {"weight": kernel.T.copy(), "bias": bias})
    twice = Operation("torch.add(x, x, alpha=2)", ("a", "x2"), "b", np.zeros(0))
    shift = RANDOM.normal(size=(5, 3))
    left = LayerReplay("torch", "net.0 and more", {"x": rows, "x2": shift}, (linear, twice), (1, 0))
    recorded = (rows @ kernel + bias + 2 * shift).T
    right = LayerReplay(
        "tensorflow",
        "my_layer",
        {"x": rows},
        (Operation("own.layer(x)", ("x",), "a", recorded), Operation("keras.activations.relu", ("a",), "b", recorded)),
        (0, 1),
    )
    write_replay(Replay("activation.kind", left, right), tmp_path / "replay.py")
    text = shown(tmp_path / "replay.py")
    assert gap_of(text) == pytest.approx(-recorded.min(), rel=1e-3)
    assert "as the model gave it: own.layer(x)" in (tmp_path / "replay.py").read_text(encoding="utf-8")


def test_a_loss(tmp_path, shown):
    logits = RANDOM.normal(size=(6, 3))
    classes = np.array([0, 1, 2, 2, 1, 0])
    left = LossReplay("torch", "CrossEntropyLoss", "nn.CrossEntropyLoss(reduction='sum')", logits, classes)
    code = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
    right = LossReplay("tensorflow", "SparseCategoricalCrossentropy", code, logits, classes)
    write_replay(Replay("loss.reduction", left, right), tmp_path / "replay.py")
    text = shown(tmp_path / "replay.py")
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    whole = -np.log(probabilities[np.arange(6), classes]).sum()
    assert gap_of(text) == pytest.approx(whole * 5 / 6, rel=1e-3)
    assert "gradient, shape (6, 3)" in text


def test_updates(tmp_path, shown):
    parameter = RANDOM.normal(size=3)
    gradients = tuple(RANDOM.normal(size=3) for _ in range(3))
    left = UpdateReplay("torch", "SGD", "torch.optim.SGD(model.parameters(), lr=0.1)", parameter, gradients)
    right = UpdateReplay(
        "tensorflow", "SGD", "keras.optimizers.SGD(learning_rate=0.1, momentum=0.9)", parameter, gradients
    )
    write_replay(Replay("optimizer.momentum", left, right), tmp_path / "replay.py")
    text = shown(tmp_path / "replay.py")
    assert text.index("parameter after step 1") < text.index("parameter after step 2") < text.index("after step 3")
    first, second, _ = text.split("parameter after step")[1:]
    assert gap_of(first) < 1e-15
    assert gap_of(second) == pytest.approx(0.09 * np.abs(gradients[0]).max(), rel=1e-3)


def test_the_same_framework_on_both_sides_needs_only_that_one(tmp_path):
    replay, _ = norm((1e-5, 1e-3))
    other = LayerReplay("torch", "new", replay.left.values, replay.left.operations, replay.left.axes)
    text = script("same", {"left": replay.left, "right": other}, "float32")
    assert "keras" not in text
    assert "tensorflow" not in text


def test_nothing_of_a_title_becomes_code(tmp_path, shown):
    replay, _ = norm((1e-5, 1e-3))
    text = script('x"""\nraise SystemExit("bad")\n"""', {"left": replay.left, "right": replay.right}, "float64")
    path = tmp_path / "replay.py"
    path.write_text(text, encoding="utf-8")
    assert "largest difference" in shown(path)


def test_a_framework_without_scripts_is_said(tmp_path):
    replay, _ = norm((1e-5, 1e-3))
    other = LayerReplay("numpy_example", "x", {}, replay.left.operations, (0, 1))
    with pytest.raises(ParityError, match=r"torch and tensorflow; numpy_example is not among them"):
        write_replay(Replay("t", other, replay.right), tmp_path / "replay.py")


def test_a_file_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(RunError, match=r"--replay .* cannot be written"):
        write_replay(norm((1e-5, 1e-3))[0], tmp_path / "missing" / "replay.py")
