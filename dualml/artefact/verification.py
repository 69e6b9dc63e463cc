"""``dualml verify``: is an artefact what its maker wrote, and do its parts belong together?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dualml import guards
from dualml.artefact.manifest import FILES, MANIFEST, MODEL, ONNX, FileInfo, read_manifest
from dualml.artefact.open import Artefact, open_artefact
from dualml.errors import ArtefactError, GuardError, ParityError
from dualml.guards.files import LARGEST

AS_NEAR = 2.0
"""A compressed model may be so many times as far from the model as it was when it was made: whole numbers that a
processor cannot add without loss are added otherwise on others."""
_LARGEST = {MODEL: LARGEST["safetensors"], ONNX: LARGEST["onnx"]}


def verify(path: str | Path, *, backends: Sequence[str] | None = None) -> Artefact:
    """Check an artefact: every byte of every file, the guards, and that weights and ONNX model are the spec's.

    A digest finds what changed; it does not say who wrote the artefact. For that, sign the manifest.

    Args:
        path: The folder.
        backends: Run the ONNX model against the float64 reference and these backends too (``()``: the reference
            alone); left out, it is not run.

    Returns:
        The artefact.

    Raises:
        ArtefactError: Names every file that is missing, added or changed.
        GuardError: A file is not safe to open.
        ParityError: The ONNX model does not predict what the model does.
    """
    path = Path(path)
    try:
        artefact = open_artefact(path)
    except (ArtefactError, GuardError) as error:
        others = [line for line in _changed(path) if line not in str(error)]
        raise type(error)("\n".join([str(error), *others])) from None
    _check_agreement(artefact)
    if backends is not None:
        _check_predictions(artefact, backends)
    return artefact


def _check_predictions(artefact: Artefact, backends: Sequence[str]) -> None:
    """The ONNX model predicts what the model does; a compressed one as nearly as when it was made."""
    where, manifest = str(artefact.path / ONNX), artefact.manifest
    graph, weights = artefact.spec.graph, artefact.weights
    if manifest.compression is None:
        from dualml.export.check import check

        return check(artefact.onnx, graph, weights, backends=backends).require(where)
    from dualml.compress.distance import distances

    try:
        stated = max(float(item["largest"]) for item in manifest.parity["differences"])
        measured = distances(artefact.onnx, graph, weights, manifest.compression["ranges"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{artefact.path / MANIFEST}: does not say how near the model was: {error!r}") from None
    found = max(item["largest"] for item in measured)
    if not found <= AS_NEAR * stated:
        raise ParityError(
            f"{where}: was compressed and differed from the model by {stated:.2g} then; it may differ by {AS_NEAR:g} "
            f"times as much, but differs by {found:.2g}"
        )


def _changed(path: Path) -> list[str]:
    """Every file that is not as the manifest says, where there is a manifest to ask."""
    found: list[str] = []
    try:
        manifest = read_manifest(guards.read_bounded(path / MANIFEST, LARGEST["json"]), str(path / MANIFEST))
    except (ArtefactError, GuardError, OSError):
        return found
    for name in FILES:
        try:
            data = guards.read_bounded(path / name, _LARGEST.get(name, LARGEST["json"]))
        except GuardError as error:
            found.append(str(error))
            continue
        if FileInfo.of(data) != manifest.files[name]:
            found.append(f"{path / name}: has been changed since it was written")
    return found


def _check_agreement(artefact: Artefact) -> None:
    """Weights, ONNX model and manifest are of the spec."""
    from dualml.artefact.creation import described

    spec, manifest = artefact.spec, artefact.manifest
    wanted = described(manifest, spec)
    if (wanted.inputs, wanted.outputs) != (manifest.inputs, manifest.outputs):
        raise ArtefactError(f"{artefact.path / MANIFEST}: inputs and outputs are not those of the spec beside it")
    assert artefact.weights.keys() == {item.name for item in spec.graph.weights}, "reading them has checked that"
    artefact.open_session()
    _ = artefact.preparation
