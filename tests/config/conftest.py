import textwrap

import pytest


@pytest.fixture
def write(tmp_path):
    """Writes a config file and returns its path."""

    def write_config(text, name="config.yaml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return write_config
