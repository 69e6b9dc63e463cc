"""Damaged files neither crash nor hang the guard, nor the reader behind it; ``benchmarks/guards.py`` tries more."""

import subprocess
import sys
from pathlib import Path

import pytest
from mutations import FORMATS

HERE = Path(__file__).parent
COUNT = 150


@pytest.mark.parametrize("name", FORMATS)
def test_mutations_end_in_a_clean_error_or_pass(name):
    command = [sys.executable, HERE / "mutations.py", name, str(COUNT), "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"mutation {done.stderr.splitlines()[-1]}"
    refused, failed, passed = map(int, done.stdout.split())
    assert refused + failed + passed == COUNT
    assert refused > COUNT // 10
