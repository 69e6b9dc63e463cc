"""Checks of losses and gradients: per example, for parameters, nodes and the input."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from dualml import reference
from dualml.protocol import Arrays, Backend, Batch, Gradients
from dualml.spec.activations import Elu, LeakyRelu, Relu
from dualml.spec.graph import INPUT, Precision
from dualml.spec.layers import Activation
from dualml.spec.losses import MeanSquaredError
from dualml.testing import oracle
from dualml.testing.assertions import assert_all_identical, assert_close, assert_names, check
from dualml.testing.base import Checks, over
from dualml.testing.cases import LOSS_CASES, NETWORK_CASES, PLAIN, THIN, Case

_LOSS_HINT = "a reduction other than the sum over examples divided by their number, or smoothing that did not arrive"
_GRADIENT_HINT = "a gradient of something else than sum of the examples' losses / count, or a formula of another layer"


@dataclass(frozen=True)
class Kink:
    """An activation whose derivative jumps at 0.

    Attributes:
        name: Test id.
        function: The activation.
        slope: What counts as its derivative there: that of the branch for negative values, as in both frameworks.
    """

    name: str
    function: Any
    slope: float


KINK_CASES = (
    Kink("relu", Relu(), 0.0),
    Kink("leaky-relu", LeakyRelu(negative_slope=0.1), 0.1),
    Kink("elu", Elu(alpha=0.7), 0.7),
)


def objective_and_bound(
    case: Case, precision: Precision, values: Arrays, count: int | None
) -> tuple[reference.Scored, reference.Scored]:
    """The objective for what a backend itself gave as outputs, and bounds on its rounding."""
    graph, batch, weights = case.graph(precision), case.batch(precision), case.weights(precision)
    unit, objective = reference.unit_roundoff(precision), case.objective
    outputs = {name: values[name] for name in graph.outputs}
    arguments = (objective, outputs, graph.named_targets(batch.targets), batch.weights, count)
    scored, bounds = reference.objective_value(*arguments), reference.objective_bound(*arguments, unit=unit)
    added = reference.penalties(objective, graph, weights)
    added_bound = reference.penalties_bound(objective, graph, weights, scored.value, unit=unit)
    return (
        dataclasses.replace(scored, value=scored.value + added),
        dataclasses.replace(bounds, value=bounds.value + added_bound),
    )


_DIFFERENCES: dict[str, tuple[Case, dict[str, oracle.Judged], dict[str, oracle.Judged]]] = {}
"""Central differences of cases: the same for every backend that is checked in this process."""


def _differences(case: Case) -> tuple[dict[str, oracle.Judged], dict[str, oracle.Judged]]:
    """Central differences of a case's loss for its parameters, and for its inputs and nodes."""
    known = _DIFFERENCES.get(case.name)
    if known is None or known[0] is not case:
        arguments = case.graph(), case.weights(), case.batch(), case.objective, case.masks()
        found = oracle.parameter_gradients(*arguments), oracle.value_gradients(*arguments)
        known = _DIFFERENCES[case.name] = (case, *found)
    return known[1], known[2]


