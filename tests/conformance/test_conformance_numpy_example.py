"""The example of a third party's backend in tests/plugin, judged by the suite it would be judged by at home."""

from __future__ import annotations

import pytest
from dualml_numpy_example import backend as numpy_example

from dualml.protocol import Backend
from dualml.testing import BackendConformance


class TestNumpyExample(BackendConformance):
    @pytest.fixture
    def backend(self) -> Backend:
        return numpy_example
