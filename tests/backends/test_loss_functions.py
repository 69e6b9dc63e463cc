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
from torch.nn import functional  # noqa: E402

from dualml import reference  # noqa: E402
from dualml.conventions import (  # noqa: E402
    PRESETS,
    fill,
    losses as presets,
)
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


def mean(values: Any) -> float:
    return float(np.asarray(values).mean())


def soft(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def keras_loss(name: str, **settings: Any) -> Any:
    """A Keras loss in float64, ``(outputs, targets)``."""
    return lambda z, t: float(getattr(keras.losses, name)(dtype="float64", **settings)(t, z))


def torch_loss(name: str, **settings: Any) -> Any:
    return lambda z, t: float(getattr(functional, name)(torch.tensor(z), torch.tensor(t), **settings))


STOCK = {
    "torch": {
        spec.CrossEntropy: torch_loss("cross_entropy"),
        spec.SoftCrossEntropy: torch_loss("cross_entropy"),
        spec.BinaryCrossEntropy: torch_loss("binary_cross_entropy_with_logits"),
        spec.MeanSquaredError: torch_loss("mse_loss"),
        spec.MeanAbsoluteError: torch_loss("l1_loss"),
        spec.Huber: torch_loss("huber_loss"),
        spec.SmoothL1: torch_loss("smooth_l1_loss"),
        spec.KlDivergence: lambda z, t: torch_loss("kl_div", reduction="batchmean")(np.log(soft(z)), t),
        spec.MultiMargin: torch_loss("multi_margin_loss"),
        spec.CosineDistance: lambda z, t: float(
            functional.cosine_embedding_loss(torch.tensor(z), torch.tensor(t), torch.ones(len(z)))
        ),
        spec.Poisson: torch_loss("poisson_nll_loss"),
    },
    "keras": {
        spec.CrossEntropy: keras_loss("SparseCategoricalCrossentropy", from_logits=True),
        spec.SoftCrossEntropy: keras_loss("CategoricalCrossentropy", from_logits=True),
        spec.FocalCrossEntropy: lambda z, t: keras_loss("CategoricalFocalCrossentropy")(soft(z), np.eye(CLASSES)[t]),
        spec.BinaryCrossEntropy: keras_loss("BinaryCrossentropy", from_logits=True),
        spec.BinaryFocalCrossEntropy: keras_loss("BinaryFocalCrossentropy", from_logits=True),
        spec.MeanSquaredError: keras_loss("MeanSquaredError"),
        spec.MeanAbsoluteError: keras_loss("MeanAbsoluteError"),
        spec.Huber: keras_loss("Huber"),
        spec.LogCosh: keras_loss("LogCosh"),
        spec.KlDivergence: lambda z, t: keras_loss("KLDivergence")(soft(z), t),
        spec.Hinge: keras_loss("Hinge"),
        spec.SquaredHinge: keras_loss("SquaredHinge"),
        spec.CategoricalHinge: lambda z, t: keras_loss("CategoricalHinge")(z, np.eye(CLASSES)[t]),
        spec.CosineDistance: keras_loss("CosineSimilarity"),
        spec.Poisson: keras_loss("Poisson"),
    },
}
"""The frameworks' losses with nothing but what makes them take logits."""
INEXACT = {spec.LogCosh: 1e-8}
"""Where Keras rounds constants to float32; elsewhere the two agree to the last digits."""
PAIRS = [(side, kind) for side in STOCK for kind in STOCK[side]]


def test_every_loss_is_compared_with_stock() -> None:
    assert set(STOCK["torch"]) | set(STOCK["keras"]) == set(spec.LOSSES)
    for table in (LOSSES, torch_side.LOSSES, keras_side.LOSSES):
        assert set(table) == {loss.kind for loss in spec.LOSSES}


@pytest.mark.parametrize(("side", "kind"), PAIRS, ids=lambda item: getattr(item, "kind", item))
def test_a_convention_is_the_frameworks_default(side: str, kind: Any) -> None:
    loss = fill(kind(), PRESETS[side])
    outputs, targets = batch(loss, (30, CLASSES), "float64", 7)
    outputs = np.clip(outputs, -4, 4)  # where Keras' clipping of probabilities at 1e-7 changes nothing
    if kind is spec.KlDivergence:
        targets = soft(targets)  # no zeros, which Keras would clip
    wanted = STOCK[side][kind](outputs, targets)
    losses, _ = run(side, loss, outputs, targets)
    assert losses.sum() / denominator(loss, targets) == pytest.approx(wanted, rel=INEXACT.get(kind, 1e-13))
    if side == "torch":
        given, labels = torch.tensor(outputs), torch.tensor(targets)
        found = float(torch_side.batch_loss(loss, given, labels, len(outputs)))
        plain = kind not in (spec.CosineDistance, spec.KlDivergence)
        assert found == (wanted if plain else pytest.approx(wanted, rel=1e-14)), "a plain loop takes the stock mean"


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
