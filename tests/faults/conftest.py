"""What the fault benchmark needs of the process it runs in."""

import pytest


@pytest.fixture(autouse=True)
def no_policy_of_others():
    """A dtype policy that an earlier test set would overrule ``floatx``."""
    state = pytest.importorskip("keras.src.backend.common.global_state")
    before = state.get_global_attribute("dtype_policy")
    state.set_global_attribute("dtype_policy", None)
    yield
    state.set_global_attribute("dtype_policy", before)
