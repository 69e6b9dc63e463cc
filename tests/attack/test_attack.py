"""FGSM and PGD: against Captum, against models whose worst case is known, and between backends."""

import re

import numpy as np
import pytest
import torch
from captum import robust
from hypothesis import given, settings, strategies as st

import dualml
from dualml import reference
from dualml.api import splits_of
from dualml.attack import Surroundings, attack
from dualml.attack.methods import Victim
from dualml.errors import DataError, RunError, UnsupportedError
from dualml.spec.layers import Dense
from dualml.spec.losses import BinaryCrossEntropy, CrossEntropy
from dualml.testing.cases import Case
from dualml.training.run_directory import open_run

pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already require gradients")  # Captum's

EPSILONS = (0.02, 0.08, 0.2)
LINEAR = """\
model: {{input: 4, layers: [dense: {units}]}}
data: {{source: npz, path: data.npz, test: 0.5}}
loss: {loss}
optimizer: {{adam: {{lr: 0.05}}}}
train: {{epochs: 8}}
"""


def victim(run, backend, precision, count=40):
    """Examples of the test split with a model of that precision."""
    stored = open_run(run)
    spec = stored.spec.replace(precision=precision)
    weights = {name: array.astype(precision) for name, array in stored.weights().items()}
    x, y = splits_of(stored, "test")["test"].gather(np.arange(count), precision)
    return Victim(dualml.build(spec, backend, weights=weights), "classes", {"input": x}, y)


def channels_first(array):
    return torch.from_numpy(np.moveaxis(array, -1, 1).copy())


def cross_entropy(outputs, labels):
    return torch.nn.functional.cross_entropy(outputs, labels, reduction="none")


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_a_step_is_captum_s_fgsm(images_run, backend):
    subject = victim(images_run, backend, "float64")
    x = subject.inputs["input"]
    box = Surroundings.of(x, 0.1, (0.0, 1.0))
    found = subject.moved(subject.inputs, subject.outputs(subject.inputs), {"input": box}, 0.1)["input"]
    model = victim(images_run, "torch", "float64").network.native.eval()
    method = robust.FGSM(model, cross_entropy, lower_bound=0.0, upper_bound=1.0)
    wanted = method.perturb(channels_first(x), epsilon=0.1, target=torch.from_numpy(subject.targets))
    np.testing.assert_allclose(found, np.moveaxis(wanted.detach().numpy(), 1, -1), atol=1e-12)
    assert (found != x).mean() > 0.5


def test_many_steps_are_captum_s_pgd(images_run):
    subject = victim(images_run, "torch", "float64")
    x = subject.inputs["input"]
    box = {"input": Surroundings.of(x, 0.1, (0.0, 1.0))}
    points = dict(subject.inputs)
    for _ in range(5):
        points = subject.moved(points, subject.outputs(points), box, 0.04)
    method = robust.PGD(subject.network.native.eval(), cross_entropy, lower_bound=0.0, upper_bound=1.0)
    wanted = method.perturb(
        channels_first(x), radius=0.1, step_size=0.04, step_num=5, target=torch.from_numpy(subject.targets)
    )
    np.testing.assert_allclose(points["input"], np.moveaxis(wanted.detach().numpy(), 1, -1), atol=1e-12)


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
@pytest.mark.parametrize("random_start", [True, False])
def test_stronger_attacks_leave_less(images_run, backend, random_start):
    found = attack(images_run, backend, epsilon=EPSILONS, steps=8, limit=120, random_start=random_start)
    for result in found.results:
        assert result.pgd <= result.fgsm <= found.clean
        assert result.largest <= result.epsilon
        assert result.pgd == (~result.wrong).mean()
    assert found.results[-1].pgd < found.clean - 0.2


def test_a_bad_step_size_does_not_make_pgd_weaker_than_fgsm(images_run):
    for step_size in (1e-6, 10.0):
        (result,) = attack(images_run, epsilon=0.1, steps=2, step_size=step_size, limit=120).results
        assert result.pgd <= result.fgsm


def test_both_backends_find_the_same(images_run):
    left, right = (attack(images_run, backend, epsilon=EPSILONS, steps=8) for backend in ("torch", "tensorflow"))
    assert (left.clean, left.bounds) == (right.clean, right.bounds)
    for one, other in zip(left.results, right.results, strict=True):
        assert (one.wrong != other.wrong).sum() <= 1


