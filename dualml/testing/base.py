"""What every group of checks stands on: the fixture to override, skips with a reason, networks to reuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from dualml import registry
from dualml.errors import UnsupportedError
from dualml.protocol import Backend, Network, Trainer
from dualml.spec.config import Spec
from dualml.spec.graph import Precision
from dualml.testing.cases import Case, Update

NETWORKS_KEPT = 24
"""How many networks are kept for the checks that follow; those of a framework hold compiled functions, too."""


@dataclass(frozen=True)
class Check:
    """One check on one case.

    Attributes:
        method: Name of the method.
        case: What it runs on, if it is parametrised.
    """

    method: str
    case: Any = None

    @property
    def id(self) -> str:
        """Test id: ``test_update[adam-keras]``."""
        return self.method if self.case is None else f"{self.method}[{self.case.name}]"

    def run(self, suite: Checks, backend: Backend) -> None:
        """Run it without pytest's machinery; a failure is an ``AssertionError``."""
        arguments = {} if self.case is None else {"case": self.case}
        getattr(suite, self.method)(backend=backend, **arguments)


def over(cases: Any) -> Callable[[Any], Any]:
    """Run a check once for each case; the case's name is the test id."""
    decorator: Callable[[Any], Any] = pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])
    return decorator


def checks_of(suite: type) -> Iterator[Check]:
    """Every check of a class, in alphabetical order of the methods."""
    for name in dir(suite):
        if not name.startswith("test_"):
            continue
        marks = [mark for mark in getattr(getattr(suite, name), "pytestmark", ()) if mark.name == "parametrize"]
        if marks:
            yield from (Check(name, case) for case in marks[0].args[1])
        else:
            yield Check(name)


class Checks:
    """Base of all groups of checks."""

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks that are known to fail: test id, with or without ``[case]``, and the reason. Each must fail."""

    _networks: ClassVar[dict[tuple[str, Precision, int], tuple[Backend, Network]]] = {}  # the last ones used, last

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend to check."""
        raise NotImplementedError("override the fixture 'backend' and return your dualml.protocol.Backend")

    @pytest.fixture(autouse=True)
    def _expected_failure(self, request: pytest.FixtureRequest) -> None:
        method = request.node.originalname
        case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
        for key in (Check(method, case).id, method):
            if key in self.expected_failures:
                request.applymarker(pytest.mark.xfail(reason=self.expected_failures[key], strict=True))
                return

    def require(self, backend: Backend, spec: Spec) -> None:
        """Skip what the backend does not declare."""
        try:
            registry.check(backend, spec)
        except UnsupportedError as error:
            pytest.skip(f"not declared, so not checked: {str(error).partition(';')[0]}")

    def build(self, backend: Backend, case: Case, precision: Precision = "float64") -> Network:
        """A new network with the case's weights; skips what the backend does not declare."""
        self.require(backend, case.spec(precision))
        return backend.build(case.graph(precision), case.weights(precision))

    def network(self, backend: Backend, case: Case, precision: Precision = "float64", *, copy: int = 0) -> Network:
        """A network with the case's weights, perhaps used before.

        Building is what takes long in some frameworks; ``set_weights`` puts a used one back to its start.

        Args:
            backend: Who builds it.
            case: What it is.
            precision: Its number format.
            copy: Networks of different numbers are different objects.
        """
        self.require(backend, case.spec(precision))
        key = (case.name, precision, copy)
        owner, network = self._networks.pop(key, (None, None))
        if owner is not backend or network is None:
            network = backend.build(case.graph(precision), case.weights(precision))
        else:
            network.set_weights(case.weights(precision))
        self._networks[key] = (backend, network)
        while len(self._networks) > NETWORKS_KEPT:
            del self._networks[next(iter(self._networks))]
        return network

    def trainer(
        self,
        network: Network,
        case: Case,
        update: Update,
        *,
        batch_size: int | None = None,
        update_size: int | None = None,
        compiled: bool = False,
    ) -> Trainer:
        """A trainer of a network by one of the optimizer rows."""
        return network.trainer(
            case.objective,
            update.optimizer,
            batch_size=case.examples if batch_size is None else batch_size,
            update_size=update_size,
            clip=update.clip,
            compiled=compiled,
        )
