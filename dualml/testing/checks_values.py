"""Checks of what a model computes: every node's value in both modes, predictions."""

from __future__ import annotations

import dataclasses

import numpy as np

from dualml import reference
from dualml.protocol import Array, Arrays, Backend, Masks, Network
from dualml.spec.graph import Graph, Precision
from dualml.spec.layers import Activation
from dualml.testing import oracle
from dualml.testing.assertions import assert_all_identical, assert_array, assert_close, assert_identical, check
from dualml.testing.base import Checks, over
from dualml.testing.cases import ACTIVATION_CASES, EDGE_INPUTS, LOSS_CASES, NETWORK_CASES, PLAIN, THIN, Case

_HINTS = {
    "dense": "a kernel in the other layout, or a bias that was forgotten",
    "dropout": "the factor 1 / (1 - rate) that is missing, or masks that are inverted or not used",
    "concat": "inputs joined in another order or along another axis, counted with or without the batch",
    "add": "an input that was left out or added twice",
    "flatten": "another order of the axes",
    "reshape": "another order of the axes",
    "softmax": "the softmax over another axis",
}

EDGE_CASES = tuple(
    dataclasses.replace(case, layers=[Activation(function=case.layers[0].activation)])  # type: ignore[attr-defined]
    for case in ACTIVATION_CASES
    if case.input == EDGE_INPUTS.shape[1:]
)
"""Each activation alone, for inputs where it saturates or changes its formula."""


