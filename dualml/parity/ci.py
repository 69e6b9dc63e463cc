"""A report as continuous integration reads it: a JUnit file, and annotations beside the lines of a pull request."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from dualml.errors import RunError
from dualml.parity.card import card
from dualml.parity.findings import Finding, LayerSide
from dualml.parity.judge import LIMIT
from dualml.parity.records import PHASES
from dualml.parity.report import Check, Report
from dualml.weights import write_text

COLUMNS = 120
"""Width of the card in a JUnit file."""
MOST_NAMED = 10
"""Failing checks that a test case names."""
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (section 2.2)."""


def junit(report: Report, name: str = "dualml") -> str:
    """The report as a JUnit file: a test case for the verdict, one for each rung and precision, one for each finding.

    Args:
        report: What was found.
        name: Of the test suite.
    """
    suite = ElementTree.Element("testsuite", name=_text(name), time=f"{report.seconds:.3f}")
    verdict = _case(suite, "parity", "verdict")
    if report.verdict == "different":
        _inside(verdict, "failure", _headline(report), card(report, COLUMNS), "different")
    elif report.verdict == "undecided":
        _inside(verdict, "error", "; ".join(report.reasons) or "undecided", card(report, COLUMNS), "undecided")
    for (precision, phase), checks in _rungs(report):
        case = _case(suite, f"ladder.{precision}", phase)
        failing = [check for check in checks if check.ok is False]
        if failing:
            said = f"{len(failing)} of {len(checks)} checks are outside"
            _inside(case, "failure", said, "\n".join(map(_check, failing[:MOST_NAMED])), "rung")
    for number, finding in enumerate(report.native.findings if report.native is not None else (), 1):
        case = _case(suite, "findings", f"{number} {finding.cause.id} {finding.node} {finding.tensor}")
        _inside(case, "failure", finding_title(finding), finding_text(finding), finding.cause.id)
    for item in report.coverage.get("skipped", ()):
        _inside(_case(suite, "not checked", item["what"]), "skipped", item["why"])
    suite.set("tests", str(len(suite)))
    for kind, total in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(total, str(sum(case.find(kind) is not None for case in suite)))
    ElementTree.SubElement(suite, "system-out").text = _text(card(report, COLUMNS))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def write_junit(report: Report, path: Path) -> None:
    """Write the JUnit file.

    Raises:
        RunError: The file cannot be written.
    """
    try:
        write_text(path, junit(report))
    except OSError as error:
        raise RunError(f"--junit {path}: cannot be written: {error.strerror}; choose another file") from None


def _case(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_text(f"dualml.{group}"), name=_text(name))


def _inside(case: ElementTree.Element, kind: str, message: str, text: str = "", type_: str | None = None) -> None:
    inner = ElementTree.SubElement(case, kind, message=_text(message))
    if type_ is not None:
        inner.set("type", type_)
    inner.text = _text(text) or None


def _text(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)


def _headline(report: Report) -> str:
    first, cause = report.first_divergence, report.cause
    place = f" at step {first['step']} · {first['phase']} · {first['node']} {first['tensor']}" if first else ""
    return f"different{place}: {cause.id if cause is not None else 'unknown'}"


def _rungs(report: Report) -> Iterator[tuple[tuple[str, str], list[Check]]]:
    """The judged checks by precision and rung, float64, which decides, first."""
    found: dict[tuple[str, str], list[Check]] = {}
    for check in report.checks:
        if check.ok is not None:
            found.setdefault((check.precision, check.phase), []).append(check)
    for precision in ("float64", "float32"):
        yield from (((precision, phase), found[precision, phase]) for phase in PHASES if (precision, phase) in found)


def _check(check: Check) -> str:
    units = "" if check.units is None else f", rho {check.units:.3g} (limit {check.limit:g})"
    return f"step {check.step} {check.node} {check.tensor}: largest difference {check.max_abs:.3g}{units}"


def _rho(value: float) -> str:
    return "not certified" if math.isnan(value) else f"{value:.3g}"


def finding_title(finding: Finding) -> str:
    """A finding in a line."""
    return f"{finding.cause.id} at {' <-> '.join(name or 'nothing' for name in finding.names)}"


def finding_text(finding: Finding) -> str:
    """A finding in a few lines: where, how much, why, how to mend it."""
    lines = [
        f"step {finding.step} · {finding.phase} · {finding.tensor} ({finding.precision}), deviates: {finding.deviates}",
        f"rho {_rho(finding.rho[0])} left, {_rho(finding.rho[1])} right (limit {LIMIT:g})",
        finding.cause.evidence,
        *(f"fix in {framework}: {code}" for framework, code in finding.cause.fix.items()),
    ]
    if finding.alternatives:
        lines.append(f"cannot be told from: {', '.join(finding.alternatives)}")
    return "\n".join(line for line in lines if line)


def github_annotations(report: Report) -> list[str]:
    """The report as workflow commands of GitHub Actions: a line each, nothing for ``equal``.

    A finding stands beside the line of the deviating layer where that is known. The format is
    ``::error file=…,line=…,title=…::message``, with ``%``, line ends and, in properties, ``:`` and ``,`` escaped.
    """
    if report.verdict == "equal":
        return []
    if report.verdict == "undecided":
        return [_command("warning", "dualml: undecided", "; ".join(report.reasons))]
    if report.native is None or not report.native.findings:
        return [_command("error", f"dualml: {_headline(report)}", card(report, COLUMNS))]
    return [
        _command("error", f"dualml: {finding_title(finding)}", finding_text(finding), *_place(report, finding))
        for finding in report.native.findings
    ]


def _command(kind: str, title: str, message: str, file: str = "", line: str = "") -> str:
    properties = [("file", file), ("line", line), ("title", title)]
    written = ",".join(f"{name}={_property(value)}" for name, value in properties if value)
    return f"::{kind} {written}::{_message(message)}"


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


def _place(report: Report, finding: Finding) -> tuple[str, str]:
    """File and line of the finding's layer: on the deviating side, else on the other one; empty if not known."""
    if finding.phase not in ("init", "forward", "backward", "buffers"):
        return "", ""  # the loss's or the optimizer's
    for pair in report.native.pairs if report.native is not None else ():
        sides = zip((pair.left, pair.right), finding.names, strict=True)
        if not any(_title(layer) in told.split(" + ") for side, told in sides for layer in side):
            continue
        ordered = (pair.right, pair.left) if finding.deviates == "right" else (pair.left, pair.right)
        for where in _known(*ordered):
            file, _, line = where.rpartition(":")
            return (file, line) if line.isdigit() else (where, "")
    return "", ""


def _title(layer: LayerSide) -> str:
    """As ``Finding.names`` writes it."""
    return f"{layer.name} {layer.native}".strip()


def _known(*sides: tuple[LayerSide, ...]) -> Iterator[str]:
    return (layer.where for side in sides for layer in side if layer.where)
