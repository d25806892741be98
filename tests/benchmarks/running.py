"""All measurements, each in a process of its own, the contenders in turn.

Invariant: what is counted of a contender in a round was measured on the store it wrote in that
round, or in the last one in which writing was asked for.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

from tests.benchmarks.contender import NotOfferedError
from tests.benchmarks.measuring import NOT_OFFERED, OPERATIONS, Measured, Task
from tests.benchmarks.workloads import WORKLOADS, episodes_of

ROOT = Path(__file__).parents[2]
GROWTH = "growth"
_OURS_ONLY = {
    "load-cold", "load-known", "load-again", "transitions-again", "list-cold", "push-again",
    "growth",
}  # fmt: skip
_AT_LEAST_ONCE = {
    "load-known": "load",
    "load-again": "load",
    "transitions-again": "load",
    "list": "list-cold",
    "push-again": "push",
    "clone": "push",
}
_ROLES = {
    "copy": {"push", "clone"},
    "minari-collector": {"write"},
    "npz-compressed": {"write", "size", "load", "transitions"},
    "parquet-split": {"write", "size", "load"},
}
"""What some are measured for, unless they are asked for by name."""
_NEEDS_NO_STORE = {"record", "write", "growth"}
_SIZES = (1000, 10_000, 100_000, 1_000_000)


@dataclass(slots=True, kw_only=True)
class Options:
    """What is to be measured.

    Attributes:
        workloads: Their names; all where empty.
        operations: What is measured; where empty, what each workload is for.
        contenders: Who takes part; where empty, who each workload is for.
        scale: How much of each workload.
        repeat: How often.
        folder: Where everything goes.
        pythons: Interpreters of contenders that need one of their own.
        timeout_s: How long one measurement may take.
        profile: Whether to print profiles of what is timed.
    """

    workloads: Sequence[str] = ()
    operations: Sequence[str] = ()
    contenders: Sequence[str] = ()
    scale: float = 1.0
    repeat: int = 3
    folder: Path = Path("benchmarks")
    pythons: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 900.0
    profile: bool = False


@dataclass(slots=True, kw_only=True)
class Results:
    """What came of it.

    Attributes:
        samples: Lists of numbers, by workload, operation, contender and what they are.
        problems: What was skipped, failed, or came back wrong.
        versions: Of all packages that took part.
        machine: What it ran on.
    """

    samples: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    def add(self, task: Task, measured: Measured) -> None:
        """Add a measurement."""
        if measured.wrong:
            self.problems[f"{task.workload} {task.operation} {task.contender}"] = measured.wrong
        at = self.samples.setdefault(task.workload, {}).setdefault(task.operation, {})
        noted = at.setdefault(task.contender, {})
        for name, value in measured.samples.items():
            noted.setdefault(name, []).append(value)
        self.versions |= measured.versions


def run(options: Options, after_each: Callable[[Results], None]) -> Results:
    """Measure all that is asked for.

    Args:
        options: What is.
        after_each: Told what is known after each workload of each round.
    """
    results = Results(machine=_machine())
    for number in range(options.repeat):
        for workload in options.workloads or (*WORKLOADS, GROWTH):
            _run(workload, number, options, results)
            after_each(results)
    return results


def _run(workload: str, number: int, options: Options, results: Results) -> None:
    if workload == GROWTH:
        _Growth(options, results).run(number)
        return
    try:
        source = episodes_of(workload, options.scale, options.folder / "episodes")
    except NotOfferedError as err:
        results.problems[workload] = str(err)
        return
    _Round(options, results, workload, source).run(number)


class _Measurements:
    def __init__(self, options: Options, results: Results, workload: str, source: Path) -> None:
        self.options = options
        self.results = results
        self.workload = workload
        self.source = source
        self.folder = options.folder / "stores" / workload
        self.skipped: set[str] = set()
        self._home = options.folder / "home" / workload

    def measure(self, operation: str, contender: str, **more: Any) -> Measured:
        """Measure in a process of its own; what goes wrong there is told and goes on."""
        task = Task(
            contender=contender,
            workload=self.workload,
            operation=operation,
            folder=str(self.store(operation, contender).resolve()),
            source=str(self.source.resolve()) if self.source.name else "",
            **more,
        )
        python = self.options.pythons.get(contender, sys.executable)
        home = {f"XDG_{k}_HOME": str((self._home / k.lower()).resolve()) for k in _HOMES}
        try:
            done = subprocess.run(
                [python, "-m", "tests.benchmarks.measuring", json.dumps(asdict(task))],
                cwd=ROOT,
                env={**os.environ, **home},
                capture_output=True,
                text=True,
                timeout=self.options.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Measured(skipped=f"took more than {self.options.timeout_s:g} s")
        if task.profile:
            sys.stderr.write(done.stderr)
        if done.returncode:
            return Measured(skipped=f"failed: {(done.stderr.strip() or '?').splitlines()[-1]}")
        return Measured(**json.loads(done.stdout.splitlines()[-1]))

    def count(self, operation: str, contender: str, measured: Measured, **more: Any) -> None:
        """Add a measurement to the results, and tell."""
        what = f"{self.workload} {operation} {contender}"
        if measured.skipped:
            self.skipped.add(what)
            if measured.skipped != NOT_OFFERED:
                self.results.problems[what] = measured.skipped
            sys.stderr.write(f"{what}: {measured.skipped}\n")
            return
        task = Task(
            contender=contender, workload=self.workload, operation=operation, folder="", **more
        )
        self.results.add(task, measured)
        told = f"{measured.samples.get('seconds', 0.0):.6f} s"
        sys.stderr.write(f"{what}: {measured.wrong or told}\n")

    def store(self, operation: str, contender: str) -> Path:
        """Where a contender's store is."""
        if operation == "record":
            return self.folder / f"{contender}-recorded"
        return self.folder / ("ours" if contender == "copy" else contender)

    def make_empty(self, folder: Path) -> None:
        """Remove what is there, and make the folder."""
        rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def forget(self, what: str) -> None:
        """Remove what ours keeps in the user's cache.

        Args:
            what: ``all`` of it; what came of ``loading``: kept datasets, and what need not be
                hashed again; or ``datasets`` alone.
        """
        cache = self._home / "cache"
        for folder in [cache] if what == "all" else list(cache.rglob("datasets")):
            rmtree(folder, ignore_errors=True)
        if what == "loading":
            for note in list(cache.rglob("*.verified")):
                note.unlink()


