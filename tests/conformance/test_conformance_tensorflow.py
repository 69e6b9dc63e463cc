"""The TensorFlow backend, judged by the suite third parties use."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from dualml import registry
from dualml.protocol import Backend
from dualml.testing import BackendConformance

pytestmark = pytest.mark.skipif(find_spec("tensorflow") is None, reason="the framework is not installed")


@pytest.fixture(scope="module")
def loaded() -> Backend:
    return registry.load("tensorflow")


class TestTensorFlow(BackendConformance):
    @pytest.fixture
    def backend(self, loaded: Backend) -> Backend:
        return loaded
