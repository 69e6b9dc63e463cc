"""Checks of the gradients for the inputs in inference mode: what explanations and attacks are made of."""

from __future__ import annotations

import numpy as np

from dualml import randomness
from dualml.protocol import Array, Backend
from dualml.testing import oracle
from dualml.testing.assertions import assert_all_identical, assert_close, assert_names, check
from dualml.testing.base import Checks, over
from dualml.testing.cases import NETWORK_CASES, THIN, Case
from dualml.testing.cases.base import SEED


def slopes_of(case: Case) -> dict[str, Array]:
    """What each value of each output counts: uniform in (-1, 1), other ones for every value."""
    graph = case.graph()
    shapes = {name: (case.examples, *graph.by_name[name].shape) for name in graph.outputs}
    path = f"{case.name}/slopes"
    return {name: 2.0 * randomness.uniform(SEED, f"{path}/{name}", shape) - 1.0 for name, shape in shapes.items()}


class InputGradientChecks(Checks):
    """Gradients for inputs are judged by central differences of the reference."""

    @over(NETWORK_CASES)
    def test_input_gradients(self, backend: Backend, case: Case) -> None:
        """Of weighted outputs in inference mode, float64; zeros for whole numbers."""
        graph, inputs = case.graph(), case.inputs()
        slopes = slopes_of(case)
        got = self.network(backend, case).input_gradients(inputs, slopes)
        assert_names("the gradients of the inputs", got, graph.input_names)
        for name, must in oracle.input_gradients(graph, case.weights(), inputs, slopes).items():
            hint = "training mode, slopes that were not used, or the gradient for an input in another layout"
            assert_close(f"the gradient for the input {name!r}", got[name], must.value, must.bound, hint)
        for item in graph.inputs:
            if item.integer:
                what, must_be = f"the gradient for the whole numbers of {item.name!r}", "be zeros of the input's shape"
                right = got[item.name].shape == (case.examples, *item.shape) and not np.any(got[item.name])
                check(right, what, must_be, "it is not", "a derivative of something that has none")

    def test_input_gradients_change_nothing(self, backend: Backend) -> None:
        """Weights, and the outputs in either mode, are afterwards what they were."""
        network, slopes = self.network(backend, THIN), slopes_of(THIN)
        before = network.get_weights()
        outputs = network.forward(THIN.inputs(), training=True, masks=THIN.masks())
        first, second = (network.input_gradients(THIN.inputs(), slopes) for _ in range(2))
        hint = "a mode that stays switched, or gradients that accumulate from call to call"
        assert_all_identical("the input's gradient, a second time,", second, first, hint)
        assert_all_identical("the weight after input_gradients()", network.get_weights(), before, hint)
        after = network.forward(THIN.inputs(), training=True, masks=THIN.masks())
        assert_all_identical("the output in training mode after input_gradients()", after, outputs, hint)
