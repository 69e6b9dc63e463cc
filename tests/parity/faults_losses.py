"""Faults of running statistics, losses, penalties and gradients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis_support import (
    CASES,
    IMAGE,
    UNIT,
    buffers_of,
    case,
    loss_case,
    node,
    numbers,
    passed,
    read_loss,
    use_of,
    weights_of,
    x_flat,
    x_image,
)

from dualml.parity.hypotheses import (
    Penalised,
    explain_backward,
    explain_buffers,
    explain_loss,
    explain_penalties,
    identified,
)
from dualml.parity.hypotheses.loss_forms import LossForm
from dualml.reference.regularizers import penalty
from dualml.spec.layers import (
    BatchNorm,
    Dense,
)
from dualml.spec.losses import BinaryCrossEntropy, CrossEntropy, SoftCrossEntropy
from dualml.spec.regularizers import L2


def running(meant, said, claimed=True, **more):
    weights = weights_of(meant)
    after = buffers_of(said, weights, x_image)
    return explain_buffers(meant, said if claimed else None, weights, [x_image], after, unit=UNIT, **more)


def norm(**settings):
    return node(BatchNorm(**settings), IMAGE)


for name, said in (("said", True), ("unsaid", False)):
    CASES += [
        ("norm.momentum", f"0.99, {name}", lambda s=said: running(norm(momentum=0.9), norm(momentum=0.99), s)),
        ("norm.momentum", f"0.75, {name}", lambda s=said: running(norm(momentum=0.9), norm(momentum=0.75), s)),
        (
            "norm.unbiased_variance",
            f"running, {name}",
            lambda s=said: running(norm(variance="unbiased"), norm(variance="biased"), s),
        ),
        ("norm.frozen_mode", f"buffers, {name}", lambda s=said: running(norm(), norm(frozen=True), s)),
    ]


@case("norm.momentum", "the convention of the other framework")
def _():
    meant = norm(momentum=0.9, variance="biased")
    weights = weights_of(meant)
    mean, variance = x_image.mean(axis=(0, 1, 2)), x_image.var(axis=(0, 1, 2))
    after = {
        "running_mean": 0.1 * weights["layer.running_mean"] + 0.9 * mean,
        "running_variance": 0.1 * weights["layer.running_variance"] + 0.9 * variance,
    }
    return explain_buffers(meant, None, weights, [x_image], after, unit=UNIT)


logits, classes = 3.0 * numbers(6, 5), np.array([0, 1, 2, 3, 4, 1])
plain = CrossEntropy(normalization="weights", weighted_smoothing="per_class")
sequence, tokens = numbers(3, 4, 5), np.arange(12).reshape(3, 4) % 5


def lost(meant, form, outputs=logits, targets=classes, said=None, probabilities=False):
    return explain_loss(read_loss(meant, probabilities), said, loss_case(form, outputs, targets), unit=UNIT)


CASES += [
    ("loss.reduction", "sum", lambda: lost(plain, LossForm(plain, factor=6.0))),
    ("loss.reduction", "sum of positions", lambda: lost(plain, LossForm(plain, factor=4.0), sequence, tokens)),
    (
        "loss.reduction",
        "divided by the values",
        lambda: lost(SoftCrossEntropy(), LossForm(SoftCrossEntropy(), factor=0.2), logits, np.eye(5)[classes]),
    ),
    (
        "loss.from_logits",
        "probabilities",
        lambda: lost(plain, LossForm(plain, "probabilities", 1e-7, "again"), np.exp(logits) / 9),
    ),
    (
        "loss.from_logits",
        "logits",
        lambda: lost(
            plain, LossForm(plain), np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), probabilities=True
        ),
    ),
    (
        "loss.from_logits",
        "binary",
        lambda: lost(
            BinaryCrossEntropy(),
            LossForm(BinaryCrossEntropy(), "probabilities", 1e-7),
            1.0 / (1.0 + np.exp(-logits)),
            (logits > 0).astype(np.float64),
        ),
    ),
    ("softmax.double", "in the loss", lambda: lost(plain, LossForm(plain, "softmax"))),
    ("loss.clipping", "at 1e-7", lambda: lost(plain, LossForm(plain, clip=1e-7), 9.0 * logits)),
    (
        "loss.label_smoothing",
        "0.1",
        lambda: lost(plain, LossForm(plain.model_copy(update={"label_smoothing": 0.1}))),
    ),
    (
        "loss.label_smoothing",
        "0.17",
        lambda: lost(plain, LossForm(plain.model_copy(update={"label_smoothing": 0.17}))),
    ),
    (
        "loss.label_smoothing",
        "said",
        lambda: lost(
            plain,
            LossForm(plain.model_copy(update={"label_smoothing": 0.1})),
            said=read_loss(plain.model_copy(update={"label_smoothing": 0.1})),
        ),
    ),
    (
        "loss.ignore_index",
        "padding",
        lambda: lost(
            plain,
            LossForm(CrossEntropy(ignore_index=0, normalization="positions", weighted_smoothing="per_class")),
            sequence,
            tokens,
        ),
    ),
    (
        "loss.class_weights",
        "unsaid",
        lambda: lost(
            plain,
            LossForm(
                CrossEntropy(
                    class_weights=(1.0, 2.0, 3.0, 0.5, 1.5), normalization="weights", weighted_smoothing="per_class"
                )
            ),
        ),
    ),
    (
        "loss.class_weights",
        "divided by the examples",
        lambda: lost(
            CrossEntropy(
                class_weights=(1.0, 2.0, 3.0, 0.5, 1.5), normalization="weights", weighted_smoothing="per_class"
            ),
            LossForm(
                CrossEntropy(
                    class_weights=(1.0, 2.0, 3.0, 0.5, 1.5), normalization="examples", weighted_smoothing="per_class"
                )
            ),
        ),
    ),
]


def own(meant, form, outputs=logits, targets=classes):
    """Two functions of the users' own: the form of one is found by what it gave."""
    found = identified(loss_case(meant, outputs, targets), unit=UNIT)
    assert found is not None
    return explain_loss(found, None, loss_case(form, outputs, targets), unit=UNIT)


