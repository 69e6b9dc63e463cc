"""How long a user waits before anything happens: ``import dualml`` and ``dualml --help``.

Each figure is the median wall time of a whole process, less that of an empty one for the import; the runs alternate.

Run: python benchmarks/startup.py [runs]
"""

import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

LIMITS = {"import dualml": 0.15, "dualml --help": 0.30}


def seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main(runs: int = 11) -> int:
    script = shutil.which("dualml", path=str(Path(sys.executable).parent))
    if script is None:
        sys.exit("the command dualml must be installed beside this Python: pip install -e .")
    commands = {
        "an empty Python": [sys.executable, "-c", "pass"],
        "import dualml": [sys.executable, "-c", "import dualml"],
        "dualml --help": [script, "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    medians["import dualml"] -= medians["an empty Python"]
    too_slow = 0
    for name, values in times.items():
        limit = LIMITS.get(name)
        too_slow += limit is not None and medians[name] > limit
        allowed = "" if limit is None else f"   limit {limit:.2f} s"
        print(f"{name:16} median {medians[name]:.3f} s   min {min(values):.3f}   max {max(values):.3f}{allowed}")
    return int(too_slow > 0)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