class ValueChecks(Checks):
    """Values of all nodes, judged by the float64 reference."""

    @over(NETWORK_CASES)
    def test_values(self, backend: Backend, case: Case) -> None:
        """Inference mode, float64: what the whole model says each node's value is."""
        self._whole(backend, case, training=False)

    @over(NETWORK_CASES)
    def test_values_in_training(self, backend: Backend, case: Case) -> None:
        """Training mode with given masks, float64."""
        self._whole(backend, case, training=True)

    def _whole(self, backend: Backend, case: Case, *, training: bool) -> None:
        graph, weights, inputs = case.graph(), case.weights(), case.inputs()
        masks = case.masks() if training else None
        got = self.network(backend, case).forward(inputs, training=training, taps=list(graph.by_name), masks=masks)
        _assert_composed(graph, weights, {**graph.named_inputs(inputs), **got}, masks, training=training)

    @over(NETWORK_CASES)
    def test_values_float32(self, backend: Backend, case: Case) -> None:
        """Both modes in float32."""
        graph, weights, inputs = case.graph("float32"), case.weights("float32"), case.inputs("float32")
        network = self.network(backend, case, "float32")
        for masks in (None, case.masks()):
            training = masks is not None
            got = network.forward(inputs, training=training, taps=list(graph.by_name), masks=masks)
            for node in graph.nodes:
                assert_array(f"the value of {node.name!r}", got[node.name], (case.examples, *node.shape), "float32")
            _assert_composed(graph, weights, {**graph.named_inputs(inputs), **got}, masks, training=training)

    @over(EDGE_CASES)
    def test_activation_edges(self, backend: Backend, case: Case) -> None:
        """Activations where they saturate, at 0, on both sides of a threshold, and without any parameter."""
        graph = case.graph()
        got = self.network(backend, dataclasses.replace(case, name=f"edges/{case.name}")).forward(EDGE_INPUTS)
        _assert_composed(graph, {}, {**graph.named_inputs(EDGE_INPUTS), **got}, None, training=False)

    @over((PLAIN, THIN))
    def test_taps_change_nothing(self, backend: Backend, case: Case) -> None:
        """A node's value does not depend on which others are tapped, nor on what was evaluated before."""
        graph, inputs = case.graph(), case.inputs()
        network = self.network(backend, case)
        network.forward(case.inputs(variant=1), taps=list(graph.by_name))
        everything = network.forward(inputs, taps=list(graph.by_name))
        for name in graph.by_name:
            got = network.forward(inputs, taps=[name])
            for tapped in got:
                assert_identical(
                    f"the value of {tapped!r} with only {name!r} tapped",
                    got[tapped],
                    everything[tapped],
                    "a tap that keeps an older value",
                )

    @over((PLAIN, THIN))
    def test_forward_repeats(self, backend: Backend, case: Case) -> None:
        """The same call gives the same bits, in both modes; training mode does not leak into inference."""
        network, inputs = self.network(backend, case), case.inputs()
        output, weights = case.graph().output, network.get_weights()
        mode = getattr(network.native, "training", None)
        first = network.forward(inputs)[output]
        trained = network.forward(inputs, training=True, masks=case.masks())[output]
        assert_identical(
            "the output in inference mode after one call in training mode",
            network.forward(inputs)[output],
            first,
            "a mode that stays switched",
        )
        assert_identical(
            "the output in training mode, a second time",
            network.forward(inputs, training=True, masks=case.masks())[output],
            trained,
            "random numbers beside the masks",
        )
        assert_all_identical("the weight after forward()", network.get_weights(), weights, "a step that was taken")
        check(
            getattr(network.native, "training", None) == mode,
            "native.training after forward()",
            f"be {mode!r} as before",
            f"it is {getattr(network.native, 'training', None)!r}",
        )

    def test_masks_are_used(self, backend: Backend) -> None:
        """Other masks give another output; in inference mode masks are not needed and change nothing."""
        network, inputs, output = self.network(backend, THIN), THIN.inputs(), THIN.graph().output
        found = [network.forward(inputs, training=True, masks=THIN.masks(variant=v))[output] for v in (0, 1)]
        check(
            not np.array_equal(found[0], found[1]),
            "the outputs in training mode for two sets of masks",
            "differ",
            "they are the same",
            "dropout that ignores its mask, or is never active",
        )
        assert_identical(
            "the output in inference mode with masks",
            network.forward(inputs, masks=THIN.masks())[output],
            network.forward(inputs)[output],
            "dropout that is active in inference",
        )

    def test_any_number_of_examples(self, backend: Backend) -> None:
        """One example, many, and one again; each alone gives what it gives among others, up to rounding."""
        network, graph = self.network(backend, PLAIN), PLAIN.graph()
        inputs = PLAIN.inputs(examples=9)
        for rows in (slice(0, 9), slice(0, 1), slice(4, 9), slice(8, 9)):
            got = network.forward(inputs[rows], taps=list(graph.by_name))
            _assert_composed(graph, PLAIN.weights(), {**graph.named_inputs(inputs[rows]), **got}, None, training=False)

    @over(LOSS_CASES)
    def test_predictions(self, backend: Backend, case: Case) -> None:
        """predict() gives the softmax of the output over the last axis, or the output itself; in inference mode."""
        precisions: tuple[Precision, ...] = ("float64", "float32")
        for precision in precisions:
            if precision in backend.capabilities.precisions:
                self._predictions(self.network(backend, case, precision), case.inputs(precision), case.graph(precision))

    def test_predictions_in_inference(self, backend: Backend) -> None:
        """predict() uses no dropout."""
        self._predictions(self.network(backend, THIN), THIN.inputs(), THIN.graph())

    def _predictions(self, network: Network, inputs: Array, graph: Graph) -> None:
        got, output = network.predict(inputs), network.forward(inputs)[graph.output]
        unit = reference.unit_roundoff(graph.precision)
        assert_array("predict()", got, (len(inputs), *graph.output_shape), graph.precision)
        assert_close(
            "predict()",
            got,
            reference.predictions(graph.prediction, output),
            reference.predictions_bound(graph.prediction, output, unit),
            "the softmax over another axis, or none, or two",
        )


def _assert_composed(graph: Graph, weights: Arrays, values: Arrays, masks: Masks | None, *, training: bool) -> None:
    """Each node's value follows from the values of its inputs; from the input on, so all of them are right."""
    must = oracle.composed(graph, weights, values, masks, training=training)
    for node in graph.nodes:
        if node.operation == "activation":
            kind = node.settings.function.kind
            what = f"the value of {node.name!r} ({kind})"
            hint = _HINTS.get(kind, f"another formula of {kind}, or a setting that did not arrive")
        else:
            what = f"the value of {node.name!r} ({node.operation})"
            hint = _HINTS.get(node.operation, "")
        mode = "training" if training else "inference"
        assert_close(f"{what} in {mode} mode", values[node.name], must[node.name].value, must[node.name].bound, hint)
