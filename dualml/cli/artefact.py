"""``dualml verify``, ``dualml export --format artefact`` and ``dualml predict`` on an artefact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualml.cli.output import BOTH, check_json, write_json
from dualml.errors import DataError, RunError

if TYPE_CHECKING:
    from dualml.artefact import Artefact
    from dualml.protocol import Array, Arrays

RUNTIME = "onnx"
"""The name of ONNX Runtime for ``--backend``."""


def run_export_artefact(
    run: Path,
    out: Path | None,
    weights: str,
    name: str | None,
    against: str | None,
    json_file: str | None,
    *,
    quiet: bool,
) -> None:
    """Write an artefact of a run and say what was compared; without ``out`` beside the run, as ``RUN.artefact``."""
    from dualml.artefact import create
    from dualml.cli.export import chosen_backends

    check_json(json_file)
    if out is None:
        out = run.absolute().with_name(f"{run.absolute().name}.artefact")
    artefact = create(run, out, name=name, weights=weights, backends=chosen_backends(against))
    manifest = artefact.manifest
    write_json(json_file, {"artefact": str(out), **manifest.to_dict()})
    if quiet or json_file == "-":
        return
    sizes = ", ".join(f"{name} {item.size:,} bytes" for name, item in manifest.files.items())
    print(f"{out}: {sizes}")
    for item in manifest.parity.get("differences", ()):
        print(f"  {item['output']} vs {item['against']}: max |difference| {item['largest']:.2g} on {item['rows']} rows")
    print(f"  batch-invariant: {'yes' if manifest.batch_invariant else 'NO'} ({manifest.batch_difference:.2g})")


def run_verify(path: Path, against: str | None, json_file: str | None, *, quiet: bool) -> None:
    """Check every byte of an artefact and say what it is."""
    from dualml.artefact import verify

    check_json(json_file)
    if against is not None:
        from dualml.cli.export import chosen_backends

        artefact = verify(path, backends=chosen_backends(against))
    else:
        artefact = verify(path)
    manifest = artefact.manifest
    write_json(json_file, {"artefact": str(path), "ok": True, **manifest.to_dict()})
    if quiet or json_file == "-":
        return
    total = sum(item.size for item in manifest.files.values())
    print(f"{path}: whole: {len(manifest.files) + 1} files, {total:,} bytes, all as they were written")
    for given in manifest.inputs:
        print(f"  input {given.name}: {given.dtype} {list(given.shape)}")
    for wanted in manifest.outputs:
        print(f"  output {wanted.name}: {wanted.dtype} {list(wanted.shape)}, {wanted.prediction}")


def one_set_of_weights(which: str) -> None:
    """Refuse to look for other weights than those an artefact has.

    Raises:
        RunError: ``--weights best`` was given.
    """
    if which != "last":
        raise RunError(
            f"--weights {which}: an artefact holds one set of weights; choose them when it is written: "
            f"dualml export RUN --weights {which}"
        )


def run_predict_artefact(
    path: Path,
    inputs: Path,
    out: Path,
    backend: str | None,
    output: str | None,
    json_file: str | None,
    *,
    quiet: bool,
) -> None:
    """Predict through ONNX Runtime, or in one or both frameworks, and write the predictions."""
    from dualml.artefact.examples import read_examples
    from dualml.artefact.open import open_artefact
    from dualml.artefact.predictions import check_out, write_predictions

    check_json(json_file)
    check_out(out)
    artefact = open_artefact(path)
    every = out.suffix.lower() in (".npz", ".json") and output is None
    names = [item.name for item in artefact.manifest.outputs] if every else [artefact.manifest.output(output).name]
    examples = read_examples(_existing(inputs), artefact)
    try:
        prepared = artefact.prepare(examples)
    except DataError as error:
        raise DataError(f"{inputs}: {error}") from None
    found, differences = _predict(artefact, prepared, names, backend)
    write_predictions(out, found, artefact.manifest)
    first = next(iter(found.values()))
    summary: dict[str, Any] = {"predictions": str(out), "shape": first.shape, "dtype": str(first.dtype)}
    write_json(json_file, summary | ({"differences": differences} if differences else {}))
    if not quiet and json_file != "-":
        print(f"{out}: {len(first)} predictions, shape {list(first.shape)}, {first.dtype}")
        for pair, value in differences.items():
            print(f"  {pair}: max |difference| {value:.2g}")


def _existing(inputs: Path) -> Path:
    from dualml.data.problems import find_file

    return find_file(Path(), str(inputs), "INPUT")


def _predict(
    artefact: Artefact, prepared: Arrays, names: list[str], backend: str | None
) -> tuple[dict[str, Array], dict[str, float]]:
    """Predictions, and where several engines gave them how far they are apart."""
    if backend in (None, RUNTIME):
        return artefact.run(prepared, names), {}
    assert backend is not None
    if artefact.manifest.compression is not None:
        raise RunError(
            f"--backend {backend}: the model was compressed ({artefact.manifest.compression.get('method')}), so only "
            "ONNX Runtime runs what it became; leave --backend out"
        )
    from dualml.artefact.native import largest_difference, predict_in

    if backend != "both":
        return predict_in(artefact, backend, prepared, names), {}
    runs = {name: predict_in(artefact, name, prepared, names) for name in BOTH}
    runs[RUNTIME] = artefact.run(prepared, names)
    engines = list(runs)
    differences = {
        f"{left} vs {right}": largest_difference(runs[left], runs[right])
        for index, left in enumerate(engines)
        for right in engines[index + 1 :]
    }
    return runs[RUNTIME], differences
