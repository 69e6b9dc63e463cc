"""For test suites. ``assert_parity``: two models of a project do the same. For authors of backends:
``BackendConformance``, the conformance suite. Needs pytest; nothing else in dualml imports it.

Example:
    In a test file of a backend that plugs in under the name ``mine``::

        import pytest

        from dualml import registry
        from dualml.testing import BackendConformance


        class TestMine(BackendConformance):
            @pytest.fixture
            def backend(self):
                return registry.load("mine")
"""

from __future__ import annotations

from dualml.testing.assertions import assert_parity
from dualml.testing.conformance import BackendConformance

__all__ = ["BackendConformance", "assert_parity"]
