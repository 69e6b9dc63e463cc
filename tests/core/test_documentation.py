"""What the documentation says is so."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dualml
from dualml import protocol
from dualml.spec.activations import ACTIVATIONS
from dualml.spec.initializers import INITIALIZERS
from dualml.spec.layers import LAYERS, STRUCTURE
from dualml.spec.losses import LOSSES
from dualml.spec.metrics import METRICS
from dualml.spec.optimizers import CLIPPINGS, OPTIMIZERS
from dualml.spec.regularizers import REGULARIZERS
from dualml.spec.schedules import SCHEDULES

ROOT = Path(__file__).parents[2]
KINDS = {
    "layers": (*LAYERS, *STRUCTURE),
    "activations": ACTIVATIONS,
    "losses": LOSSES,
    "regularizers": REGULARIZERS,
    "optimizers": OPTIMIZERS,
    "ways to clip": CLIPPINGS,
    "schedules": SCHEDULES,
    "initializers": INITIALIZERS,
    "metrics": METRICS,
}
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


def sections_of(page):
    """Text of each section by heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return {part.partition("\n")[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}


def test_no_section_of_the_settings_is_empty():
    sections = sections_of("config.md")
    assert {"The file", "model", "Layers", "Convolution", "data", "loss", "optimizer", "metrics"} <= set(sections)
    assert all("|---|" in section for section in sections.values())
    text = "".join(sections.values())
    for name in ("`source: csv`", "`function`", "`normalize`", "WeightedLoss", "BlockDefinition", "ParameterGroup"):
        assert name in text


@pytest.mark.parametrize("group", KINDS)
def test_every_part_has_its_place_among_the_settings(group):
    headings = re.findall(r"^### (.*)$", "".join(sections_of("config.md").values()), re.MULTILINE)
    named = [name for heading in headings for name in re.findall(r"`(\w+)`", heading)]
    assert {kind.kind for kind in KINDS[group]} <= set(named)


def test_a_union_of_settings_is_readable():
    text = sections_of("config.md")["Convolution"]
    amounts = "whole number ≥ 0, or a list with a number or a pair `[before, after]` for each axis"
    assert f"| `padding` | `valid`, `same`, `symmetric` or `causal`, or {amounts} | `valid` |" in text
    assert "| `kernel_size` | whole number > 0, or a list of them | required |" in text
    norms = sections_of("config.md")["Normalization"]
    assert "| `momentum` | number < 1 | `0.9` (torch), `0.99` (keras) |" in norms
    assert "any value" not in "".join(sections_of("config.md").values()).replace("list of any value", "")


def test_the_examples_of_the_settings_are_right():
    from dualml.config.yaml_source import parse_source
    from dualml.spec.checks import spec_problems
    from dualml.spec.config import Spec

    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    whole, *pieces = (parse_source(block, "x").data for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    assert Spec.model_validate(whole).graph.output_shape == (10,)
    assert len(pieces) >= 5
    for piece in pieces:  # each replaces a part of the whole one
        left_out = {"data", "regularizers"} if "model" in piece else set()
        left_out |= {"loss"} if "losses" in piece else set()
        spec = Spec.model_validate({name: item for name, item in whole.items() if name not in left_out} | piece)
        assert not spec_problems(spec)
        assert spec.graph.nodes
        assert spec.objective.terms


def test_links_within_the_settings_lead_somewhere():
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}
    missing = set(re.findall(r"\]\(#([^)]+)\)", text)) - anchors
    assert not missing


def test_the_layer_that_is_shown_is_the_repository_s():
    text = (ROOT / "docs" / "adding-a-layer.md").read_text(encoding="utf-8")
    quotes = re.findall(r"^`([\w/.]+)`:\n\n```(?:python|text)\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    assert len(quotes) >= 7
    for path, quoted in quotes:
        source = (ROOT / path).read_text(encoding="utf-8")
        for piece in quoted.strip("\n").split("\n\n\n"):
            assert piece in source, f"{path} no longer holds:\n{piece}"


def test_the_backends_page_names_every_member():
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\| (.*) \|$", text, re.MULTILINE))
    for name in ("Backend", "Network", "Trainer", "Batch", "Gradients", "State", "Capabilities"):
        kind = getattr(protocol, name)
        members = {member for member in (*vars(kind), *inspect.get_annotations(kind)) if not member.startswith("_")}
        members -= {"take"}
        assert set(re.findall(r"`(\w+)", rows[name])) == members, name


def test_the_readme_counts_what_there_is():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = {words: int(count) for count, words in re.findall(r"(\d+) ([a-z][a-z ]*[a-z])(?=[,| ])", text)}
    for group, kinds in KINDS.items():
        assert found[group] == len(kinds), group


def test_the_readme_lists_every_config():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| [`")]
    listed = {path for line in rows for path in re.findall(r"\]\(configs/([\w.]+)\)", line)}
    assert listed == {path.name for path in (ROOT / "configs").glob("*.yaml")}


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
