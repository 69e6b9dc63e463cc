"""The figures of docs/support.md: what is wrong shows, in the part that is wrong."""

import dataclasses

import numpy as np
import pytest
from dualml_numpy_example import backend

from dualml.spec.activations import Tanh
from dualml.spec.layers import Dense, Repeat, Residual
from dualml.spec.regularizers import L2
from dualml.testing import catalogue, figures
from dualml.testing.cases import LOSS_CASES, OPTIMIZER_CASES, Case
from dualml.testing.cases.base import update
from dualml.testing.figures import Part

CASE = Case("figures", (3,), [Dense(units=4, activation=Tanh()), Dense(units=3)])
DENSE, TANH, LOSS = Part("layer", "dense"), Part("activation", "tanh"), Part("loss", "cross_entropy")


def network(**changes):
    """A network whose gradients() gives something else."""
    built = backend.build(CASE.graph(), CASE.weights())
    gradients = built.gradients

    def changed(*arguments, **settings):
        got = gradients(*arguments, **settings)
        return dataclasses.replace(got, **{name: change(getattr(got, name)) for name, change in changes.items()})

    built.gradients = changed
    return built


def scaled(name):
    return lambda arrays: {key: array * (1 + 1e-9) if key == name else array for key, array in arrays.items()}


def test_a_right_network_is_within_its_bounds():
    rhos = figures.network_rhos(network(), CASE, "float64")
    assert set(rhos.forward) == set(rhos.backward) == {DENSE, TANH, LOSS}
    assert max(*rhos.forward.values(), *rhos.backward.values()) <= 1
    apart = figures.distance_to_differences(network(), CASE, figures.exact_gradients(CASE))
    assert apart.rho <= 1
    assert apart.relative < 1e-10


@pytest.mark.parametrize(
    ("changes", "direction", "part"),
    [
        ({"values": scaled("dense_1")}, "forward", DENSE),
        ({"parameters": scaled("dense_2.kernel")}, "backward", DENSE),
        ({"values_gradients": scaled("dense_1")}, "backward", TANH),
        ({"values_gradients": scaled("dense_2")}, "backward", LOSS),
        ({"example_losses": lambda losses: losses * (1 + 1e-9)}, "forward", LOSS),
        ({"loss": lambda loss: loss * float("nan")}, "forward", LOSS),
    ],
    ids=["value", "parameter", "through an activation", "from the loss", "losses", "nan"],
)
def test_what_is_wrong_is_charged_to_its_part(changes, direction, part):
    found = getattr(figures.network_rhos(network(**changes), CASE, "float64"), direction)
    assert found[part] > 1


def test_a_wrong_gradient_is_far_from_central_differences():
    exact = figures.exact_gradients(CASE)
    wrong = network(parameters=lambda arrays: {name: 1.001 * array for name, array in arrays.items()})
    apart = figures.distance_to_differences(wrong, CASE, exact)
    assert apart.rho > 1
    assert apart.relative > 1e-5
    assert figures.distance_to_differences(network(values_gradients=scaled("input")), CASE, exact).rho > 1


def test_a_wrong_update_is_outside_its_bound(monkeypatch):
    row = next(row for row in OPTIMIZER_CASES if row.name == "sgd-momentum")
    assert figures.update_rho(backend, row, "float64") <= 1
    judged = figures.oracle.updated
    monkeypatch.setattr(
        figures.oracle,
        "updated",
        lambda *arguments, **settings: judged(*arguments[:-1], 1.0001 * arguments[-1], **settings),
    )
    assert figures.update_rho(backend, row, "float64") > 1


def test_figures_of_a_whole_model_belong_to_what_it_is_about():
    assert figures.subjects(CASE) == {TANH}
    assert figures.subjects(Case("plain", (3,), [Dense(units=3)])) == {DENSE}
    nested = Case("nested", (3,), [Repeat(times=2, layers=(Residual((Dense(units=3, activation=Tanh()),)),))])
    assert figures.subjects(nested) == {Part("layer", "repeat"), Part("layer", "residual")}
    assert figures.parts(nested) >= {DENSE, TANH, LOSS, Part("layer", "add")}
    assert figures.subjects(dataclasses.replace(CASE, regularizers=(L2(0.1),))) == {Part("regularizer", "l2")}
    assert figures.subjects(LOSS_CASES[0]) == {LOSS}


def test_layers_made_of_others_have_the_figures_of_their_model():
    case = Case("residual", (3,), [Residual((Dense(units=3, activation=Tanh()),))])
    rhos = figures.network_rhos(backend.build(case.graph(), case.weights()), case, "float64")
    assert rhos.forward[Part("layer", "residual")] == max(rhos.forward.values())


def test_weights_that_are_not_finite_have_no_distance():
    one = {"a": np.zeros(2)}
    assert np.isnan(catalogue.distance(one, {"a": np.array([0.0, np.nan])}))
    assert catalogue.distance(one, {"a": np.array([0.0, 0.5])}) == 0.5


def test_training_moves_the_weights_by_the_optimizer_that_is_named():
    start = CASE.weights()
    slow, fast = (update("x", OPTIMIZER_CASES[0].optimizer.model_copy(update={"momentum": m})) for m in (0.0, 0.9))
    found = [catalogue.trained(backend, CASE, by).get_weights() for by in (None, slow, fast)]
    assert all(catalogue.distance(start, weights) > 0.01 for weights in found)
    assert catalogue.distance(found[1], found[2]) > 0.01
