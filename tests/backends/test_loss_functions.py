"""Every loss of both adapters: within the reference's bounds, and equal to the frameworks' own losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
import tensorflow as tf  # noqa: E402
from dualml_tensorflow import losses as keras_side  # noqa: E402
from dualml_torch import losses as torch_side  # noqa: E402
from pydantic import ValidationError  # noqa: E402
from stock_training import LOSSES as STOCK  # noqa: E402
from torch.nn import functional  # noqa: E402

import dualml  # noqa: E402
from dualml import reference  # noqa: E402
from dualml.conventions import (  # noqa: E402
    PRESETS,
    fill,
    losses as presets,
)
from dualml.errors import ConfigError  # noqa: E402
from dualml.reference.losses import LOSSES, denominator  # noqa: E402
from dualml.spec import losses as spec  # noqa: E402

CLASSES = 4
WEIGHTS = (1.0, 2.3, 0.6, 0.0)
CROSS_ENTROPIES = [
    spec.CrossEntropy(class_weights=weights, ignore_index=ignored, label_smoothing=smoothing, **how)
    for weights in (WEIGHTS, "none")
    for ignored in (-100, 2, "none")
    for smoothing in (0.0, 0.1)
    for how in (
        {"normalization": "weights", "weighted_smoothing": "per_class"},
        {"normalization": "positions", "weighted_smoothing": "per_target"},
        {"normalization": "examples", "weighted_smoothing": "per_class"},
    )
]
OTHERS = [
    spec.SoftCrossEntropy(),
    spec.SoftCrossEntropy(label_smoothing=0.1),
    spec.FocalCrossEntropy(),
    spec.FocalCrossEntropy(gamma=0.0, alpha=1.0),
    spec.FocalCrossEntropy(gamma=1.5, alpha=(0.1, 0.3, 0.7, 1.0)),
    spec.BinaryCrossEntropy(),
    spec.BinaryCrossEntropy(label_smoothing=0.1, pos_weight=2.3),
    spec.BinaryCrossEntropy(pos_weight=(1.0, 3.0, 0.3, 0.7)),
    spec.BinaryFocalCrossEntropy(),
    spec.BinaryFocalCrossEntropy(alpha=0.3, gamma=1.7),
    spec.BinaryFocalCrossEntropy(alpha=0.25, gamma=0.0),
    spec.MeanSquaredError(),
    spec.MeanAbsoluteError(),
    spec.Huber(),
    spec.Huber(0.3),
    spec.SmoothL1(),
    spec.SmoothL1(0.3),
    spec.LogCosh(),
    spec.KlDivergence(),
    spec.Hinge(),
    spec.SquaredHinge(),
    spec.CategoricalHinge(),
    spec.MultiMargin(),
    spec.MultiMargin(p=2, margin=0.7),
    fill(spec.CosineDistance(), presets.TORCH),
    fill(spec.CosineDistance(), presets.KERAS),
    fill(spec.Poisson(), presets.TORCH),
    fill(spec.Poisson(), presets.KERAS),
]
ALL = [*CROSS_ENTROPIES, *OTHERS]


def identify(loss: spec.Loss) -> str:
    return "-".join([loss.kind, *(str(value) for value in dict(loss).values())])


def batch(loss: spec.Loss, shape: tuple[int, ...], dtype: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and targets that suit the loss."""
    random = np.random.default_rng(seed)
    outputs = 3.0 * random.standard_normal(shape)
    if isinstance(loss, spec.Poisson) and not loss.log_input:
        outputs = np.exp(outputs / 3.0)
    if loss.target == "class":
        targets = random.integers(0, shape[-1], shape[:-1])
        if isinstance(loss, spec.CrossEntropy) and loss.ignore_index == -100:
            targets.flat[::3] = -100
        return outputs.astype(dtype), targets
    targets = random.standard_normal(shape)
    if loss.values == "probability":
        targets = np.where(random.random(shape) < 0.7, random.integers(0, 2, shape), random.random(shape))
    if loss.values == "distribution":
        targets = np.exp(targets) * (random.random(shape) < 0.8) + 1e-3 * np.eye(shape[-1])[0]
        targets = targets / targets.sum(-1, keepdims=True)
    if loss.values == "sign":
        targets = np.sign(targets)
    if loss.values == "count":
        targets = random.poisson(2.0, shape).astype(float)
    return outputs.astype(dtype), targets.astype(dtype)


