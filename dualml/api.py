"""The Python API: load, build, train, evaluate, predict, compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dualml import registry
from dualml.config import load
from dualml.data import Dataset, InputNeed, Needs, OutputNeed, Preparation, Split, load_for
from dualml.errors import ConfigError, DataError, Problem, RunError, TrainingError
from dualml.evaluation import evaluate as evaluate_network
from dualml.metrics import Result
from dualml.protocol import Array, Arrays, Backend, Network
from dualml.spec.checks import spec_problems
from dualml.spec.config import Spec
from dualml.spelling import dotted, nearest
from dualml.training.loop import Training, TrainingInterruptedError, writing
from dualml.training.progress import Observer, Quiet
from dualml.training.run_directory import RunDirectory, StoredRun, open_run
from dualml.weights import check_memory, initial_weights

if TYPE_CHECKING:
    from dualml.parity.report import Report

__all__ = ["Run", "build", "compare", "evaluate", "load", "load_dataset", "predict", "train"]

PREDICTION_BATCH = 1024
"""Examples in one forward pass of ``predict``."""


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        spec: The resolved spec.
        network: The trained model; ``network.native`` is the framework's own.
        history: A row of metrics for each epoch.
        test: Loss and metrics on the test split; empty if there is none.
        preparation: How the training treated its inputs.
        class_names: Names of the classes, if known; of several outputs a mapping.
        ended: ``finished`` or ``stopped early``.
        path: The run directory, if there is one.
    """

    spec: Spec = field(repr=False)
    network: Network = field(repr=False)
    history: list[dict[str, Any]] = field(repr=False)
    test: dict[str, Result]
    preparation: Preparation = field(repr=False)
    class_names: tuple[str, ...] | Mapping[str, tuple[str, ...]] | None = field(repr=False)
    ended: str
    path: Path | None = None

    @cached_property
    def weights(self) -> dict[str, Array]:
        """The trained weights, neutral names and layout."""
        return self.network.get_weights()

    def predict(self, inputs: Any, *, output: str | None = None) -> Array:
        """Predictions for raw inputs, which are treated as the training's were; see ``dualml.predict``."""
        return _predict(self.network, self.spec, inputs, self.preparation, output)


def _must_be_spec(spec: object) -> None:
    if not isinstance(spec, Spec):
        raise ConfigError(
            f"a dualml.Spec is needed, got {type(spec).__name__}; read a config file with dualml.load(path)"
        )


def checked(spec: Spec) -> Spec:
    """A spec with every default filled in, refused if its parts do not go together.

    Raises:
        ConfigError: Holds every problem.
    """
    problems = spec_problems(spec)
    if problems:
        raise ConfigError([Problem("", dotted(item.location), item.message) for item in problems])
    return spec.resolved


def _backend(spec: Spec, name: str | None) -> tuple[Spec, Backend]:
    _must_be_spec(spec)
    spec = checked(spec if name is None else spec.replace(backend=name))
    backend = registry.load(spec.backend)
    registry.check(backend, spec)
    check_memory(spec.graph)
    return spec, backend


def build(spec: Spec, backend: str | None = None, *, weights: Arrays | None = None) -> Network:
    """Build a native model.

    Args:
        spec: What to build.
        backend: Where; left out, the spec's own.
        weights: First weights, neutral names and layout; left out, those of the spec's seed.

    Returns:
        The network; ``network.native`` is a ``torch.nn.Module`` or ``keras.Model`` that works without dualml.

    Raises:
        DualmlError: The spec does not fit together, or the backend is missing or cannot do it.

    Example:
        >>> import dualml
        >>> spec = dualml.load("configs/mlp.yaml")
        >>> net = dualml.build(spec, backend="tensorflow")  # doctest: +SKIP
    """
    spec, chosen = _backend(spec, backend)
    return build_in(chosen, spec, weights)


def build_in(backend: Backend, spec: Spec, weights: Arrays | None = None) -> Network:
    """Build a resolved spec in a loaded backend."""
    first = initial_weights(spec.graph, spec.seed) if weights is None else weights
    native = spec.randomness == "native"
    return backend.build(spec.graph, first, device=spec.device, native_randomness=native)


def load_dataset(spec: Spec) -> Dataset:
    """The examples a spec names, checked against its model.

    Raises:
        DataError: A file or array does not hold what it must.
        ConfigError: The spec names no data.
    """
    if spec.data is None:
        raise ConfigError([Problem("", "data", "is required to train, for example data: {source: digits}")])
    return load_for(spec.data, folder=Path(), seed=spec.seed, needs=needs_of(spec))


