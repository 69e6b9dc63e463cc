"""Flags of the commands that describe, train and compare. Each calls its module when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dualml.cli.options import Backend, Config, Github, HtmlPage, Json, JunitFile, Overrides, Quiet, Weights


def train(
    config: Config,
    backend: Backend = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run directory; left out, runs/<config>-<backend>.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest checkpoint, of either backend.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard logs too.")] = False,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Train a model and write a run directory."""
    from dualml.cli.train import run_train

    if tensorboard:
        overrides = [*(overrides or ()), "train.tensorboard=true"]
    run_train(config, backend, overrides or (), out, json_file, resume=resume, quiet=quiet)


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    backend: Backend = None,
    split: Annotated[Literal["test", "validation", "train"], typer.Option(help="Which examples.")] = "test",
    weights: Weights = "last",
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Loss and metrics of a run on held-back examples, in either backend."""
    from dualml.cli.inference import run_evaluate

    run_evaluate(run, backend, split, weights, json_file, quiet=quiet)


def compare(
    left: Annotated[Path, typer.Argument(metavar="CONFIG|RUN_A", help="Config file, or a finished run.")],
    right: Annotated[Path | None, typer.Argument(metavar="[RUN_B]", help="The other finished run.")] = None,
    backends: Annotated[
        str, typer.Option(metavar="LEFT,RIGHT", help="The two sides of a config.")
    ] = "torch,tensorflow",
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Updates of the free-running trajectory.")] = 20,
    json_file: Json = None,
    html: HtmlPage = None,
    junit: JunitFile = None,
    github: Github = False,
    quiet: Quiet = False,
) -> None:
    """Cross-check both backends on one config, or two runs; exit 0: equal, 1: different, 3: undecided."""
    from dualml.cli.compare import run_compare
    from dualml.cli.reports import Outputs

    outputs = Outputs(json_file, html, junit, github, quiet)
    raise typer.Exit(run_compare(left, right, backends, overrides or (), steps, outputs))


def diff(
    left: Annotated[
        str, typer.Argument(metavar="LEFT", help="file.py:name, file.py:Class@weights.pt, model.keras, run.")
    ],
    right: Annotated[str, typer.Argument(metavar="RIGHT", help="The same for the model that should do the same.")],
    inputs: Annotated[
        str | None, typer.Option(metavar="FILE", help="A batch in the left model's axes: .npy, or .npz with targets.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(metavar="1,28,28", help="Shape of one example, for a batch of random numbers.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Updates that are judged.")] = 3,
    weights: Annotated[
        Literal["auto", "copy", "compare"], typer.Option(help="Copy the left weights, or compare them as they are.")
    ] = "auto",
    mapping: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="Layers that stand for each other (YAML or JSON).")
    ] = None,
    replay: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a script that shows the difference without dualml.")
    ] = None,
    json_file: Json = None,
    html: HtmlPage = None,
    junit: JunitFile = None,
    github: Github = False,
    quiet: Quiet = False,
) -> None:
    """Compare two models you already have, layer by layer; exit 0: equal, 1: different, 3: undecided."""
    from dualml.cli.diff import run_diff
    from dualml.cli.reports import Outputs

    outputs = Outputs(json_file, html, junit, github, quiet)
    raise typer.Exit(run_diff(left, right, inputs, input_shape, steps, weights, mapping, replay, outputs))


def describe(config: Config, overrides: Overrides = None, json_file: Json = None, quiet: Quiet = False) -> None:
    """The resolved config with shapes and parameter counts; imports no framework."""
    from dualml.cli.describe import run_describe

    run_describe(config, overrides or (), json_file, quiet=quiet)


def backends(json_file: Json = None, quiet: Quiet = False) -> None:
    """What is installed and what each backend can do."""
    from dualml.cli.describe import run_backends

    run_backends(json_file, quiet=quiet)


def schema(
    report: Annotated[bool, typer.Option("--report", help="Of the JSON report of compare and diff.")] = False,
) -> None:
    """JSON Schema of config files, for editors, or of reports."""
    from dualml.cli.describe import run_schema

    run_schema(report=report)