def test_the_worst_points_are_what_the_model_gets_wrong(images_run):
    found = attack(images_run, epsilon=0.1, steps=8, limit=100)
    (result,) = found.results
    x, y = splits_of(open_run(images_run), "test")["test"].gather(np.arange(100), "float32")
    points = result.points["input"]
    assert np.abs(points.astype(np.float64) - x).max() == result.largest > 0.09
    assert (found.bounds["input"], points.min() >= 0, points.max() <= 1) == ((0.0, 1.0), True, True)
    wrong = dualml.predict(images_run, points * np.float32(16)).argmax(axis=1) != y
    assert np.array_equal(wrong, result.wrong)


def test_nothing_moves_without_room(images_run):
    found = attack(images_run, epsilon=0.0, steps=3, limit=50)
    assert found.results[0].pgd == found.results[0].fgsm == found.clean
    assert found.results[0].largest == 0


def test_the_random_start_comes_from_the_seed(images_run, monkeypatch):
    from dualml.attack import run

    starts = []
    original = run.pgd

    def pgd(subject, boxes, start, found, **named):
        starts.append(start["input"])
        return original(subject, boxes, start, found, **named)

    monkeypatch.setattr(run, "pgd", pgd)
    for backend, seed, random_start in (
        ("torch", 1, True),
        ("tensorflow", 1, True),
        ("torch", 2, True),
        (None, 1, False),
    ):
        attack(images_run, backend, epsilon=0.05, steps=1, limit=20, seed=seed, random_start=random_start)
    first, elsewhere, other, none = starts
    x = victim(images_run, "torch", "float32", 20).inputs["input"]
    assert np.array_equal(first, elsewhere)
    assert np.array_equal(none, x)
    assert (first != other).mean() > 0.9
    assert 0.04 < np.abs(first - x).max() <= 0.05


def linear(trained, units, loss, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=(200, 4))
    y = (x @ random.normal(size=4) + 0.3 * random.normal(size=200) > 0).astype(np.int64)
    return trained(LINEAR.format(units=units, loss=loss), x=x, y=y if units > 1 else y[:, None].astype(np.float64))


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
@pytest.mark.parametrize(("units", "loss"), [(2, "cross_entropy"), (1, "binary_cross_entropy")])
def test_a_linear_model_has_a_known_worst_case(trained, backend, units, loss):
    run = linear(trained, units, loss)
    weights = open_run(run).weights()
    kernel = next(array for array in weights.values() if array.ndim == 2).astype(np.float64)
    bias = next(array for array in weights.values() if array.ndim == 1).astype(np.float64)
    x, y = splits_of(open_run(run), "test")["test"].whole("float64")
    y = np.asarray(y).reshape(-1)
    normal, offset = (kernel[:, 1] - kernel[:, 0], bias[1] - bias[0]) if units > 1 else (kernel[:, 0], bias[0])
    margins = (x @ normal + offset) * np.where(y == 1, 1, -1)
    found = attack(run, backend, epsilon=EPSILONS, bounds="none", steps=3)
    assert found.clean == (margins > 0).mean()
    for result in found.results:
        wanted = (margins - result.epsilon * np.abs(normal).sum() > 0).mean()
        assert result.fgsm == result.pgd == wanted


def test_a_sure_network_is_no_harder_to_attack(images_run):
    subject = victim(images_run, "torch", "float32")
    last = list(open_run(images_run).spec.graph.parameters)[-2:]
    sure = victim(images_run, "torch", "float32")
    weights = sure.network.get_weights()
    sure.network.set_weights({**weights, **{item.name: weights[item.name] * 1e4 for item in last}})
    box = {"input": Surroundings.of(subject.inputs["input"], 0.1)}
    plain, scaled = (
        one.judged(one.outputs(one.moved(one.inputs, one.outputs(one.inputs), box, 0.1)))[1] for one in (subject, sure)
    )
    assert plain.mean() > subject.judged(subject.outputs(subject.inputs))[1].mean() + 0.1
    assert abs(plain.mean() - scaled.mean()) < 0.15


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.data())  # beyond, 1 - p of the oracle cancels
@settings(max_examples=60, deadline=None)
def test_slopes_point_where_the_cross_entropy_grows(values, data):
    z = np.array([values])
    label = np.array([data.draw(st.integers(0, len(values) - 1))])
    subject = Victim(_Network(), "classes", {}, label)
    wanted = reference.loss_gradient(_resolved(CrossEntropy(), 2), z, label, 1.0)
    _proportional(subject.slopes(z), wanted)
    decision = np.array([[values[0]]])
    yes = np.array([data.draw(st.integers(0, 1))])
    subject = Victim(_Network(), "decisions", {}, yes)
    wanted = reference.loss_gradient(_resolved(BinaryCrossEntropy(), 1), decision, yes[:, None] * 1.0, 1.0)
    _proportional(subject.slopes(decision), wanted)