def needs_of(spec: Spec) -> Needs:
    """What a spec's model asks of its data."""
    graph = spec.graph
    limits: dict[str, list[int]] = {name: [] for name in graph.input_names}
    for node in graph.nodes:
        limit = node.settings.integers_below()
        if limit is not None and node.inputs[0] in limits:
            limits[node.inputs[0]].append(limit)
    inputs = {
        item.name: InputNeed(item.shape, item.integer, min(limits[item.name], default=None)) for item in graph.inputs
    }
    outputs = {}
    for label, term in zip(graph.output_names, spec.objective.terms, strict=True):
        shape = graph.by_name[term.output].shape
        if term.loss.target == "class":
            ignored = getattr(term.loss, "ignore_index", None)
            outputs[label] = OutputNeed("class", shape[:-1], shape[-1], ignored)
        else:
            outputs[label] = OutputNeed("value", shape)
    return Needs(inputs, outputs)


def train(
    spec: Spec,
    backend: str | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    weights: Arrays | None = None,
    observer: Observer | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Run:
    """Train a model.

    Args:
        spec: What to train, on which data, how.
        backend: Where; left out, the spec's own.
        out: Run directory to write; left out, the training stays in memory.
        resume: Go on from the newest checkpoint in ``out``, whichever backend wrote it.
        weights: First weights, neutral names and layout; left out, those of the spec's seed.
        observer: Who is told of the progress, for example ``dualml.LiveDisplay(sys.stdout)``; left out, nobody.
        interrupted: Asked now and then whether to stop; the checkpoint is kept.

    Returns:
        The finished training.

    Raises:
        DualmlError: The spec, the data, the backend or the directory is not usable, or a loss became NaN.
    """
    _must_be_spec(spec)
    spec, chosen = _backend(spec.anchored(Path()), backend)
    directory = None if out is None else RunDirectory(Path(out))
    if directory is not None:
        directory.check_usable(resume=resume)
    elif resume:
        raise RunError("to resume a training, name its run directory: train(spec, out=..., resume=True)")
    dataset = load_dataset(spec)
    observer = observer or Quiet()
    training = Training(spec, chosen, dataset, build_in(chosen, spec, weights), directory, observer, interrupted)
    checkpoints = directory.checkpoints() if directory is not None and resume else []
    if checkpoints:
        training.resume(checkpoints[-1])
        observer.note(f"going on from {checkpoints[-1]}")
        if training.progress.epoch >= spec.train.epochs:
            observer.note(f"nothing to train: it has all {spec.train.epochs} epochs; raise train.epochs to go on")
        elif training.must_stop():
            observer.note(f"nothing to train: it stopped early after epoch {training.progress.epoch}")
    elif resume:
        observer.note(f"no checkpoint in {out} yet: starting from the beginning")
    summary = _summary(training)
    if directory is not None:
        with writing(directory.path):
            directory.create(spec)
            directory.write_summary(summary | {"ended": "running"})
    try:
        ended = training.run()
    except TrainingError as error:
        if directory is not None:
            how = "interrupted" if isinstance(error, TrainingInterruptedError) else "failed"
            directory.write_summary(summary | {"ended": how})
            directory.remove_if_untrained()
        raise
    network, metrics = training.network, spec.metrics or ()
    test = evaluate_network(network, dataset.test, spec.objective, metrics) if dataset.test is not None else {}
    if directory is not None:
        with writing(directory.path):
            directory.write_model(network.get_weights())
            directory.write_summary(summary | {"ended": ended, **_outcome(training, test)})
    return Run(
        spec,
        network,
        training.progress.history,
        test,
        Preparation.of(dataset),
        dataset.class_names,
        ended,
        directory.path if directory else None,
    )


def _summary(training: Training) -> dict[str, Any]:
    dataset = training.dataset
    return {
        "format": "dualml.run/1",
        "backend": training.backend.name,
        "versions": training.backend.versions(),
        "data": {
            "fingerprint": training.fingerprint,
            "sizes": {name: len(split) for name, split in dataset.splits().items()},
            "class_names": _plain_names(dataset.class_names),
            **Preparation.of(dataset).to_dict(),
        },
    }


def _plain_names(names: tuple[str, ...] | Mapping[str, tuple[str, ...]] | None) -> Any:
    if isinstance(names, Mapping):
        return {output: list(item) for output, item in names.items()}
    return list(names) if names else None


def _outcome(training: Training, test: Mapping[str, Result]) -> dict[str, Any]:
    progress = training.progress
    return {
        "epochs": progress.epoch,
        "steps": progress.step,
        "best": {
            "metric": training.spec.train.checkpoints.best,
            "value": progress.best,
            "epoch": progress.best_epoch or None,
        },
        "test": dict(test),
        "seconds": sum(row["seconds"] for row in progress.history),
    }


def _stored(run: str | Path, backend: str | None, which: str) -> tuple[StoredRun, Network]:
    stored = open_run(run)
    return stored, build(stored.spec, backend, weights=stored.weights(which))


def dataset_of(stored: StoredRun) -> Dataset:
    """The data a run was trained with.

    Raises:
        DataError: It is no longer the same.
    """
    dataset = load_dataset(stored.spec)
    if dataset.fingerprint() != stored.summary["data"]["fingerprint"]:
        raise DataError(
            f"{stored.path}: must be evaluated on the data it was trained with, but data of its config has changed "
            "since (the fingerprints differ), so a split could hold training examples; bring the data back"
        )
    return dataset


def evaluate(
    run: str | Path, backend: str | None = None, *, split: str = "test", weights: str = "last"
) -> dict[str, Result]:
    """Loss and metrics of a finished run on one of its splits, in either backend.

    Args:
        run: A run directory.
        backend: Where; left out, the backend it was trained in.
        split: ``test``, ``validation`` or ``train``.
        weights: ``last``, or ``best`` for those of the best epoch.

    Returns:
        ``loss`` and each metric by name: a number, a confusion matrix as rows of true classes, or ``None`` where the
        metric is undefined.

    Raises:
        DualmlError: The run is not usable, its data is no longer the same, or there is no such split.
    """
    stored, network = _stored(run, backend, weights)
    examples = splits_of(stored, split)[split]
    return evaluate_network(network, examples, stored.spec.objective, stored.spec.metrics or ())


def splits_of(stored: StoredRun, wanted: str) -> dict[str, Split]:
    """The splits of a run's data, by name, loaded anew.

    Args:
        stored: The run.
        wanted: A split that must be there.

    Raises:
        DataError: The data is no longer what it was, or has no such split.
    """
    splits = dataset_of(stored).splits()
    if wanted not in splits:
        raise DataError(f"{stored.path}: has no {wanted} split; it has {', '.join(splits)}")
    return splits


def predict(
    run: str | Path, inputs: Any, backend: str | None = None, *, weights: str = "last", output: str | None = None
) -> Array:
    """Predictions of a finished run: softmax probabilities for a classifier.

    Args:
        run: A run directory.
        inputs: Raw examples, shape ``(examples, *input)`` or any with as many values for each example, or texts or
            table columns if it was trained on those; for several inputs a mapping of names to them. They are
            treated as the training's were (scaled, encoded), not resized.
        backend: Where; left out, the backend it was trained in.
        weights: ``last``, or ``best`` for those of the best epoch.
        output: One of ``model.outputs``; left out, the first.

    Returns:
        Shape ``(examples, *output)``, dtype of the run's precision.

    Raises:
        DataError: The inputs do not fit the model.
        RunError: The model has no such output.
    """
    stored, network = _stored(run, backend, weights)
    return _predict(network, stored.spec, inputs, stored.preparation, output)


def _predict(network: Network, spec: Spec, inputs: Any, preparation: Preparation, output: str | None) -> Array:
    graph = network.graph
    if output is not None and output not in graph.output_names:
        raise RunError(f"the model has no output {output!r}{nearest(output, graph.output_names)}")
    node = graph.output if output is None else graph.outputs[graph.output_names.index(output)]
    prepared = graph.named_inputs(preparation.apply(inputs, needs_of(spec).inputs, graph.precision))
    count = len(next(iter(prepared.values())))
    pieces = []
    for start in range(0, count, PREDICTION_BATCH):
        rows = slice(start, start + PREDICTION_BATCH)
        given = {name: array[rows] for name, array in prepared.items()}
        pieces.append(network.predict(given, output=node))
    return np.concatenate(pieces)


def compare(
    left: Spec | str | Path,
    right: Spec | str | Path | None = None,
    *,
    backends: Sequence[str] = ("torch", "tensorflow"),
    steps: int = 20,
    processes: bool = False,
) -> Report:
    """Cross-check two backends on one spec, or two finished runs.

    Args:
        left: A spec, a config file or a run directory.
        right: The other run directory; left out, ``left`` is run in both ``backends``.
        backends: The two sides of one spec.
        steps: Updates of the free-running trajectory.
        processes: Give each side a process of its own; otherwise both run in this one.

    Returns:
        The report; ``report.verdict`` is ``equal``, ``different`` or ``undecided``.
    """
    from dualml.parity.compare import compare as run_comparison

    return run_comparison(left, right, backends=tuple(backends), steps=steps, processes=processes)