def run(side: str, loss: spec.Loss, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The example losses, and the gradient of their sum divided by the denominator."""
    if side == "torch":
        given, wanted = torch.tensor(outputs, requires_grad=True), torch.tensor(targets)
        losses = torch_side.example_losses(loss, given, wanted)
        total = losses.sum() / torch_side.denominator(loss, wanted).to(losses.dtype)
        (gradient,) = torch.autograd.grad(total, given)
        return losses.detach().numpy(), gradient.numpy()
    given, wanted = tf.constant(outputs), tf.constant(targets)
    with tf.GradientTape() as tape:
        tape.watch(given)
        losses = keras_side.example_losses(loss, given, wanted)
        total = tf.reduce_sum(losses) / tf.cast(keras_side.denominator(loss, wanted), losses.dtype)
    return losses.numpy(), tape.gradient(total, given).numpy()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("side", ["torch", "keras"])
@pytest.mark.parametrize("loss", ALL, ids=identify)
def test_within_bounds(loss: spec.Loss, side: str, dtype: str) -> None:
    unit, doubled = reference.unit_roundoff(dtype), 2.0 if dtype == "float64" else 1.0
    for seed, shape in enumerate([(40, CLASSES), (7, 5, CLASSES), (3, 2, 3, CLASSES)]):
        outputs, targets = batch(loss, shape, dtype, seed)
        losses, gradient = run(side, loss, outputs, targets)
        assert losses.shape == (len(outputs),)
        assert losses.dtype == gradient.dtype == dtype
        bound = reference.example_losses_bound(loss, outputs, targets, unit)
        assert (np.abs(losses - reference.example_losses(loss, outputs, targets)) <= doubled * bound).all()
        bound = reference.loss_gradient_bound(loss, outputs, targets, unit=unit)
        assert (np.abs(gradient - reference.loss_gradient(loss, outputs, targets)) <= doubled * bound).all()
        # No bound is so wide that a real difference fits in.
        sizes = np.abs(reference.loss_gradient(loss, outputs, targets))
        assert np.median(bound) <= 2**9 * unit * (np.median(sizes) + 1 / sizes.size)


@pytest.mark.parametrize("loss", ALL, ids=identify)
def test_gradients_of_the_reference(loss: spec.Loss) -> None:
    """Central differences, of the fourth order; away from kinks."""
    outputs, targets = batch(loss, (3, 2, CLASSES), "float64", 5)
    gradient, step = reference.loss_gradient(loss, outputs, targets), 1e-3
    for index in np.ndindex(outputs.shape):
        values = []
        for distance in (-2, -1, 1, 2):
            moved = outputs.copy()
            moved[index] += distance * step
            values.append(reference.loss_value(loss, moved, targets))
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert slope == pytest.approx(gradient[index], rel=1e-6, abs=1e-8)


def test_every_loss_is_everywhere() -> None:
    for table in (LOSSES, torch_side.LOSSES, keras_side.LOSSES):
        assert set(table) == {loss.kind for loss in spec.LOSSES}


@pytest.mark.parametrize("kind", STOCK["torch"])
def test_a_plain_loop_takes_the_stock_mean_of_torch(kind: str) -> None:
    (loss,) = (fill(item(), PRESETS["torch"]) for item in spec.LOSSES if item.kind == kind)
    outputs, targets = batch(loss, (30, CLASSES), "float64", 7)
    given, labels = torch.tensor(outputs), torch.tensor(targets)
    wanted = float(STOCK["torch"][kind](given, labels))
    found = float(torch_side.batch_loss(loss, given, labels, len(outputs)))
    assert found == (pytest.approx(wanted, rel=1e-14) if kind in ("cosine", "kl_divergence") else wanted)


@pytest.mark.parametrize("shape", [(30, CLASSES), (6, 5, CLASSES)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignored", ["none", -100, 1])
def test_class_weights_and_ignored_positions_are_torchs(shape: tuple[int, ...], smoothing: float, ignored: Any) -> None:
    settings = {"class_weights": WEIGHTS, "ignore_index": ignored, "label_smoothing": smoothing}
    loss = fill(spec.CrossEntropy(**settings), PRESETS["torch"])
    outputs, targets = batch(loss, shape, "float64", 8)
    given = torch.tensor(outputs, requires_grad=True)
    stock = torch.nn.CrossEntropyLoss(
        torch.tensor(WEIGHTS, dtype=torch.float64),
        ignore_index=-100 if ignored == "none" else ignored,
        label_smoothing=smoothing,
    )
    value = stock(given.movedim(-1, 1), torch.tensor(targets))
    (wanted,) = torch.autograd.grad(value, given)
    for side in ("torch", "keras"):
        losses, gradient = run(side, loss, outputs, targets)
        assert losses.sum() / denominator(loss, targets) == pytest.approx(value.item(), rel=1e-14)
        np.testing.assert_allclose(gradient, wanted.numpy(), rtol=1e-13, atol=1e-17)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_and_ignored_positions_are_keras(smoothing: float) -> None:
    """``class_weight`` of ``fit`` becomes sample weights by target; ``ignore_class`` a mean over the kept."""
    loss = fill(spec.CrossEntropy(class_weights=WEIGHTS, label_smoothing=smoothing), PRESETS["keras"])
    outputs, targets = batch(loss, (30, CLASSES), "float64", 9)
    stock = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, dtype="float64")
    weights = np.array(WEIGHTS)[targets]
    wanted = float(stock(np.eye(CLASSES)[targets], outputs, sample_weight=weights))
    for side in ("torch", "keras"):
        losses, _ = run(side, loss, outputs, targets)
        assert losses.sum() / denominator(loss, targets) == pytest.approx(wanted, rel=1e-14)
    loss = fill(spec.CrossEntropy(ignore_index=-100), PRESETS["keras"])
    outputs, targets = batch(loss, (30, CLASSES), "float64", 10)
    stock = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100, dtype="float64")
    wanted = float(stock(targets, outputs))
    for side in ("torch", "keras"):
        losses, _ = run(side, loss, outputs, targets)
        assert losses.sum() / denominator(loss, targets) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("loss", CROSS_ENTROPIES, ids=identify)
def test_denominators_of_parts_add_up(loss: spec.CrossEntropy) -> None:
    _, targets = batch(loss, (9, 5, CLASSES), "float64", 11)
    weights = np.random.default_rng(12).random(9)
    for weigh in (None, weights):
        whole = denominator(loss, targets, weigh)
        parts = [slice(0, 4), slice(4, 5), slice(5, 9)]
        each = [denominator(loss, targets[part], None if weigh is None else weigh[part]) for part in parts]
        assert sum(each) == pytest.approx(whole, rel=1e-14)
        labels, given = torch.tensor(targets), None if weigh is None else torch.tensor(weigh)
        assert torch_side.denominator(loss, labels, given).item() == pytest.approx(whole, rel=1e-14)
        found = keras_side.denominator(loss, tf.constant(targets), None if weigh is None else tf.constant(weigh))
        assert float(found) == pytest.approx(whole, rel=1e-14)


def test_where_everything_is_ignored_the_loss_is_0() -> None:
    for preset in PRESETS.values():
        loss = fill(spec.CrossEntropy(ignore_index=-100, class_weights=WEIGHTS), preset)
        outputs, targets = np.ones((3, CLASSES)), np.full(3, -100)
        assert denominator(loss, targets) == 0
        assert reference.loss_value(loss, outputs, targets) == 0
        assert not reference.loss_gradient(loss, outputs, targets).any()
        given = torch.ones(3, CLASSES, dtype=torch.float64)
        assert not torch_side.example_losses(loss, given, torch.tensor(targets)).any()
        assert (
            not keras_side.example_losses(loss, tf.ones((3, CLASSES), tf.float64), tf.constant(targets)).numpy().any()
        )


def test_sample_weights_are_what_repeats_are() -> None:
    """An example of weight 2 counts as much as the same example twice, in ``weights`` normalization."""
    loss = spec.CrossEntropy(class_weights=WEIGHTS, normalization="weights", weighted_smoothing="per_class")
    outputs, targets = batch(loss, (4, CLASSES), "float64", 13)
    weights = np.array([2.0, 1.0, 1.0, 3.0])
    weighted = (weights * reference.example_losses(loss, outputs, targets)).sum() / denominator(loss, targets, weights)
    rows = np.repeat(np.arange(4), weights.astype(int))
    assert weighted == pytest.approx(reference.loss_value(loss, outputs[rows], targets[rows]), rel=1e-14)


def test_tensorflows_gradient_takes_for_granted_that_targets_sum_to_1() -> None:
    """Why weighted, smoothed targets do not go through ``softmax_cross_entropy_with_logits``."""
    logits, targets = tf.constant([[0.3, -1.0, 2.0]], tf.float64), tf.constant([[0.5, 1.0, 1.5]], tf.float64)
    slopes = []
    for function in (
        lambda: tf.nn.softmax_cross_entropy_with_logits(labels=targets, logits=logits),
        lambda: -tf.reduce_sum(targets * tf.nn.log_softmax(logits), axis=-1),
    ):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = function()
        slopes.append(tape.gradient(value, logits).numpy())
    assert np.abs(slopes[0] - slopes[1]).max() > 0.1


def test_extreme_logits() -> None:
    """Losses stay finite and right where probabilities are 0 or 1 to the last digit."""
    logits = np.array([[-800.0, 0.0, 0.0, 600.0], [40.0, -40.0, 0.0, 0.0]])
    for loss in (spec.FocalCrossEntropy(), spec.BinaryFocalCrossEntropy(), spec.BinaryCrossEntropy(), spec.LogCosh()):
        targets = np.array([0, 0]) if loss.target == "class" else np.array([[1.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
        for side in ("torch", "keras"):
            losses, gradient = run(side, loss, logits, targets)
            assert np.isfinite(losses).all(), loss.kind
            assert np.isfinite(gradient).all(), loss.kind
            bound = 2 * reference.example_losses_bound(loss, logits, targets, 2.0**-53)
            assert (np.abs(losses - reference.example_losses(loss, logits, targets)) <= bound).all(), loss.kind


def test_a_cosine_of_nothing_has_no_gradient() -> None:
    loss = fill(spec.CosineDistance(), PRESETS["keras"])
    for side in ("torch", "keras"):
        losses, gradient = run(side, loss, np.zeros((2, 3)), np.zeros((2, 3)))
        assert not losses.any()
        assert not gradient.any(), "tf.minimum(rsqrt(0), 1 / epsilon) would make it NaN"


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (spec.CrossEntropy, {"class_weights": (0.0, 0.0)}, "class_weights must hold a number above 0"),
        (spec.CrossEntropy, {"class_weights": (1.0, -1.0)}, "greater than or equal to 0"),
        (spec.FocalCrossEntropy, {"gamma": 0.5}, "gamma must be 0, or at least 1"),
        (spec.BinaryFocalCrossEntropy, {"gamma": 0.5}, "gamma must be 0, or at least 1"),
        (spec.BinaryCrossEntropy, {"pos_weight": 0.0}, "greater than 0"),
        (spec.Huber, {"delta": 0.0}, "greater than 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**settings)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (spec.CrossEntropy(class_weights=(1.0, 2.0)), "class_weights"),
        (spec.FocalCrossEntropy(alpha=(1.0, 2.0)), "alpha"),
        (spec.BinaryCrossEntropy(pos_weight=(1.0, 2.0)), "pos_weight"),
    ],
)
def test_lists_must_fit_the_output(loss: spec.Loss, name: str) -> None:
    loss.check_output((5, 2))
    with pytest.raises(ValueError, match=f"{name} must have one number for each of the output's 3 values .* got 2"):
        loss.check_output((2, 3))


def test_why_there_is_no_ctc() -> None:
    """PyTorch computes CTC in float64; nothing of TensorFlow's does. Once this fails it can be let in."""
    generator = np.random.default_rng(0)
    logits, labels = generator.standard_normal((2, 8, CLASSES)), generator.integers(1, CLASSES, (2, 3))
    lengths, steps = np.array([3, 2]), np.array([8, 6])

    def of_torch(values: np.ndarray) -> np.ndarray:
        chances = torch.tensor(values).log_softmax(-1).movedim(0, 1)
        given = [torch.tensor(item) for item in (labels, steps, lengths)]
        return functional.ctc_loss(chances, *given, reduction="none").numpy()

    wanted = of_torch(logits)
    assert np.abs(of_torch(logits.astype(np.float32)) - wanted).max() > 1e-9
    # A constant added to all logits of a step changes nothing; in float32 it would move the last digits.
    np.testing.assert_allclose(of_torch(logits + 3.0), wanted, rtol=1e-14)
    off = np.abs(keras.ops.ctc_loss(labels, tf.constant(logits), lengths, steps, mask_index=0).numpy() - wanted).max()
    assert 1e-9 < off < 1e-4
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.nn.ctc_loss(labels.astype("int32"), tf.constant(logits), lengths, steps, logits_time_major=False)
    repeated, three, four = np.array([[2, 2, 2]]), np.array([3]), np.array([4])  # which would need 5 steps
    impossible = functional.ctc_loss(
        torch.tensor(logits[:1, :4]).log_softmax(-1).movedim(0, 1),
        *(torch.tensor(item) for item in (repeated, four, three)),
        reduction="none",
    )
    assert impossible.isinf().all()
    logits32 = tf.constant(logits[:1, :4], tf.float32)
    assert np.isfinite(keras.ops.ctc_loss(repeated, logits32, three, four, mask_index=0).numpy()).all()


def test_ctc_is_refused_with_the_reason(tmp_path: Any) -> None:
    config = tmp_path / "ctc.yaml"
    config.write_text("model: {input: [4], layers: [{dense: 3}]}\nloss: ctc\noptimizer: adam\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"loss: unknown kind 'ctc'; CTC is left out because .* use cross_entropy"):
        dualml.load(config)
