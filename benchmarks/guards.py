"""What it costs to refuse a file that attacks whoever opens it, and what damaged files do.

Each attack of ``tests/guards/attacks.py`` is written, then checked in a process of its own that has the guards
imported: milliseconds of the first check, and how much memory it took at most. Then thousands of files with a few
bytes changed are given to the guard and to the reader behind it, in processes of their own.

Run: python benchmarks/guards.py [mutations of each format]
"""

import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests" / "guards"
sys.path.insert(0, str(TESTS))

from attacks import ATTACKS, keras_bomb  # noqa: E402
from mutations import FORMATS  # noqa: E402

MOST_MILLISECONDS = 50.0
MOST_MIB = 50.0
SEVERAL = 3


def mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def refuse(path: Path, results: multiprocessing.Queue) -> None:
    from dualml import guards

    before, begun = mib(), time.perf_counter()
    try:
        guards.check(path)
    except guards.GuardError as error:
        message = str(error)
    else:
        message = ""
    results.put((1000 * (time.perf_counter() - begun), mib() - before, message))


def measured(path: Path) -> tuple[float, float, str]:
    """The quickest of several processes: what else runs on the machine only ever adds."""
    import dualml.config.yaml_source
    import dualml.guards  # noqa: F401 (children are forked with both imported)

    fork = multiprocessing.get_context("fork")
    found = []
    for _ in range(SEVERAL):
        results = fork.SimpleQueue()
        child = fork.Process(target=refuse, args=(path, results))
        child.start()
        child.join(60)
        if child.exitcode != 0:
            sys.exit(f"{path}: the guard ended with {child.exitcode}")
        found.append(results.get())
    return min(found)


def main(mutations: int = 2000) -> int:
    import ruamel.yaml  # noqa: F401

    failed = 0
    worst = [0.0, 0.0]
    attacks = {name: write for name, (write, _) in ATTACKS.items()}
    attacks["keras_bomb"] = lambda folder: keras_bomb(folder, 2 << 30)
    for name, write in attacks.items():
        with tempfile.TemporaryDirectory() as folder:
            milliseconds, memory, message = measured(write(Path(folder)))
        worst = [max(worst[0], milliseconds), max(worst[1], memory)]
        ok = bool(message) and milliseconds <= MOST_MILLISECONDS and memory <= MOST_MIB
        failed += not ok
        print(
            f"{name:40} {milliseconds:7.2f} ms {memory:6.1f} MiB  {'' if ok else 'FAILS: ' + (message or 'accepted')}"
        )
    print(f"{len(attacks)} attacks, slowest {worst[0]:.2f} ms, most memory {worst[1]:.1f} MiB")
    for name in FORMATS:
        command = [sys.executable, TESTS / "mutations.py", name, str(mutations), "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            failed += 1
            print(f"{name}: ended with {done.returncode} at mutation {done.stderr.splitlines()[-1]}")
        else:
            refused, clean, passed = done.stdout.split()
            print(f"{name:12} {mutations} mutations: {refused} refused, {clean} clean errors behind, {passed} passed")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
