"""Reports for continuous integration: JUnit files and annotations."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from sample_reports import different

from dualml.errors import RunError
from dualml.parity.ci import github_annotations, junit, write_junit

EQUAL = replace(
    different(),
    verdict="equal",
    kind="rounding",
    first_divergence=None,
    deviates=None,
    cause=None,
    checks=tuple(check for check in different().checks if check.ok),
    native=replace(different().native, findings=()),
)
UNDECIDED = replace(EQUAL, verdict="undecided", kind=None, reasons=("values overflow", "a bound is missing"))


def suite_of(report):
    return ElementTree.fromstring(junit(report)).find("testsuite")


def test_the_totals_are_those_of_the_cases():
    suite = suite_of(different())
    cases = suite.findall("testcase")
    assert int(suite.get("tests")) == len(cases)
    for kind, total in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(total)) == sum(case.find(kind) is not None for case in cases)
    assert int(suite.get("failures")) == 1 + 4 + 3  # the verdict; forward and update in both precisions; findings
    assert int(suite.get("skipped")) == 2


def test_a_failing_rung_names_its_checks():
    cases = {(case.get("classname"), case.get("name")): case for case in suite_of(different()).findall("testcase")}
    failure = cases["dualml.ladder.float64", "forward"].find("failure")
    assert failure.get("message") == "6 of 48 checks are outside"
    assert "step 1 features.1 training: largest difference 0.0031, rho 8.1e+03 (limit 1)" in failure.text
    assert cases["dualml.ladder.float64", "loss"].find("failure") is None


def test_a_finding_holds_its_cause_and_fixes():
    failures = [case.find("failure") for case in suite_of(different()).findall("testcase")]
    found = next(item for item in failures if item is not None and item.get("type") == "norm.epsilon")
    assert "keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-05)" in found.text


def test_the_failing_verdict_is_the_card():
    failure = suite_of(different()).find("testcase").find("failure")
    assert failure.text.startswith("dualml ")
    assert "DIFFERENT" in failure.text
    assert failure.get("message") == "different at step 1 · forward · features.1 inference: norm.epsilon"


def test_equal_fails_nothing():
    suite = suite_of(EQUAL)
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert int(suite.get("tests")) > 5


def test_undecided_is_an_error_not_a_success():
    suite = suite_of(UNDECIDED)
    assert (suite.get("failures"), suite.get("errors")) == ("0", "1")
    assert suite.find("testcase").find("error").get("message") == "values overflow; a bound is missing"


def test_characters_that_xml_cannot_hold():
    report = replace(UNDECIDED, reasons=("bad \x00 \x1b[31m <tag> & \ufffe",))
    message = suite_of(report).find("testcase").find("error").get("message")
    assert message == "bad \ufffd \ufffd[31m <tag> & \ufffd"


def test_a_junit_file_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(RunError, match=r"--junit .* cannot be written"):
        write_junit(EQUAL, tmp_path / "missing" / "junit.xml")
    write_junit(EQUAL, tmp_path / "junit.xml")
    assert (tmp_path / "junit.xml").read_text(encoding="utf-8") == junit(EQUAL)


def test_an_annotation_stands_beside_the_deviating_layer():
    first, second, third = github_annotations(different())
    assert first.startswith("::error file=port.py,line=12,title=dualml%3A norm.epsilon at features.1 BatchNorm2d")
    assert second.startswith("::error title=dualml%3A optimizer.epsilon at Adam <-> Adam::")
    assert third.startswith("::error file=port.py,line=17,")
    assert "%0Afix in torch: nn.BatchNorm2d(16, eps=1e-03)%0A" in first


def test_an_annotation_is_one_line_whatever_it_says():
    finding = different().native.findings[0]
    cause = replace(finding.cause, evidence="100% sure\r\n::error::injected, and: more")
    pair = next(pair for pair in different().native.pairs if pair.left[0].name == finding.node)
    side = replace(pair.right[0], where="C:\\models\\a,b.py:7")
    native = replace(
        different().native, findings=(replace(finding, cause=cause),), pairs=(replace(pair, right=(side,)),)
    )
    (line,) = github_annotations(replace(different(), native=native))
    assert "\n" not in line
    assert "\r" not in line
    assert "100%25 sure%0D%0A::error::injected, and: more" in line
    assert re.match(r"::error file=C%3A\\models\\a%2Cb\.py,line=7,title=[^,]*::", line)


def test_equal_says_nothing_and_undecided_warns():
    assert github_annotations(EQUAL) == []
    assert github_annotations(UNDECIDED) == ["::warning title=dualml%3A undecided::values overflow; a bound is missing"]


def test_a_report_of_a_spec_is_one_annotation():
    (line,) = github_annotations(replace(different(), native=None))
    assert line.startswith("::error title=dualml%3A different at step 1")


# ------------------------------------------------------------------ the command


def test_compare_writes_every_form(dualml_command, small_config, tmp_path):
    files = {flag: tmp_path / name for flag, name in (("--html", "a.html"), ("--junit", "b.xml"), ("--json", "c.json"))}
    options = [part for pair in files.items() for part in pair]
    arguments = (small_config(), "--backends", "torch,torch", "--steps", "1", "--github", *options)
    outcome = dualml_command("compare", *arguments)
    assert outcome.code == 0, outcome.err
    assert files["--html"].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert ElementTree.parse(files["--junit"]).getroot().tag == "testsuites"
    assert files["--json"].read_text(encoding="utf-8").startswith("{")
    assert outcome.out.startswith("dualml compare: EQUAL")
    assert "::error" not in outcome.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--html", "-"), "--html -: must be a file; only --json can write to stdout"),
        (("--html", "."), "--html .: must be a file, but is a folder"),
        (("--junit", "missing/x.xml"), "--junit missing/x.xml: the folder missing does not exist; make it first"),
        (("--github", "--json", "-"), "--github prints to stdout, and so does --json -: give --json a file"),
    ],
    ids=["stdout", "folder", "missing folder", "two on stdout"],
)
def test_targets_are_checked_before_the_work(dualml_command, small_config, options, said):
    outcome = dualml_command("compare", small_config(), *options)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.out == ""
