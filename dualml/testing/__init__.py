"""For authors of backends: the conformance suite. Needs pytest; nothing else in dualml imports it.

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

from dualml.testing.conformance import BackendConformance

__all__ = ["BackendConformance"]
