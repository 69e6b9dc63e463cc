"""An ONNX file is checked: its form, then its predictions in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

from dualml.artefact.session import Session, run_in_batches
from dualml.errors import ArtefactError, BackendUnavailableError, ParityError
from dualml.export.compare import REFERENCE_ROWS, ROWS, Checked, Run, compare
from dualml.protocol import Array, Arrays
from dualml.spec.graph import Graph

ROWS_AT_ONCE = 128
"""Examples in one call of ONNX Runtime."""


def needs_onnx() -> None:
    """Refuse to go on without the packages that write and run ONNX.

    Raises:
        BackendUnavailableError: One of them is not installed.
    """
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise BackendUnavailableError(
            f"writing ONNX needs the packages onnx and onnxruntime, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not installed; run: pip install 'dualml[export]'"
        )


def runner(data: bytes, names: Sequence[str]) -> Run:
    """What a file predicts.

    Args:
        data: The file.
        names: The outputs' names.

    Raises:
        ArtefactError: ONNX Runtime cannot load it.
    """
    session = Session(data, where="the ONNX file")

    def run(inputs: Arrays) -> dict[str, Array]:
        return run_in_batches(session, inputs, names, ROWS_AT_ONCE)

    return run


def check(
    data: bytes,
    graph: Graph,
    weights: Arrays,
    *,
    backends: Sequence[str] | None = None,
    rows: int = ROWS,
    reference_rows: int = REFERENCE_ROWS,
) -> Checked:
    """Check an ONNX file.

    Args:
        data: What ``dualml.export.onnx.emit`` gave.
        graph: The model.
        weights: All parameters and buffers.
        backends: Names of backends to compare with; left out, all that are installed; none with ``()``.
        rows: Examples to compare with backends.
        reference_rows: Examples to compare with the reference.

    Returns:
        What was found; ``require`` refuses a file that is not right.

    Raises:
        ParityError: The file is not well-formed, or does not run.
    """
    import onnx

    try:
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
        run = runner(data, graph.output_names)
        return compare(run, graph, weights, backends=backends, rows=rows, reference_rows=reference_rows)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ArtefactError) as error:
        raise ParityError(f"the ONNX file does not hold what it must: {str(error).splitlines()[0]}") from None
