"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="Config file (YAML).")]
Backend = Annotated[str | None, typer.Option(help="torch, tensorflow or a third party's name; left out, the config's.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: --set train.epochs=5.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Weights = Annotated[Literal["last", "best"], typer.Option(help="Weights of the last epoch or of the best one.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - is stdout.")]
HtmlPage = Annotated[str | None, typer.Option("--html", metavar="FILE", help="Write the report as one HTML page.")]
JunitFile = Annotated[str | None, typer.Option("--junit", metavar="FILE", help="Write the report as a JUnit file.")]
Github = Annotated[bool, typer.Option("--github", help="Print annotations for GitHub Actions.")]
