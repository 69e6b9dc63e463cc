"""Plain asserts in the support modules explain themselves as in test files."""

import pytest

pytest.register_assert_rewrite("torch_support", "tensorflow_support")
