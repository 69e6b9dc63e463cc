"""Flags of the commands that use a trained model. Each calls its module when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dualml.cli.options import Json, Quiet, Weights


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN|ARTEFACT", help="Run directory, or what export wrote.")],
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="Raw examples: .npy; .npz for several inputs; .txt (one text a line) or .csv if trained on those. "
            "For an artefact also .json and .csv of numbers.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="PROBS.npy", help="Where predictions are written; of an artefact also .csv, .json.")
    ],
    backend: Annotated[
        str | None,
        typer.Option(help="torch, tensorflow, ...; left out, the run's; of an artefact ONNX Runtime; or both."),
    ] = None,
    weights: Weights = "last",
    output: Annotated[str | None, typer.Option(metavar="NAME", help="Which of several outputs; the first.")] = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Predictions of a run or an artefact for new examples."""
    from dualml.artefact.open import is_artefact

    if is_artefact(run):
        from dualml.cli.artefact import one_set_of_weights, run_predict_artefact

        one_set_of_weights(weights)
        return run_predict_artefact(run, inputs, out, backend, output, json_file, quiet=quiet)
    from dualml.cli.inference import run_predict

    run_predict(run, inputs, out, backend, weights, output, json_file, quiet=quiet)


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    inputs: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Raw examples, as for predict: .npy; .npz for several inputs; ...")
    ],
    method: Annotated[
        Literal["integrated_gradients", "gradient_x_input", "occlusion"], typer.Option(help="How it is computed.")
    ] = "integrated_gradients",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where attributions are written: .npz or .json.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Where a picture of the first images is written.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Number or name; left out, the class each example is given.")
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            metavar="zeros|NUMBER|FILE",
            help="What 'nothing there' is: zeros as the model sees them, a raw value, or raw examples in a file.",
        ),
    ] = "zeros",
    of: Annotated[
        Literal["output", "prediction"], typer.Option(help="Before softmax or sigmoid, or after it.")
    ] = "output",
    steps: Annotated[int, typer.Option(min=1, help="Points on the path of integrated gradients.")] = 64,
    window: Annotated[
        int | None, typer.Option(min=1, help="Places that occlusion covers along each axis; 1, or 1/8 of an image.")
    ] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="How far its windows are apart; half a window.")] = None,
    precision: Annotated[Literal["float32", "float64"], typer.Option(help="Of the arithmetic.")] = "float64",
    backend: Annotated[
        str | None, typer.Option(help="torch, tensorflow, ...; left out, the run's; both: compares them.")
    ] = None,
    weights: Weights = "last",
    output: Annotated[str | None, typer.Option(metavar="NAME", help="Which of several outputs; the first.")] = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """How much each value of an input did for the answer, in either backend or in both."""
    from dualml.cli.explain import run_explain

    run_explain(
        run,
        inputs,
        out,
        picture,
        backend,
        baseline,
        json_file,
        quiet=quiet,
        method=method,
        target=target,
        of=of,
        steps=steps,
        window=window,
        stride=stride,
        precision=precision,
        weights=weights,
        output=output,
    )