probabilities = np.exp(9.0 * logits) / np.exp(9.0 * logits).sum(-1, keepdims=True)
CASES += [
    ("loss.reduction", "divided by a full batch", lambda: lost(plain, LossForm(plain, factor=6.0 / 16.0))),
    (
        "loss.reduction",
        "said to be a sum",
        lambda: lost(plain, LossForm(plain, factor=6.0), said=replace(read_loss(plain), reduction="positions")),
    ),
    ("loss.from_logits", "never normalised", lambda: lost(plain, LossForm(plain, "logarithms"))),
    ("loss.reduction", "of two functions", lambda: own(LossForm(plain), LossForm(plain, factor=6.0))),
    (
        "loss.clipping",
        "of two functions",
        lambda: own(LossForm(plain, "probabilities"), LossForm(plain, "probabilities", 1e-7), probabilities),
    ),
    (
        "loss.label_smoothing",
        "of two functions",
        lambda: own(LossForm(plain), LossForm(plain.model_copy(update={"label_smoothing": 0.1}))),
    ),
]

kernels = {"dense.kernel": numbers(6, 5), "dense.bias": numbers(5)}


def penalised(meant, said, *, claimed=True, factor=1.0):
    added = sum(penalty(item, kernels) for item in said) * factor
    return explain_penalties(added, kernels, (meant, said if claimed else meant), unit=UNIT)


CASES += [
    ("regulariser.factor", "said", lambda: penalised([L2(0.01)], [L2(0.02)])),
    ("regulariser.factor", "half", lambda: penalised([L2(0.01)], [L2(0.01)], claimed=False, factor=0.5)),
    ("regulariser.scope", "said", lambda: penalised([L2(0.01)], [L2(0.01, scope="all")])),
    ("regulariser.scope", "unsaid", lambda: penalised([L2(0.01)], [L2(0.01, scope="all")], claimed=False)),
]


def dense_slope(factor=1.0, added=0.0):
    meant = node(Dense(5), (8,))
    weights, slope = weights_of(meant), numbers(5, 5)
    recorded = passed(meant, weights, x_flat, slope, "kernel") * factor + added * weights["layer.kernel"]
    return recorded, use_of(meant, meant, weights, x_flat, slope, "kernel"), weights["layer.kernel"]


@case("regulariser.factor", "in the gradient")
def _():
    recorded, use, weight = dense_slope(added=2 * 0.003)
    return explain_backward(recorded, [use], unit=UNIT, penalised=Penalised("dense.kernel", weight))


@case("regulariser.factor", "half in the gradient")
def _():
    recorded, use, weight = dense_slope(added=0.01)
    held = Penalised("dense.kernel", weight, [L2(0.01)], [L2(0.01)])
    return explain_backward(recorded, [use], unit=UNIT, penalised=held)


@case("gradients.accumulated", "in the gradient")
def _():
    recorded, use, _ = dense_slope(factor=4.0)
    return explain_backward(recorded, [use], unit=UNIT, everywhere=lambda factor: factor == 4.0)


@case("parameters.frozen", "no gradient")
def _():
    _, use, _ = dense_slope()
    return explain_backward(None, [use], unit=UNIT, trained=(True, False))


@case("parameters.frozen", "a gradient of 0")
def _():
    recorded, use, _ = dense_slope()
    return explain_backward(np.zeros_like(recorded), [use], unit=UNIT)
