"""Checks that come before any number: the protocol, capabilities, names, dtypes and shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from dualml import registry
from dualml.errors import UnsupportedError, WeightsError
from dualml.protocol import Array, Backend, Capabilities
from dualml.slots import start_state
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.config import Spec
from dualml.spec.graph import Precision
from dualml.spec.layers import LAYERS
from dualml.spec.losses import LOSSES
from dualml.spec.mixed import MIXED
from dualml.spec.optimizers import OPTIMIZERS
from dualml.testing.assertions import assert_array, assert_identical, assert_names, check, fail
from dualml.testing.base import Checks, over
from dualml.testing.cases import LOSS_CASES, NETWORK_CASES, OPTIMIZER_CASES, PLAIN, Case, Update

KNOWN = {
    "operations": {kind.kind for kind in LAYERS},
    "activations": {kind.kind for kind in ACTIVATIONS},
    "losses": {kind.kind for kind in LOSSES},
    "optimizers": {kind.kind for kind in OPTIMIZERS},
    "precisions": {"float32", "float64", MIXED},
    "devices": {"cpu", "gpu"},
}
"""What a spec can ask for, for each field of ``Capabilities`` that lists something."""


class SmokeChecks(Checks):
    """Is it a backend at all?"""

    def test_protocol(self, backend: Backend) -> None:
        """It has the members of the protocol."""
        check(
            isinstance(backend, Backend),
            "the backend",
            "have name, capabilities, versions and build",
            f"it is {backend!r}",
        )
        check(
            isinstance(backend.name, str) and backend.name != "", "its name", "be a string", f"it is {backend.name!r}"
        )
        found = backend.capabilities
        check(
            isinstance(found, Capabilities),
            "capabilities",
            "be a dualml.protocol.Capabilities",
            f"it is a {type(found).__name__}",
        )

    def test_versions(self, backend: Backend) -> None:
        """It says which packages it runs on."""
        versions = backend.versions()
        check(
            bool(versions) and all(isinstance(item, str) for pair in versions.items() for item in pair),
            "versions()",
            "give at least one package with its version, both strings",
            f"it gives {versions!r}",
        )

    def test_capabilities_are_known(self, backend: Backend) -> None:
        """It declares nothing that no spec can ask for: a misspelt kind would never be found."""
        for name, known in KNOWN.items():
            declared = getattr(backend.capabilities, name)
            check(
                set(declared) <= known,
                f"capabilities.{name}",
                f"name only kinds that dualml has: {sorted(known)}",
                f"it also names {sorted(set(declared) - known)}",
                "a misspelt kind",
            )

    @over((*NETWORK_CASES, *LOSS_CASES))
    def test_declared_operations_work(self, backend: Backend, case: Case) -> None:
        """A case that needs only what is declared can be built and evaluated."""
        try:
            self.network(backend, case).forward(case.inputs())
        except UnsupportedError as error:
            fail(
                f"the case {case.name!r}",
                "work, because the capabilities declare all of it",
                f"the backend raised: {error}",
                "capabilities that declare what the backend cannot do",
            )

    def test_declared_training_works(self, backend: Backend) -> None:
        """Every optimizer that is declared has a trainer."""
        for update in OPTIMIZER_CASES:
            if not refused(backend, PLAIN.spec(optimizer=update.optimizer)):
                try:
                    self.trainer(self.network(backend, PLAIN), PLAIN, update)
                except UnsupportedError as error:
                    fail(
                        f"the optimizer {update.name!r}",
                        "work, because the capabilities declare it",
                        f"the backend raised: {error}",
                        "capabilities that declare what the backend cannot do",
                    )

    def test_undeclared_are_refused(self, backend: Backend) -> None:
        """A graph that needs more than is declared is refused, by ``registry.check`` and by ``build``."""
        for case in NETWORK_CASES:
            if refused(backend, case.spec()):
                self._build_refuses(backend, case)
        precision: Precision = "float64" if "float64" in backend.capabilities.precisions else "float32"
        graph = PLAIN.graph(precision)
        strange = dataclasses.replace(graph.nodes[-1], operation="an_operation_nobody_has")
        try:
            backend.build(dataclasses.replace(graph, nodes=(*graph.nodes[:-1], strange)), PLAIN.weights(precision))
        except UnsupportedError as error:
            check(
                "an_operation_nobody_has" in str(error),
                "the UnsupportedError",
                "name the operation",
                f"it says: {error}",
            )
        else:
            fail(
                "build()",
                "raise UnsupportedError for an operation it does not know",
                "it built the graph",
                "an unknown operation that is passed over in silence",
            )

    def _build_refuses(self, backend: Backend, case: Case) -> None:
        try:
            backend.build(case.graph(), case.weights())
        except UnsupportedError:
            return
        fail(
            f"build() of the case {case.name!r}",
            "raise UnsupportedError, because the capabilities do not declare all of it",
            "it built the graph",
            "capabilities that leave out what the backend can do, or a layer that is passed over",
        )


class NameChecks(Checks):
    """Names, dtypes and shapes of everything that crosses the boundary."""

    @over(NETWORK_CASES)
    def test_weights(self, backend: Backend, case: Case) -> None:
        """Weights come back as they were given: names, shapes, dtype and every bit."""
        graph, given = case.graph(), case.weights()
        got = self.build(backend, case).get_weights()
        assert_names("get_weights()", got, [item.name for item in graph.weights])
        for item in graph.weights:
            assert_array(f"the weight {item.name!r}", got[item.name], item.shape, "float64")
            assert_identical(
                f"the weight {item.name!r}", got[item.name], given[item.name], "weights that pass through float32"
            )

    def test_weights_float32(self, backend: Backend) -> None:
        """The same in float32."""
        given = PLAIN.weights("float32")
        got = self.build(backend, PLAIN, "float32").get_weights()
        for name, value in given.items():
            assert_array(f"the weight {name!r}", got[name], value.shape, "float32")
            assert_identical(f"the weight {name!r}", got[name], value)

    def test_float64_survives(self, backend: Backend) -> None:
        """0.1 stays 0.1: no weight, input or value passes through float32 on its way."""
        network = self.build(backend, PLAIN)
        weights = {name: np.full_like(value, 0.1) for name, value in PLAIN.weights().items()}
        network.set_weights(weights)
        for name, value in network.get_weights().items():
            assert_identical(f"the weight {name!r}", value, weights[name], "weights that pass through float32")
        output = network.forward(np.full((1, 3), 0.1), taps=["dense_1"])["dense_1"]
        exact = 3 * 0.1 * 0.1 + 0.1
        check(
            bool(np.all(np.abs(output - exact) < 1e-15)),
            "three inputs of 0.1 times weights of 0.1 plus a bias of 0.1",
            f"be {exact!r} to the last bits of float64",
            f"it is {output[0, 0]!r}",
            "inputs or weights that pass through float32",
        )

    def test_native_objects(self, backend: Backend) -> None:
        """The network says what it was built from, and there are a native model and a native optimizer."""
        network = self.network(backend, PLAIN)
        check(network.graph == PLAIN.graph(), "network.graph", "be the graph it was built from", "it is another")
        check(network.native is not None, "network.native", "be the framework's own model", "it is None")
        for update in OPTIMIZER_CASES:
            if not refused(backend, PLAIN.spec(optimizer=update.optimizer)):
                trainer = self.trainer(network, PLAIN, update)
                check(trainer.optimizer is not None, "trainer.optimizer", "be the native optimizer", "it is None")
                return

    @over(NETWORK_CASES)
    def test_shapes(self, backend: Backend, case: Case) -> None:
        """Every node's value has the shape the graph says and the graph's dtype."""
        graph = case.graph()
        got = self.network(backend, case).forward(case.inputs(), taps=[node.name for node in graph.nodes])
        assert_names("forward() with every node tapped", got, [node.name for node in graph.nodes])
        for node in graph.nodes:
            assert_array(f"the value of {node.name!r}", got[node.name], (case.examples, *node.shape), "float64")

    def test_shapes_of_gradients(self, backend: Backend) -> None:
        """Gradients have the shapes and dtype of what they are for."""
        taps = ["input", *(node.name for node in PLAIN.graph().nodes)]
        for precision in sorted(backend.capabilities.precisions & {"float32", "float64"}):
            graph = PLAIN.graph(precision)  # type: ignore[arg-type]
            network = self.network(backend, PLAIN, precision)  # type: ignore[arg-type]
            got = network.gradients(PLAIN.batch(precision), PLAIN.objective, taps=taps)  # type: ignore[arg-type]
            check(isinstance(got.loss, float), "loss", "be a Python float", f"it is a {type(got.loss).__name__}")
            assert_array("example_losses", got.example_losses, (PLAIN.examples,), precision)
            assert_names("the gradients of the parameters", got.parameters, [item.name for item in graph.parameters])
            for item in graph.parameters:
                assert_array(f"the gradient of {item.name!r}", got.parameters[item.name], item.shape, precision)
            shapes = {"input": graph.inputs[0].shape, **{node.name: node.shape for node in graph.nodes}}
            for what, values in (("value", got.values), ("gradient", got.values_gradients)):
                assert_names(f"the {what}s of the taps", values, taps)
                for name in taps:
                    shape = (PLAIN.examples, *shapes[name])
                    assert_array(f"the {what} of {name!r}", values[name], shape, precision)

    def test_only_what_was_asked_for(self, backend: Backend) -> None:
        """Without taps there are none: forward() gives the output alone, gradients() no values."""
        network = self.network(backend, PLAIN)
        assert_names("forward() without taps", network.forward(PLAIN.inputs()), [PLAIN.graph().output])
        got = network.gradients(PLAIN.batch(), PLAIN.objective)
        assert_names("gradients().values without taps", got.values, [])
        assert_names("gradients().values_gradients without taps", got.values_gradients, [])

    @over(OPTIMIZER_CASES)
    def test_state(self, backend: Backend, case: Update) -> None:
        """Before the first update the step is 0 and every slot is as it starts, with the names and shapes it has."""
        self.require(backend, PLAIN.spec(optimizer=case.optimizer))
        state = self.trainer(self.network(backend, PLAIN), PLAIN, case).get_state()
        check(state.step == 0, "state.step before any update", "be 0", f"it is {state.step!r}")
        assert_names("state.slots", state.slots, case.optimizer.slots)
        for slot, arrays in state.slots.items():
            start = start_state(case.optimizer, PLAIN.graph()).slots[slot]
            assert_names(f"the slot {slot!r}", arrays, start)
            for name, right in start.items():
                what = f"the slot {slot!r} of {name!r} before any update"
                assert_array(what, arrays[name], right.shape, "float64")
                assert_identical(what, arrays[name], right, "a framework that creates slots late, or a float32 start")

    def test_wrong_weights_are_refused(self, backend: Backend) -> None:
        """Missing, unknown and misshapen weights raise WeightsError; the message lists both sets of names."""
        network = self.build(backend, PLAIN)
        before = network.get_weights()
        for what, weights, named in wrong_arrays(PLAIN.weights()):
            for where, call in (
                ("build()", lambda bad: backend.build(PLAIN.graph(), bad)),
                ("set_weights()", network.set_weights),
            ):
                try:
                    call(weights)
                except WeightsError as error:
                    for name in named:
                        check(
                            name in str(error),
                            f"the WeightsError of {where} with {what}",
                            f"name {name!r}",
                            f"it says: {error}",
                        )
                else:
                    fail(f"{where} with {what}", "raise WeightsError", "it accepted them", "names that are not checked")
        for name, value in network.get_weights().items():
            assert_identical(
                f"the weight {name!r} after a refused set_weights()", value, before[name], "weights set one by one"
            )


def wrong_arrays(arrays: dict[str, Array]) -> Iterable[tuple[str, dict[str, Array], list[str]]]:
    """Arrays that do not fit: what is wrong, the arrays, and the names a message about it must hold."""
    first, second, *_ = arrays
    rest = {name: value for name, value in arrays.items() if name != first}
    yield "a name missing", rest, [first]
    yield "an unknown name", {**arrays, "stranger.kernel": arrays[first]}, ["stranger.kernel"]
    yield "a name missing and one unknown", {**rest, "stranger.kernel": arrays[first]}, [first, "stranger.kernel"]
    yield "a transposed kernel", {**arrays, first: np.ascontiguousarray(arrays[first].T)}, [first]
    yield "a shape that would broadcast", {**arrays, second: arrays[second][:1]}, [second]


def refused(backend: Backend, spec: Spec) -> bool:
    """Whether the capabilities do not declare all that a spec needs."""
    try:
        registry.check(backend, spec)
    except UnsupportedError:
        return True
    return False
