"""The deep rows, with counts: ``python -m tests.run_torture [--row ROW]...``; by default all.

One line for each row says what was done, what was wrong and how long it took; ``--details`` has one
for each part of it, as it comes. What is wrong is told at once, with an example.

- ``power-loss``: each scenario of `tests/durability`, 3,000 states left of it (``--states``)
- ``faults``: death and every error at each primitive of each scenario that changes the disk
- ``reads``: errors at each primitive that reads
- ``lies``: writes that are lost or torn, reads of other bytes
- ``orders``: verbs at once, 300 schedules for each game (``--orders``)
- ``kills``: 100 real processes, killed
- ``cleaning``: gc with errors, deaths and power losses at each step, and in many processes
- ``damage``: each byte of a repository flipped, each file cut at each length, and repaired
- ``model``: generated histories of sharing, damage, gc and repair against dictionaries
- ``load``: 16 writers, two gcs, readers and a pusher, for ten minutes; clocks that jump
- ``hostile``: crafted drives, against each verb
- ``decoders``: 100,000 spoilt inputs for each
- ``users``: two users with each umask (as root); what file systems lack

The first six run here and count primitives; ``--scenario`` and ``--stride`` make them shorter. The
others are tests, run by pytest, and count those. All of it takes hours; ``nice`` it. Seeds are
fixed; ``--seed`` takes others.

Exit status: 0 nothing was wrong, 1 something was.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.durability.failing import fail_at_each
from tests.durability.losing import lose_power
from tests.durability.scenarios import SCENARIOS, Scenario
from tests.durability.test_faults_everywhere import LIES, lied_to, stride_of
from tests.durability.test_interleaving import GAMES, play
from tests.durability.test_killing import kill_often, made
from tests.faults import EVERY_FAULT, READ_FAULTS, Schedule

PROJECT = Path(__file__).parents[1]


class Part(NamedTuple):
    """What came of a part of a row: counts by what is counted, and what was wrong."""

    what: str
    counts: dict[str, int]
    violations: int = 0
    example: str = ""


Row = Callable[[argparse.Namespace], Iterator[Part]]


def power_loss(options: argparse.Namespace) -> Iterator[Part]:
    for scenario in _chosen(options):
        found = lose_power(scenario, options.states, seed=options.seed, use_each=20)
        counts = {
            "changes": found.n_changes,
            "states": found.n_states,
            "used further": found.n_used,
        }
        yield Part(scenario.name, counts, found.violations.total(), found.example)


def faults(options: argparse.Namespace, *, on_read: bool = False) -> Iterator[Part]:
    for scenario in _chosen(options):
        for fault in READ_FAULTS if on_read else EVERY_FAULT:
            stride = options.stride * (stride_of(scenario, 1) if on_read else 1)
            found = fail_at_each(scenario, fault, on_read=on_read, stride=stride)
            counts = {"steps": found.n_steps, "borne": found.n_borne, "used further": found.n_used}
            what = f"{scenario.name} {fault}"
            yield Part(what, counts, found.violations.total(), found.example)


def lies(options: argparse.Namespace) -> Iterator[Part]:
    for scenario in _chosen(options):
        for on_read in (False, True):
            told = wrong = 0
            example = ""
            for step in range(1, 100_000, options.stride):
                try:
                    if lied_to(scenario, step, LIES[told % 4], on_read=on_read).lied is None:
                        break
                except AssertionError as err:
                    wrong += 1
                    example = example or str(err)
                told += 1
            what = f"{scenario.name} {'read' if on_read else 'write'}"
            yield Part(what, {"lies": told}, wrong, example)


def orders(options: argparse.Namespace) -> Iterator[Part]:
    for game in GAMES:
        random, wrong, example = Random(options.seed), 0, ""
        for _ in range(options.orders):
            seed, switch = random.getrandbits(32), random.choice([0.02, 0.1, 0.5])
            try:
                play(game, Schedule(seed=seed, switch=switch))
            except Exception as err:  # noqa: BLE001 - it is counted
                wrong += 1
                example = example or f"seed {seed}, switch {switch}: {err!r}"
        yield Part(game, {"schedules": options.orders}, wrong, example)


def kills(options: argparse.Namespace) -> Iterator[Part]:
    for n in range(10):
        with tempfile.TemporaryDirectory() as folder:
            try:
                heard = kill_often(made(Path(folder)), 10, seed=options.seed + n, most_lines=60)
            except AssertionError as err:
                yield Part(f"round {n}", {"processes": 10}, 1, str(err))
            else:
                yield Part(f"round {n}", {"processes": 10, "promises": heard})


def of_tests(*places: str, which: str = "torture") -> Row:
    """Make a row of tests, one place after another, each in a process of its own."""

    def run(options: argparse.Namespace) -> Iterator[Part]:
        pytest = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
        for place in places:
            told = subprocess.run(
                [*pytest, "-m", which, f"--hypothesis-seed={options.seed}", f"tests/{place}"],
                cwd=PROJECT,
                capture_output=True,
                text=True,
                check=False,
            )
            last = (told.stdout.splitlines() or [""])[-1]
            found = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", last)}
            wrong = sum(found.get(word, 0) for word in ("failed", "error", "errors"))
            counts = {"tests": wrong + found.get("passed", 0), "skipped": found.get("skipped", 0)}
            wrong = max(wrong, int(told.returncode != 0))
            yield Part(place, counts, wrong, told.stdout[-3000:] + told.stderr[-1000:])

    return run


ROWS: dict[str, Row] = {
    "power-loss": power_loss,
    "faults": faults,
    "reads": partial(faults, on_read=True),
    "lies": lies,
    "orders": orders,
    "kills": kills,
    "cleaning": of_tests(
        "repository/test_cleaning_faults.py", "repository/test_cleaning_processes.py"
    ),
    "damage": of_tests("repository/test_damage.py", "repository/test_checking.py"),
    "model": of_tests("sharing/test_real.py"),
    "load": of_tests("durability/test_load.py", which="torture or not torture"),
    "hostile": of_tests("hostile"),
    "decoders": of_tests("fuzz"),
    "users": of_tests("shared", which="torture or not torture"),
}


def main() -> int:
    """Run the rows that are asked for, and print what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [one.name for one in SCENARIOS]
    parser.add_argument("--row", action="append", choices=ROWS, help="only this one")
    parser.add_argument("--scenario", action="append", choices=names, help="only this one")
    parser.add_argument("--states", type=int, default=3_000, help="power losses per scenario")
    parser.add_argument("--orders", type=int, default=300, help="schedules per game")
    parser.add_argument("--stride", type=int, default=1, help="only each so-many-eth step")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--details", action="store_true", help="a line for each part of a row")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CONFIG_HOME"] = home
        os.environ["XDG_CACHE_HOME"] = "/dev/null/none"  # nothing is cached
        wrong = [_run(name, options) for name in options.row or ROWS]
    return 1 if any(wrong) else 0


def _run(name: str, options: argparse.Namespace) -> int:
    """Run a row; returns how much was wrong."""
    start, wrong, parts = time.monotonic(), 0, 0
    counts: Counter[str] = Counter()
    for part in ROWS[name](options):
        parts += 1
        wrong += part.violations
        counts.update(part.counts)
        if options.details or part.violations:
            _tell(f"  {part.what}: {_words(part.counts)}; {part.violations} violations")
        if part.violations:
            _tell(f"  {part.example}")
    took = time.monotonic() - start
    _tell(f"{name:10} {parts} parts, {_words(counts)}; {wrong} violations; {took:.0f} s")
    return wrong


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    return [one for one in SCENARIOS if not options.scenario or one.name in options.scenario]


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {what}" for what, n in counts.items() if n)


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