class GradientChecks(Checks):
    """Losses are judged by the reference, gradients by central differences and by the reference."""

    @over(LOSS_CASES)
    def test_losses(self, backend: Backend, case: Case) -> None:
        """Loss of each example and of the batch."""
        precisions: tuple[Precision, ...] = ("float64", "float32")
        for precision in precisions:
            if precision not in backend.capabilities.precisions:
                continue
            graph, batch = case.graph(precision), case.batch(precision)
            network = self.network(backend, case, precision)
            for count in (None, 2 * case.examples + 1):
                got = network.gradients(batch, case.objective, taps=graph.outputs, count=count)
                scored = objective_and_bound(case, precision, got.values, count)
                divisor = f"count={count}" if count else "no count"
                assert_close(
                    f"example_losses in {precision} with {divisor}",
                    got.example_losses,
                    scored[0].examples,
                    scored[1].examples,
                    "label smoothing that did not arrive, or another mean over the values of an example",
                )
                assert_close(
                    f"loss in {precision} with {divisor}",
                    got.loss,
                    scored[0].value,
                    scored[1].value,
                    _LOSS_HINT,
                )

    @over((*NETWORK_CASES, *LOSS_CASES))
    def test_gradients(self, backend: Backend, case: Case) -> None:
        """Gradients for parameters, every node and the input: central differences of the loss, float64."""
        got = self._gradients(backend, case, "float64")
        of_parameters, of_values = _differences(case)
        assert_names("the gradients of the parameters", got.parameters, of_parameters)
        for name, must in of_parameters.items():
            assert_close(f"the gradient for {name!r}", got.parameters[name], must.value, must.bound, _GRADIENT_HINT)
        for name, must in of_values.items():
            assert_close(
                f"the gradient for the value of {name!r}",
                got.values_gradients[name],
                must.value,
                must.bound,
                "a node that feeds several others and gets the gradient of one, or " + _GRADIENT_HINT,
            )

    @over((*NETWORK_CASES, *LOSS_CASES))
    def test_gradients_compose(self, backend: Backend, case: Case) -> None:
        """Each node passes on what the chain rule says, within rounding, float64; tapped values are the pass's own."""
        self._compose(backend, case, "float64")

    @over((*NETWORK_CASES, *LOSS_CASES))
    def test_gradients_float32(self, backend: Backend, case: Case) -> None:
        """The same in float32."""
        self._compose(backend, case, "float32")

    def _gradients(self, backend: Backend, case: Case, precision: Precision, count: int | None = None) -> Gradients:
        return self.network(backend, case, precision).gradients(
            case.batch(precision),
            case.objective,
            masks=case.masks(),
            taps=case.graph(precision).names,
            count=count,
        )

    def _compose(self, backend: Backend, case: Case, precision: Precision) -> None:
        graph, weights, batch, masks = (
            case.graph(precision),
            case.weights(precision),
            case.batch(precision),
            case.masks(),
        )
        unit = reference.unit_roundoff(precision)
        got = self._gradients(backend, case, precision)
        values = {**got.values, **graph.named_inputs(batch.inputs)}
        for name, right in oracle.composed(graph, weights, values, masks, training=True).items():
            assert_close(
                f"the value of {name!r} in gradients()", got.values[name], right.value, right.bound, "a stale tap"
            )
        must = reference.local_gradients(graph, weights, batch, case.objective, got, masks=masks, unit=unit)
        for name, value in must.values.items():
            what = f"the gradient for the value of {name!r}, given what follows it,"
            assert_close(what, got.values_gradients[name], value, must.value_bounds[name], _GRADIENT_HINT)
        for name, value in must.parameters.items():
            what = f"the gradient for {name!r}, given that for its node's value,"
            assert_close(what, got.parameters[name], value, must.parameter_bounds[name], _GRADIENT_HINT)
        assert_names("the new buffers", got.buffers, [item.name for item in graph.buffers])
        for name, value in must.buffers.items():
            hint = "the variance divided by another number, or momentum the other way round"
            assert_close(f"the new {name!r}", got.buffers[name], value, must.buffer_bounds[name], hint)

    @over(KINK_CASES)
    def test_gradient_at_zero(self, backend: Backend, case: Kink) -> None:
        """At exactly 0 the derivative is that of the branch for negative values: 0 for relu."""
        alone = Case(f"kinks/{case.name}", (3,), [Activation(function=case.function)], MeanSquaredError(), examples=1)
        # With targets of -1 and outputs of 0, three of them, the loss has the derivative 2 / 3 for each output.
        batch = Batch(np.array([[0.0, -0.0, 0.0]]), np.full((1, 3), -1.0))
        got = self.network(backend, alone).gradients(batch, alone.objective, taps=[INPUT]).values_gradients[INPUT]
        what = f"the derivative of {case.name} at 0, times 2 / 3,"
        bound = 4 * reference.unit_roundoff("float64")
        assert_close(what, got, np.full((1, 3), case.slope * 2 / 3), bound, "another convention at the kink")

    @over((PLAIN, THIN))
    def test_count(self, backend: Backend, case: Case) -> None:
        """The sum of the examples' losses is divided by ``count``, in the loss and in every gradient."""
        count = 2 * case.examples + 3
        got = self._gradients(backend, case, "float64", count)
        for name, must in oracle.parameter_gradients(
            case.graph(), case.weights(), case.batch(), case.objective, case.masks(), count
        ).items():
            assert_close(
                f"the gradient for {name!r} with count={count}",
                got.parameters[name],
                must.value,
                must.bound,
                "a mean over the examples at hand where the sum divided by count is meant",
            )

    @over((PLAIN, THIN))
    def test_gradients_repeat(self, backend: Backend, case: Case) -> None:
        """gradients() changes no weight, gives the same bits a second time and adds nothing up between calls."""
        network = self.network(backend, case)
        before = network.get_weights()
        first, second = (network.gradients(case.batch(), case.objective, masks=case.masks()) for _ in range(2))
        hint = "gradients that accumulate from call to call, or random numbers beside the masks"
        assert_all_identical("the gradient, a second time,", second.parameters, first.parameters, hint)
        check(
            first.loss == second.loss, "the loss, a second time,", f"be {first.loss!r}", f"it is {second.loss!r}", hint
        )
        assert_all_identical("the weight after gradients()", network.get_weights(), before, "a step that was taken")

    def test_gradients_leave_mode(self, backend: Backend) -> None:
        """gradients() runs in training mode and leaves inference mode behind."""
        network, output = self.network(backend, THIN), THIN.graph().output
        before = network.forward(THIN.inputs())
        network.gradients(THIN.batch(), THIN.objective, masks=THIN.masks())
        assert_all_identical(
            "the output in inference mode after gradients()",
            network.forward(THIN.inputs()),
            before,
            "a mode that stays switched",
        )
        got = network.gradients(THIN.batch(), THIN.objective, masks=THIN.masks(), taps=[output]).values[output]
        must = network.forward(THIN.inputs(), training=True, masks=THIN.masks())[output]
        unit = reference.unit_roundoff("float64")
        assert_close("the output in gradients()", got, must, 2**5 * unit * np.abs(must).max(), "inference mode there")
