"""``dualml attack``: accuracy of a run under a bound on what is done to its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualml.cli.output import check_json, sides, write_json
from dualml.errors import RunError

if TYPE_CHECKING:
    from dualml.attack import Attack


def run_attack(
    run: Path,
    epsilon: Sequence[float],
    backend: str | None,
    bounds: str,
    json_file: str | None,
    *,
    quiet: bool,
    **settings: Any,
) -> None:
    """Attack a run, in one backend or in both, and print accuracies.

    Args:
        run: The run directory.
        epsilon: Bounds.
        backend: Where; ``both`` compares.
        bounds: ``data``, ``none`` or two numbers with a comma.
        json_file: Where the result is written.
        quiet: Print nothing.
        **settings: Of ``dualml.attack.attack``.
    """
    from dualml.attack import attack

    check_json(json_file)
    within = _bounds(bounds)
    found = [attack(run, side, epsilon=epsilon, bounds=within, **settings) for side in sides(backend)]
    first = found[0]
    different = {
        f"{first.backend} vs {other.backend}": [
            int((left.wrong != right.wrong).sum()) for left, right in zip(first.results, other.results, strict=True)
        ]
        for other in found[1:]
    }
    write_json(json_file, {"attacks": [item.to_dict() for item in found], "examples_that_differ": different})
    if not quiet and json_file != "-":
        for item in found:
            _print(item)
        for pair, counts in different.items():
            each = ", ".join(map(str, counts))
            print(f"{pair}: another outcome for {each} of {first.examples} examples")


def _print(found: Attack) -> None:
    within = {
        name: "any value" if item is None else f"{item[0]:g} to {item[1]:g}" for name, item in found.bounds.items()
    }
    bounds = ", ".join(text if len(within) == 1 else f"{name} {text}" for name, text in within.items())
    print(f"{found.backend}: {found.examples} examples of the {found.split} split, inputs within {bounds}")
    if found.steps is not None:
        start = f"from a random point (seed {found.seed})" if found.random_start else "from the example"
        print(f"  pgd: {found.steps} steps {start}; accuracy under attack is an upper bound")
    columns = ("epsilon", "clean", "fgsm", *(("pgd",) if found.steps is not None else ()))
    print("  " + "  ".join(f"{name:>8}" for name in columns))
    for item in found.results:
        shares = (found.clean, item.fgsm, *(() if item.pgd is None else (item.pgd,)))
        print("  " + "  ".join((f"{item.epsilon:8g}", *(f"{share:8.4f}" for share in shares))))


def _bounds(text: str) -> Any:
    if text in ("data", "none"):
        return text
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise RunError(f"--bounds must be data, none, or two numbers such as 0,1, got {text!r}") from None
    return low, high