def _resolved(loss, units):
    return Case("losses", (3,), [Dense(units=units)], loss).objective.terms[0].loss


class _Network:
    class graph:  # noqa: N801 (an attribute of networks)
        precision = "float64"


def _proportional(found, wanted):
    np.testing.assert_allclose(found / np.abs(found).max(), wanted / np.abs(wanted).max(), atol=1e-6)


FLOATS = st.floats(-1e3, 1e3, width=32)


@given(
    st.lists(FLOATS, min_size=1, max_size=5),
    st.floats(0, 10),
    st.none() | st.tuples(FLOATS, FLOATS),
    st.sampled_from(["float32", "float64"]),
    st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_no_point_leaves_its_box(values, epsilon, bounds, dtype, points):
    x = np.array([values], dtype=dtype)
    bounds = None if bounds is None else (min(bounds), max(bounds))
    box = Surroundings.of(x, epsilon, bounds)
    for found in (box.nearest(np.array([points[: x.size]])), box.random(3, "x"), box.nearest(x)):
        assert found.dtype == x.dtype
        assert (np.abs(found.astype(np.longdouble) - x) <= epsilon * (1 + 1e-15) + 1e-12 * (dtype == "float64")).all()
        if bounds is not None:
            inside = (x >= bounds[0]) & (x <= bounds[1])
            assert ((found >= bounds[0]) & (found <= bounds[1]))[inside].all()
    assert np.array_equal(box.nearest(x), x)


def test_labels_that_do_not_count_are_left_out(trained):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(80, 4)), np.arange(80) % 2
    weight = (np.arange(80) % 3 > 0).astype(np.float64)
    text = LINEAR.format(units=2, loss="cross_entropy").replace("test: 0.5", "test: 0.5, weights: w")
    run = trained(text, x=x, y=y, w=weight)
    split = splits_of(open_run(run), "test")["test"]
    kept = split.gather_weights(np.arange(len(split)), "float64") > 0
    assert attack(run, epsilon=0.1, steps=1).examples == kept.sum() < len(split)


def test_whole_numbers_stay(trained):
    random = np.random.default_rng(0)
    kind, size = random.integers(0, 5, (60, 3)), random.normal(size=(60, 2))
    text = (
        "model:\n  inputs:\n    kind: {shape: [3], dtype: integer}\n    size: [2]\n  layers:\n"
        "    - {embedding: {vocabulary: 5, units: 4}, name: kinds, inputs: kind}\n    - {flatten: , name: flat}\n"
        "    - concat: {inputs: [flat, size]}\n    - dense: 2\n"
        "data: {source: npz, path: data.npz, inputs: {kind: kind, size: size}, targets: label}\n"
        "loss: cross_entropy\noptimizer: adam\ntrain: {epochs: 1}\n"
    )
    run = trained(text, kind=kind, size=size, label=(size.sum(axis=1) > 0).astype(np.int64))
    found = attack(run, epsilon=0.5, steps=3)
    assert set(found.bounds) == {"size"}
    seen, _ = splits_of(open_run(run), "test")["test"].whole("float32")
    assert np.array_equal(found.results[0].points["kind"], seen["kind"])
    assert found.results[0].largest == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epsilon": -0.1}, RunError, "epsilon must be one or more numbers of at least 0"),
        ({"epsilon": []}, RunError, "epsilon must be one or more numbers of at least 0"),
        ({"epsilon": float("nan")}, RunError, "epsilon must be one or more numbers of at least 0"),
        ({"epsilon": 0.1, "method": "cw"}, RunError, "method must be one of fgsm, pgd, got 'cw'"),
        ({"epsilon": 0.1, "steps": 0}, RunError, "steps must be at least 1"),
        ({"epsilon": 0.1, "step_size": 0.0}, RunError, "step size must be above 0"),
        ({"epsilon": 0.1, "bounds": (1.0, 0.0)}, RunError, "bounds must be two finite numbers"),
        ({"epsilon": 0.1, "split": "holdout"}, DataError, "has no holdout split; it has train, validation, test"),
    ],
    ids=["negative", "none", "nan", "method", "steps", "step-size", "bounds", "split"],
)
def test_attack_mistakes(images_run, arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        attack(images_run, **arguments)


def test_what_is_no_classifier_is_refused(trained):
    x = np.random.default_rng(0).normal(size=(40, 4))
    run = trained(LINEAR.format(units=1, loss="mse"), x=x, y=x[:, :1])
    with pytest.raises(UnsupportedError, match="an attack needs a classifier"):
        attack(run, epsilon=0.1)
