"""The fault benchmark's command."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.faults.document import CURVE_HEADINGS, curve_rows, document, misses, plain_row, table, wrong_with
from benchmarks.faults.figures import alarms, figures, grouped, overhead, split, summary
from benchmarks.faults.outcome import Outcome, outcome_of

PAGE = Path(__file__).parents[2] / "docs" / "fault-benchmark.md"


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--family", action="append", help="only this network; may be given more than once")
    parser.add_argument("--cause", action="append", help="only causes that begin so; also `unknown` and `clean`")
    parser.add_argument("--case", action="append", help="only this case, and show its report")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each fault (default 1, at most 2)")
    parser.add_argument("--limit", type=int, help="this many cases, spread evenly over all that fit")
    parser.add_argument("--processes", type=int, default=1, help="how many at once (default 1)")
    parser.add_argument("--verify", action="store_true", help="check the cases themselves, without dualml")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--json", type=Path, help="write all outcomes")
    parser.add_argument("--from-json", type=Path, help="do not run: read outcomes written before")
    parser.add_argument("--document", action="store_true", help=f"write docs/{PAGE.name} from the outcomes")
    return parser.parse_args(given)


def chosen(options: argparse.Namespace) -> list[str]:
    """Ids of the cases that the command line asks for."""
    from benchmarks.faults.cases import SEEDS, all_cases

    if options.case:
        return list(options.case)
    found = all_cases(SEEDS[: options.seeds])
    if options.family:
        found = [case for case in found if case.family in options.family]
    if options.cause:
        found = [case for case in found if any(case.id.startswith(cause) for cause in options.cause)]
    if options.limit and options.limit < len(found):
        found = [found[number * len(found) // options.limit] for number in range(options.limit)]
    return [case.id for case in found]


def environment() -> dict[str, str]:
    """Versions that the figures depend on."""
    names = ("torch", "tensorflow-cpu", "keras", "numpy")
    return {"Python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def main(given: Sequence[str] | None = None) -> int:
    """Run, print, write. 1 if anything is not as it should be."""
    options = arguments(given)
    if options.from_json:
        stored = json.loads(options.from_json.read_text(encoding="utf-8"))
        outcomes, versions = [outcome_of(item) for item in stored["outcomes"]], stored["environment"]
    else:
        names, versions = chosen(options), environment()
        if options.list:
            print(*names, f"{len(names)} cases", sep="\n")
            return 0
        outcomes = run(names, options)
    if options.json:
        store(options.json, outcomes, versions)
    if options.document:
        PAGE.write_text(document(outcomes, versions), encoding="utf-8")
    if options.verify:
        print(misses([item for item in outcomes if item.error]))
        return int(any(item.error for item in outcomes))
    print(shown(outcomes))
    return int(not all(item.good for item in outcomes))


def store(path: Path, outcomes: Sequence[Outcome], versions: dict[str, str]) -> None:
    """Write outcomes as JSON."""
    content = {"environment": versions, "summary": summary(outcomes), "outcomes": [item.to_dict() for item in outcomes]}
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def run(names: Sequence[str], options: argparse.Namespace) -> list[Outcome]:
    """Run the cases; say on stderr how far it is and what goes wrong."""
    from benchmarks.faults import work

    if options.case and not options.verify:
        for name in names:
            work.compare(work._cases()[name]).show()
    done: list[Outcome] = []
    for item in work.run_all(names, options.processes, work.verify if options.verify else work.run):
        done.append(item)
        said = item.error if options.verify else wrong_with(item)
        if said:
            print(f"{len(done)}/{len(names)} {item.id}: {said}", file=sys.stderr, flush=True)
        if len(done) % 25 == 0:
            print(f"{len(done)}/{len(names)}", file=sys.stderr, flush=True)
            if options.json:  # what there is, should a long run be interrupted
                store(options.json, done, environment())
    return sorted(done, key=lambda item: item.id)


def shown(outcomes: Sequence[Outcome]) -> str:
    """The tables of the terminal."""
    catalogue, outside, clean = split(outcomes)
    headings = ("", "cases", "detected", "placed", "right", "unknown", "wrong")
    rows = [plain_row("catalogue", figures(catalogue)), plain_row("outside the catalogue", figures(outside))]
    causes = [plain_row(name, figures(group)) for name, group in sorted(grouped(catalogue, "cause").items())]
    return "\n\n".join(
        [
            table(headings, causes),
            table(CURVE_HEADINGS, curve_rows(catalogue)),
            "Not as it should be:\n" + misses(outcomes),
            table(headings, rows),
            f"clean pairs: {vars(alarms(clean))}",
            f"overhead: {overhead(outcomes)}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
