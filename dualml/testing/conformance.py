"""The suite that says whether a backend is one: subclass it, override one fixture.

Example:
    In ``test_my_backend.py``, with a backend that plugs in under the name ``mine``::

        class TestMine(BackendConformance):
            expected_failures = {"test_update[adam-keras]": "no decoupled decay yet, issue 12"}

            @pytest.fixture
            def backend(self):
                return dualml.registry.load("mine")

Capabilities that the backend does not declare are skipped, each with a sentence. What it declares must work,
or stand in ``expected_failures`` with its reason, where it must fail: a failure that was mended has to go.
"""

from __future__ import annotations

from dualml.testing.base import Check, checks_of
from dualml.testing.checks_buffers import BufferChecks
from dualml.testing.checks_compiled import CompiledChecks
from dualml.testing.checks_contract import IsolationChecks, OwnershipChecks, RandomnessChecks
from dualml.testing.checks_gradients import GradientChecks
from dualml.testing.checks_inputs import InputGradientChecks
from dualml.testing.checks_structure import NameChecks, SmokeChecks
from dualml.testing.checks_training import TrainingChecks
from dualml.testing.checks_updates import StateChecks, UpdateChecks
from dualml.testing.checks_values import ValueChecks


class BackendConformance(
    # pytest runs the checks of the last base first: what fails first explains the most.
    RandomnessChecks,
    IsolationChecks,
    OwnershipChecks,
    CompiledChecks,
    BufferChecks,
    TrainingChecks,
    StateChecks,
    UpdateChecks,
    InputGradientChecks,
    GradientChecks,
    ValueChecks,
    NameChecks,
    SmokeChecks,
):
    """Everything the protocol promises, on every case whose parts the backend declares.

    Attributes:
        expected_failures: Test id, with or without ``[case]``, and the reason.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._networks = {}
        known = {key for check in checks_of(cls) for key in (check.id, check.method)}
        unknown = sorted(set(cls.expected_failures) - known)
        if unknown:
            raise TypeError(
                f"{cls.__name__}.expected_failures must name checks of the suite, with or without [case], "
                f"but {', '.join(unknown)} are none; were they renamed, or mended and removed?"
            )

    @classmethod
    def checks(cls) -> tuple[Check, ...]:
        """Every check on every case, in alphabetical order of the methods."""
        return tuple(checks_of(cls))
