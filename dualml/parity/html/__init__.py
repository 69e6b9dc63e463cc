"""The report as one self-contained HTML page: no request leaves it, and it prints."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path

import dualml
from dualml.errors import RunError
from dualml.parity.html.coverage import checks, coverage, environment
from dualml.parity.html.findings import findings
from dualml.parity.html.ladder import ladder
from dualml.parity.html.layers import layers
from dualml.parity.html.markup import Html, Section, element
from dualml.parity.html.settings import settings
from dualml.parity.html.trajectory import trajectories
from dualml.parity.html.verdict import card_panel, command, head
from dualml.parity.report import Report
from dualml.weights import write_text

LARGEST_TWIN = 400_000
"""Characters of the JSON report that the page carries with it; a longer one is left out."""
PARTS = (findings, ladder, layers, trajectories, settings, checks, coverage, environment)
"""The sections in their order; each is left out where a report has nothing for it."""


def page(report: Report) -> str:
    """The whole page.

    Its policy allows images and styles of its own and one script, known by its SHA-256, and nothing from elsewhere.
    """
    sections = [section for section in (part(report) for part in PARTS) if section is not None]
    style, script = (files(__package__).joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    title = f"{report.verdict.upper()} · {command(report)}"
    top = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"dualml {dualml.__version__}"),
        element("title", title),
        element("style", Html(style)),
    )
    body = element(
        "body",
        element("a", "Skip to the report", href="#main", class_="skip"),
        element("div", head(report), _contents(sections), class_="top"),
        element("main", card_panel(report), *(_section(section) for section in sections), id="main"),
        element("footer", element("p", f"dualml {dualml.__version__}"), _download()),
        _twin(report),
        element("script", Html(script)),
    )
    return f"<!doctype html>\n{element('html', top, body, lang='en')}\n"


def write_page(report: Report, path: Path) -> None:
    """Write the page to a file.

    Raises:
        RunError: The file cannot be written.
    """
    try:
        write_text(path, page(report))
    except OSError as error:
        raise RunError(f"{path}: the page cannot be written: {error.strerror}; choose another file") from None


def _contents(sections: list[Section]) -> Html:
    links = [element("li", element("a", item.short or item.title, href=f"#{item.key}")) for item in sections]
    return element("nav", element("ul", *links), aria_label="Parts of the report")


def _section(section: Section) -> Html:
    return element(
        "section",
        element("h2", section.title),
        element("p", section.lead, class_="lead"),
        section.body,
        id=section.key,
    )


def _twin(report: Report) -> Html | None:
    """The JSON report, if it is small; ``<`` is written so that nothing in it can end the script element."""
    text = json.dumps(report.to_dict(), separators=(",", ":"), ensure_ascii=False)
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if len(text) > LARGEST_TWIN:
        return None
    return element("script", Html(text), type="application/json", id="report")


def _download() -> Html:
    return element("button", "Save as JSON", type="button", id="save", hidden=True)
