"""The published schema of reports: current, valid, and what real reports follow."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jsonschema
import pytest
from sample_reports import different

import dualml
from dualml import Adam, CrossEntropy, Dense, DigitsData, Model, Spec, Train
from dualml.parity.report import SCHEMA
from dualml.parity.schema import _schema as schema_of, attributes, report_schema

ROOT = Path(__file__).parents[2]
VALIDATOR = jsonschema.Draft202012Validator(report_schema())


def errors(report):
    return [error.message for error in VALIDATOR.iter_errors(json.loads(json.dumps(report)))]


def unknown(value, schema, path=""):
    """Properties of a report that the schema does not name: it allows them, but what we write is documented."""
    if "$ref" in schema:
        schema = report_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        options = [
            option for option in schema["anyOf"] if jsonschema.Draft202012Validator(option | DEFS).is_valid(value)
        ]
        return unknown(value, options[0], path) if options else []
    found = []
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{path}.{name}" for name in value if name not in schema["properties"]]
        for name, inner in value.items():
            found += unknown(inner, schema["properties"].get(name, {}), f"{path}.{name}")
    elif isinstance(value, dict) and "additionalProperties" in schema:
        for name, inner in value.items():
            found += unknown(inner, schema["additionalProperties"], f"{path}.{name}")
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            part = schema.get("prefixItems", [])[place : place + 1] or [schema.get("items", {})]
            found += unknown(inner, part[0], f"{path}[{place}]")
    return found


DEFS = {"$defs": report_schema()["$defs"]}


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(report_schema())
    assert report_schema()["properties"]["schema"] == {"const": SCHEMA}


def test_the_published_schema_is_current():
    published = (ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8")
    assert json.loads(published) == report_schema(), "run: python docs/generate.py"


def test_the_command_prints_it(dualml_command):
    outcome = dualml_command("schema", "--report")
    assert outcome.code == 0
    assert json.loads(outcome.out) == report_schema()


def test_the_command_prints_that_of_configs_without_the_option(dualml_command):
    assert json.loads(dualml_command("schema").out)["title"] == "dualml config"


def test_everything_is_described():
    for name, part in (("report", report_schema()), *report_schema()["$defs"].items()):
        assert part["description"], name
        for key, item in part["properties"].items():
            assert key == "schema" or item["description"], (name, key)


@pytest.fixture(scope="module")
def spec_report():
    spec = Spec(
        model=Model(input=(8, 8), layers=("flatten", Dense(12, activation="relu"), Dense(10))),
        data=DigitsData(limit=200),
        loss=CrossEntropy(),
        optimizer=Adam(lr=0.01),
        train=Train(epochs=1, batch_size=16),
    )
    return dualml.compare(spec, backends=("torch", "torch"), steps=2).to_dict()


def test_a_report_of_a_spec_follows_it(spec_report):
    assert errors(spec_report) == []
    assert unknown(spec_report, report_schema()) == []


def test_a_report_of_two_models_follows_it():
    report = different().to_dict()
    assert errors(report) == []
    assert unknown(report, report_schema()) == []


def test_numbers_that_json_cannot_hold_follow_it():
    finding = replace(different().native.findings[0], rho=(float("nan"), float("inf")), max_abs=float("-inf"))
    report = replace(different(), native=replace(different().native, findings=(finding,))).to_dict()
    text = json.dumps(report, allow_nan=False)
    assert errors(json.loads(text)) == []
    assert json.loads(text)["native"]["findings"][0]["rho"] == ["nan", "inf"]


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "fine"},
        {"schema": "dualml.report/2"},
        {"first_divergence": {"step": 1}},
        {"checks": [{"step": 1}]},
        {"seconds": "long"},
        {"native": {}},
        {"reasons": None},
        {"coverage": {"compared": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_no_report_is_refused(spec_report, change):
    assert errors({**spec_report, **change})


@pytest.mark.parametrize("name", ["verdict", "checks", "native", "environment"])
def test_a_report_without_a_part_is_refused(spec_report, name):
    assert errors({key: value for key, value in spec_report.items() if key != name})


def test_a_field_that_json_cannot_hold_is_refused_when_the_schema_is_made():
    with pytest.raises(TypeError, match="annotated <class 'bytes'>"):
        schema_of(bytes, {})


def test_attributes_of_several_lines():
    @dataclass
    class Thing:
        """Thing.

        Attributes:
            one: The first
                of two.
            two: The ``second``; ``None`` if none.

        Example:
            >>> 1
            1
        """

        one: int
        two: int

    assert attributes(Thing) == {"one": "The first of two.", "two": "The `second`; null if none."}


def test_the_page_on_reports_names_every_property():
    text = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    for name in (*report_schema()["properties"], *report_schema()["$defs"]["NativeComparison"]["properties"]):
        assert f"`{name}`" in text, name


def test_the_generator_checks_it():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert "report.schema.json" not in done.stderr


def test_a_real_report_of_two_models_follows_it():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.GELU(), torch.nn.Linear(4, 3))
    other = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.GELU("tanh"), torch.nn.Linear(4, 3))
    other.load_state_dict(model.state_dict())
    report = dualml.diff(model, other, torch.randn(6, 5).numpy()).to_dict()
    assert report["verdict"] == "different"
    assert report["native"]["findings"]
    assert errors(report) == []
    assert unknown(report, report_schema()) == []
