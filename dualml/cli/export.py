"""``dualml export``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualml.cli.output import check_json, write_json
from dualml.errors import RunError
from dualml.training.run_directory import StoredRun, open_run

if TYPE_CHECKING:
    from dualml.export.compare import Checked

NOBODY = "none"
"""``--against``: compare with the reference alone."""


def run_export(
    run: Path,
    format_name: str,
    bundle: str | None,
    out: Path | None,
    weights: str,
    name: str | None,
    storage: str | None,
    precision: Any,
    against: str | None,
    json_file: str | None,
    *,
    quiet: bool,
) -> None:
    """Write a run in a format or as a bundle, and say how near to the model it is."""
    from dualml.export.bundles import STORAGE, default_name, write_bundle
    from dualml.export.formats import FORMATS, check_target, export, needs

    check_json(json_file)
    if bundle is None:
        refuse({"--name": name, "--storage": storage}, "is for artefacts and bundles; leave it out")
    elif bundle != "kserve":
        refuse({"--storage": storage}, "is for --bundle kserve; leave it out")
    stored = open_run(run)
    backends = chosen_backends(against)
    arrays, graph = stored.weights(weights), stored.spec.graph
    if bundle is None:
        kind = needs(format_name)
        out = out or _beside(run, kind.ending or f"-{format_name}")
        check_target(kind, out)
        checked = export(format_name, graph, arrays, out, precision=precision, backends=backends)
    else:
        out = out or _beside(run, f"-{bundle}")
        checked = write_bundle(
            bundle,
            graph,
            arrays,
            out,
            name=name or default_name(bundle, run.resolve()),
            labels=_labels(stored),
            storage=storage or STORAGE,
            precision=precision,
            backends=backends,
        )
    what = {"bundle": bundle} if bundle else {"format": FORMATS[format_name].name}
    _say(out, what, checked, json_file, quiet=quiet)


def _beside(run: Path, ending: str) -> Path:
    whole = run.resolve()
    return whole.with_name(whole.name + ending)


def refuse(flags: Mapping[str, object], why: str) -> None:
    """Refuse flags that would change nothing.

    Raises:
        RunError: Names those that were given.
    """
    given = [flag for flag, value in flags.items() if value is not None]
    if given:
        raise RunError(f"{', '.join(given)}: {why}")


def chosen_backends(against: str | None) -> Sequence[str] | None:
    """Which backends to compare with.

    Raises:
        RunError: Nothing is named.
    """
    if against is None:
        return None
    names = [item.strip() for item in against.split(",")]
    if not all(names):
        raise RunError(f"--against {against!r}: must be names of backends, or {NOBODY}; for example torch,tensorflow")
    return () if names == [NOBODY] else names


def _labels(stored: StoredRun) -> Mapping[str, Sequence[str]]:
    """Class names by output's name, where they are known."""
    names, outputs = stored.summary["data"]["class_names"], stored.spec.graph.output_names
    if not names:
        return {}
    return names if isinstance(names, Mapping) else {outputs[0]: names}


def _say(out: Path, what: Mapping[str, Any], checked: Checked, json_file: str | None, *, quiet: bool) -> None:
    files = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    write_json(json_file, {"path": str(out), **what, "bytes": size, "files": len(files), **checked.to_dict()})
    if quiet or json_file == "-":
        return
    print(f"{out}: {size:,} bytes" + ("" if len(files) == 1 else f" in {len(files)} files"))
    for line in checked.lines():
        print(f"  {line}")
    if not checked.batch_invariant:
        print("  a row's answer depends on its batch, in the last digits")