_HOMES = ("CACHE", "CONFIG", "DATA", "STATE")
_FORGETS = {"write": "all", "load": "loading", "load-cold": "all", "list-cold": "all"}
_FORGETS |= dict.fromkeys(("load-known", "column", "episodes", "transitions"), "datasets")


class _Round(_Measurements):
    """One workload, once."""

    def run(self, number: int) -> None:
        """Measure all operations, each for all contenders in turn."""
        workload, options = WORKLOADS[self.workload], self.options
        operations = options.operations or workload.operations
        chosen = list(options.contenders or workload.contenders or _everybody())
        turn = number % len(chosen)
        self._done: set[tuple[str, str]] = set()
        for operation in (name for name in OPERATIONS if name in operations):
            for contender in chosen[turn:] + chosen[:turn]:
                if contender != "ours" and operation in _OURS_ONLY:
                    continue
                if not options.contenders and operation not in _ROLES.get(contender, OPERATIONS):
                    continue
                self._one(operation, contender, number)

    def _one(self, operation: str, contender: str, number: int) -> None:
        what = f"{self.workload} {operation} {contender}"
        wrote = f"{self.workload} write {contender}"
        if what in self.skipped or wrote in self.skipped:
            return  # it will not be otherwise in this round
        if operation not in _NEEDS_NO_STORE:
            self._prepare(operation, contender)
            if not self.store(operation, contender).exists():
                return
        measured = self._measure(operation, contender, number, profile=self.options.profile)
        self.count(operation, contender, measured)

    def _prepare(self, operation: str, contender: str) -> None:
        """Do what has to be done before, and is not to be counted."""
        if not self.store(operation, contender).exists() and contender != "copy":
            measured = self._measure("write", contender, 0)
            if measured.skipped:
                self.count("write", contender, measured)
                rmtree(self.store(operation, contender), ignore_errors=True)
        before = _AT_LEAST_ONCE.get(operation)
        if before and contender == "ours" and (before, contender) not in self._done:
            self._measure(before, contender, 0)

    def _measure(
        self, operation: str, contender: str, number: int, *, profile: bool = False
    ) -> Measured:
        if operation in ("record", "write"):
            self.make_empty(self.store(operation, contender))
        if contender == "ours" and operation in _FORGETS:
            self.forget(_FORGETS[operation])
            self._done.discard(("load", contender))
            if _FORGETS[operation] == "all":
                self._done.clear()
        file = self.options.folder / "profiles" / f"{self.workload}-{operation}-{contender}"
        file.parent.mkdir(parents=True, exist_ok=True)
        self._done.add((operation, contender))
        return self.measure(
            operation,
            contender,
            column=WORKLOADS[self.workload].column,
            seed=number,
            profile=str(file.resolve()) if profile and contender == "ours" else "",
        )


class _Growth(_Measurements):
    """Ours, ever larger."""

    def __init__(self, options: Options, results: Results) -> None:
        super().__init__(options, results, GROWTH, Path())

    def run(self, number: int) -> None:
        """Measure at each size, up to a million at scale 1."""
        if self.options.contenders and "ours" not in self.options.contenders:
            return
        self.make_empty(self.store("growth", "ours"))
        for size in _SIZES:
            if size > max(_SIZES[0], _SIZES[-1] * self.options.scale):
                return
            measured = self.measure("growth", "ours", n_episodes=size)
            self.results.samples.setdefault(GROWTH, {})
            self.count(f"growth-{size}", "ours", measured)
            if measured.skipped:
                return


def _everybody() -> Iterator[str]:
    from_tables = {name for workload in WORKLOADS.values() for name in workload.contenders}
    order = ("ours", "pytupli", "minari-hdf5", "minari-arrow", "minari-collector", "npz")
    yield from order
    yield from sorted(from_tables.difference(order, ["copy"]))


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }
