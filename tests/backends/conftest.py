"""Plain asserts in the support modules explain themselves as in test files."""

import pytest

pytest.register_assert_rewrite("single_layer_support", "torch_support", "tensorflow_support")