def attack(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    epsilon: Annotated[
        list[float],
        typer.Option(
            min=0, help="Most that any value may move, in the units the model sees; may be given several times."
        ),
    ],
    method: Annotated[Literal["fgsm", "pgd"], typer.Option(help="One step, or many (fgsm's point included).")] = "pgd",
    steps: Annotated[int, typer.Option(min=1, help="Of pgd.")] = 40,
    step_size: Annotated[
        float | None, typer.Option(help="Of pgd, in the same units; left out, 2.5 * epsilon / steps.")
    ] = None,
    random_start: Annotated[
        bool, typer.Option("--random-start/--no-random-start", help="Start pgd at a random point, or at the example.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the random point; the same in every backend.")] = 0,
    bounds: Annotated[
        str,
        typer.Option(
            metavar="data|none|LOW,HIGH", help="Values inputs may have; data: those of the training examples."
        ),
    ] = "data",
    split: Annotated[Literal["test", "validation", "train"], typer.Option(help="Which examples.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many of them, the first ones.")] = None,
    backend: Annotated[
        str | None, typer.Option(help="torch, tensorflow, ...; left out, the run's; both: compares them.")
    ] = None,
    weights: Weights = "last",
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Accuracy of a classifier whose inputs are moved on purpose, within a bound."""
    from dualml.cli.attack import run_attack

    run_attack(
        run,
        epsilon,
        backend,
        bounds,
        json_file,
        quiet=quiet,
        method=method,
        steps=steps,
        step_size=step_size,
        random_start=random_start,
        seed=seed,
        split=split,
        limit=limit,
        weights=weights,
    )


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    format: Annotated[  # noqa: A002 (the flag's name)
        Literal["artefact", "onnx", "savedmodel", "keras", "torch", "litert"],
        typer.Option(help="artefact: a folder that predict and serve take; or a format that others read."),
    ] = "artefact",
    out: Annotated[
        Path | None, typer.Option(metavar="PATH", help="What to write; left out, beside the run with its name.")
    ] = None,
    bundle: Annotated[
        Literal["triton", "tfserving", "kserve"] | None,
        typer.Option(help="Instead of a format: the folder that this server loads."),
    ] = None,
    weights: Weights = "last",
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The model's name; left out, the run's.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Where a KServe bundle's folder models will be, as in gs://bucket."),
    ] = None,
    precision: Annotated[
        Literal["float32", "float64"] | None,
        typer.Option(help="Of the exported model; left out, the run's. For formats and bundles."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Backends to compare with, or none; left out, all that are installed."),
    ] = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Write a trained model for use elsewhere; it is run and compared with both backends before it is kept."""
    if format == "artefact" and bundle is None:
        from dualml.cli.artefact import run_export_artefact
        from dualml.cli.export import refuse

        refuse(
            {"--storage": storage, "--precision": precision},
            "is for other formats and bundles, not for an artefact; leave it out",
        )
        return run_export_artefact(run, out, weights, name, against, json_file, quiet=quiet)
    from dualml.cli.export import run_export

    run_export(run, format, bundle, out, weights, name, storage, precision, against, json_file, quiet=quiet)


def compress(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run directory.")],
    method: Annotated[
        Literal["int8", "neurons", "svd", "unstructured"],
        typer.Option(
            help="int8: bytes, an artefact for ONNX Runtime; neurons: fewer units and filters, svd: lower rank, a run."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What to write; left out, beside the run: RUN.METHOD.")
    ] = None,
    weights: Weights = "last",
    max_loss: Annotated[
        float | None,
        typer.Option(metavar="LOSS", help="How much worse the metric may become: 0.005 for int8, else 0.01."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="neurons: of each layer's units; svd: of each layer's weights; 0.5."),
    ] = None,
    energy: Annotated[
        float | None, typer.Option(metavar="SHARE", help="svd, instead: of each layer's squared singular values.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="neurons, svd: how long it is trained on; 4; 0: not at all.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(metavar="RATE", help="neurons, svd: first learning rate; left out, the run's.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="neurons, svd: where it is trained on; left out, where the run was.")
    ] = None,
    calibration: Annotated[
        int | None, typer.Option(metavar="N", help="int8: training examples to measure ranges on; 512.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="How often latencies are measured; 0: not at all.")
    ] = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Make a trained model smaller and measure what that costs; exit 1: too much would be lost, nothing is written."""
    from dualml.cli.compress import run_compress

    settings = {"max_loss": max_loss, "keep": keep, "energy": energy, "epochs": epochs, "lr": lr, "backend": backend}
    settings |= {"calibration": calibration}
    raise typer.Exit(run_compress(run, method, out, weights, rounds, json_file, quiet=quiet, **settings))


def verify(
    artefact: Annotated[Path, typer.Argument(metavar="ARTEFACT", help="The folder that export wrote.")],
    against: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Run it too, and compare with the reference and these backends, or none."),
    ] = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Check every byte of an artefact, and that its parts belong together; exit 2: something changed."""
    from dualml.cli.artefact import run_verify

    run_verify(artefact, against, json_file, quiet=quiet)


def serve(
    artefact: Annotated[Path, typer.Argument(metavar="ARTEFACT", help="The folder that export wrote.")],
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model's name; left out, the artefact's.")
    ] = None,
    model_version: Annotated[str, typer.Option(metavar="TEXT", help="The model's version.")] = "1",
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds the token clients must send; or set DUALML_TOKEN.")
    ] = None,
    hosts: Annotated[
        list[str] | None, typer.Option("--allow-host", metavar="NAME", help="A name clients may call this server by.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Batches computed at a time; left out, one a core.")] = None,
    batching: Annotated[
        Literal["auto", "on", "off"], typer.Option(help="Compute requests that wait together; auto: where it pays.")
    ] = "auto",
    max_rows: Annotated[int | None, typer.Option(help="Most examples in a request.")] = None,
    max_body: Annotated[int | None, typer.Option(metavar="BYTES", help="Longest body of a request.")] = None,
    max_queue: Annotated[int | None, typer.Option(help="Most requests that wait; one more gets 503.")] = None,
    max_connections: Annotated[int | None, typer.Option(help="Most open connections; one more gets 503.")] = None,
    read_timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="For a client to send.")] = None,
    answer_timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="For the model to answer.")] = None,
    quiet: Quiet = False,
) -> None:
    """Answer predictions over HTTP through ONNX Runtime, until Ctrl-C; with a page to try the model."""
    from dualml.cli.serve import run_serve

    run_serve(
        artefact,
        name,
        model_version,
        token_file,
        quiet=quiet,
        host=host,
        port=port,
        hosts=tuple(hosts or ()),
        threads=threads,
        batching=batching,
        rows=max_rows,
        body_bytes=max_body,
        queue=max_queue,
        connections=max_connections,
        read_seconds=read_timeout,
        answer_seconds=answer_timeout,
    )
