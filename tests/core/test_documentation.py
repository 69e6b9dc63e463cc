"""What the documentation says is so."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dualml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(dualml.__path__, "dualml.")
    if module.name not in ("dualml.__main__", "dualml.parity.worker")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_no_section_of_the_settings_is_empty():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert len(sections) == 11
    assert all("|---|" in section for section in sections)
    for name in ("`global_norm`", "`source: csv`", "`function`", "`normalize`"):
        assert name in text


def test_the_full_example_of_the_settings_is_right():
    from dualml.config import parse

    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    spec = parse(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert spec.graph.output_shape == (10,)


def test_the_suite_in_the_backends_page_can_be_collected(tmp_path):
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    suite = tmp_path / "test_mine.py"
    suite.write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", str(suite)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_generated_pages_are_current():
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_readme_shows_the_shipped_config():
    def settings(text):
        from dualml.config import parse

        return parse(text)

    shown = re.search(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert settings(shown) == settings((ROOT / "configs" / "mlp.yaml").read_text(encoding="utf-8"))


def test_the_readme_names_options_that_exist(dualml_command):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command, arguments in re.findall(r"^dualml (\w+) (.*)$", text, re.MULTILINE):
        options = set(re.findall(r"--[a-z]+", arguments.partition("#")[0]))
        assert options <= set(re.findall(r"--[a-z]+", dualml_command(command, "--help").out)), command
