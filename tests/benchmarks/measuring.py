"""One measurement, in a process of its own: ``python -m tests.benchmarks.measuring TASK``.

TASK is a JSON object, the last line of what is printed is another: the measurement. Imports are
outside the time, and so are the source's arrays and the comparison with them.

Invariant: what is reported as right was compared bit by bit.
"""

import cProfile
import gc
import json
import pstats
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.contender import TRANSITION_COLUMNS, Contender, NotOfferedError
from tests.benchmarks.contenders import contender_class
from tests.benchmarks.episodes import Columns, Episodes, Expected, matching
from tests.benchmarks.playback import play, player_of, spaces_of

QUERY: dict[str, Any] = {"policy": "expert", "score": 0.75}
N_RANDOM = 256
NOT_OFFERED = "it has no such thing"
_DRAWS = 3
_PAGE = 4096
_UNIT = 1024 if sys.platform != "darwin" else 1  # of ru_maxrss


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be measured.

    Attributes:
        contender: Whose.
        workload: Its name.
        operation: Which; one of `OPERATIONS`.
        folder: Where the contender's store is.
        source: Where the workload's episodes are.
        column: The column that is loaded by itself.
        seed: For what is random.
        profile: A file for a profile of the timed part; none where empty.
        n_episodes: For growth: how many there shall be.
    """

    contender: str
    workload: str
    operation: str
    folder: str
    source: str = ""
    column: str = "actions"
    seed: int = 0
    profile: str = ""
    n_episodes: int = 0


@dataclass(slots=True, kw_only=True)
class Measured:
    """What came of it.

    Attributes:
        samples: Numbers by what they are: ``seconds`` above all.
        wrong: What differed from the source; empty where nothing did.
        skipped: Why nothing was measured; empty where something was.
        versions: Of the contender's packages.
    """

    samples: dict[str, float] = field(default_factory=dict)
    wrong: str = ""
    skipped: str = ""
    versions: dict[str, str] = field(default_factory=dict)


class Measurement:
    """A task, the contender, and what is noted of it."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.folder = Path(task.folder)
        self.contender: Contender = contender_class(task.contender)(self.folder)
        self.source = Episodes.load(Path(task.source)) if task.source else None
        if self.source and len(self.source) > self.contender.max_episodes:
            raise NotOfferedError(f"more than {self.contender.max_episodes} episodes take too long")
        self.measured = Measured()

    @property
    def episodes(self) -> Episodes:
        """The source."""
        assert self.source is not None
        return self.source

    @contextmanager
    def timed(self, name: str = "seconds", *, profiled: bool = True) -> Iterator[None]:
        """Note how long the block takes, and how much of that the process was at work."""
        profile = cProfile.Profile() if self.task.profile and profiled else None
        n_modules = len(sys.modules)
        gc.collect()
        start, started = perf_counter(), process_time()
        if profile:
            profile.enable()
        yield
        if profile:
            profile.disable()
            profile.dump_stats(self.task.profile)
        self.measured.samples[name] = perf_counter() - start
        self.measured.samples[f"cpu_in_{name}"] = process_time() - started
        self.measured.samples[f"modules_in_{name}"] = len(sys.modules) - n_modules

    def note(self, **samples: float) -> None:
        """Note other numbers."""
        self.measured.samples |= samples

    def check_episodes(self, columns: Columns, indices: Sequence[int]) -> None:
        """Compare columns of whole episodes with the source."""
        expected = Expected(self.episodes, self.contender.kept)
        self.measured.wrong = self.measured.wrong or expected.wrong_in_episodes(columns, indices)


def _record(m: Measurement) -> None:
    """Play the episodes bare and recorded in turn; what recording costs is the difference."""
    player = player_of(m.task.workload, m.episodes)
    m.contender.create()
    bare, recorder = player.make_env(), m.contender.recorder(player.make_env())
    seconds, at_work = {"bare": 0.0, "recorded": 0.0}, {"bare": 0.0, "recorded": 0.0}
    gc.collect()
    for seed, actions in enumerate(player.actions):
        for name, env in (("bare", bare), ("recorded", recorder)):
            start, started = perf_counter(), process_time()
            play(env, seed, actions)
            seconds[name] += perf_counter() - start
            at_work[name] += process_time() - started
    with m.timed("commit_s", profiled=False):
        m.contender.commit(recorder)
    n_steps = m.episodes.n_steps
    cost = seconds["recorded"] + m.measured.samples["commit_s"] - seconds["bare"]
    m.note(seconds=cost / n_steps, bare_s=seconds["bare"] / n_steps)
    cost = at_work["recorded"] + m.measured.samples["cpu_in_commit_s"] - at_work["bare"]
    m.note(cpu_in_seconds=cost / n_steps)
    with m.timed("settle_s", profiled=False):
        m.contender.settle(m.episodes)
    if m.task.profile:
        with m.timed("profiled_s"):
            for seed, actions in enumerate(player.actions):
                play(recorder, seed, actions)
        return
    m.contender.open()
    expected = Expected(m.episodes, m.contender.kept_by_recorder)
    columns = m.contender.load_all()
    m.measured.wrong = expected.wrong_in_episodes(columns, m.contender.order())


def _write(m: Measurement) -> None:
    m.contender.create()
    parts, spaces = m.episodes.in_memory(), spaces_of(m.episodes)
    with m.timed():
        m.contender.write(parts, spaces)
    with m.timed("settle_s", profiled=False):
        m.contender.settle(parts)
    m.note(peak_bytes=_peak_bytes())
    m.contender.describe(parts)


def _load(m: Measurement) -> None:
    """Load everything, and look at each page of it; then once more in the same process."""
    before = _peak_bytes()
    with m.timed():
        m.contender.open()
        columns = m.contender.load_all()
        _touch(columns)
    m.note(peak_bytes=_peak_bytes(), grown_bytes=_peak_bytes() - before)
    m.note(array_bytes=sum(column.nbytes for column in columns.values()))
    m.check_episodes(columns, m.contender.order())
    del columns
    with m.timed("again_s", profiled=False):
        m.contender.open()
        columns = m.contender.load_all()
        _touch(columns)


def _column(m: Measurement) -> None:
    with m.timed():
        m.contender.open()
        columns = m.contender.load_column(m.task.column)
        _touch(columns)
    m.contender.load_all()
    m.check_episodes(columns, m.contender.order())


def _random_episodes(m: Measurement) -> None:
    n = len(m.episodes)

    def draw(rng: np.random.Generator) -> NDArray[np.int64]:
        return rng.choice(n, min(N_RANDOM, n // 2), replace=False)

    def load(chosen: NDArray[np.int64]) -> Columns:
        return m.contender.load_episodes(chosen.tolist())

    expected = Expected(m.episodes, m.contender.kept)
    _draw(m, draw, load, lambda got, chosen: expected.wrong_in_episodes(got, chosen.tolist()))


def _random_transitions(m: Measurement) -> None:
    def draw(rng: np.random.Generator) -> NDArray[np.int64]:
        return rng.integers(0, m.episodes.n_steps, N_RANDOM)

    def load(chosen: NDArray[np.int64]) -> Columns:
        got = m.contender.load_transitions(chosen)
        return {name: got[name] for name in TRANSITION_COLUMNS}

    expected = Expected(m.episodes, m.contender.kept)
    _draw(m, draw, load, expected.wrong_in_steps)


def _draw(
    m: Measurement,
    draw: Callable[[np.random.Generator], NDArray[np.int64]],
    load: Callable[[NDArray[np.int64]], Columns],
    wrong: Callable[[Columns, NDArray[np.int64]], str],
) -> None:
    """Draw a few times from an open store; the median counts."""
    rng = np.random.default_rng(m.task.seed)
    m.contender.open()
    m.contender.ready()
    seconds, at_work = [], []
    for _ in range(_DRAWS):
        chosen = draw(rng)
        with m.timed():
            columns = load(chosen)
        seconds.append(m.measured.samples["seconds"])
        at_work.append(m.measured.samples["cpu_in_seconds"])
        m.measured.wrong = m.measured.wrong or wrong(columns, chosen)
    m.note(seconds=median(seconds), cpu_in_seconds=median(at_work), first_s=seconds[0])


def _list(m: Measurement) -> None:
    with m.timed():
        m.contender.open()
        found = m.contender.list_where(**QUERY)
    m.note(peak_bytes=_peak_bytes())
    if sorted(found) != matching(len(m.episodes), **QUERY):
        m.measured.wrong = f"{len(found)} episodes were found, or others than were asked for"


def _size(m: Measurement) -> None:
    """What is stored; what lies in a trash for a day or two is told for itself."""
    folder = m.contender.stored()
    files = [path for path in folder.rglob("*") if path.is_file()]
    trashed = [path for path in files if "trash" in path.relative_to(folder).parts]
    n_bytes, n_trashed = (sum(path.stat().st_size for path in some) for some in (files, trashed))
    m.note(bytes=n_bytes - n_trashed, trash_bytes=n_trashed, files=len(files) - len(trashed))
    m.note(source_bytes=m.episodes.n_bytes)


def _push(m: Measurement) -> None:
    for name in ("drive", "copy-of-drive"):
        if m.task.contender == "ours" or name != "drive":
            rmtree(m.folder / name, ignore_errors=True)
    with m.timed("publish_s", profiled=False):
        m.contender.publish()
    with m.timed():
        m.contender.push(m.folder / "drive")


def _push_again(m: Measurement) -> None:
    with m.timed():
        m.contender.push(m.folder / "drive")


def _clone(m: Measurement) -> None:
    for name in ("clone", "copy-of-clone"):
        rmtree(m.folder / name, ignore_errors=True)
    with m.timed():
        m.contender.clone(m.folder / "clone")


def _growth(m: Measurement) -> None:
    m.note(**m.contender.grow(m.task.n_episodes))


OPERATIONS: dict[str, Callable[[Measurement], None]] = {
    "record": _record,
    "write": _write,
    "size": _size,
    "load": _load,
    "load-cold": _load,
    "load-known": _load,
    "load-again": _load,
    "column": _column,
    "episodes": _random_episodes,
    "transitions": _random_transitions,
    "transitions-again": _random_transitions,
    "list-cold": _list,
    "list": _list,
    "push": _push,
    "push-again": _push_again,
    "clone": _clone,
    "growth": _growth,
}
"""In the order in which they are measured."""


def measure(task: Task) -> Measured:
    """Return what came of a task."""
    try:
        measurement = Measurement(task)
        OPERATIONS[task.operation](measurement)
    except NotOfferedError as err:
        return Measured(skipped=str(err) or NOT_OFFERED)
    measured = measurement.measured
    for package in measurement.contender.packages:
        try:
            measured.versions[package] = version(package)
        except PackageNotFoundError:
            measured.versions[package] = "unknown"
    return measured


def print_profile(file: Path, n_rows: int = 15) -> None:
    """Print the functions that took longest, with what they call and without."""
    for order in ("cumulative", "tottime"):
        pstats.Stats(str(file), stream=sys.stderr).strip_dirs().sort_stats(order).print_stats(
            n_rows
        )


def _touch(columns: Columns) -> None:
    """Look at each page, so that what is mapped is read, too."""
    for column in columns.values():
        flat = column.reshape(-1).view(np.uint8)
        int(flat[::_PAGE].sum(dtype=np.int64))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def main() -> None:
    """Measure what the first argument says."""
    task = Task(**json.loads(sys.argv[1]))
    measured = measure(task)
    if task.profile and Path(task.profile).exists():
        print_profile(Path(task.profile))
    sys.stdout.write(f"\n{json.dumps(asdict(measured))}\n")


if __name__ == "__main__":
    main()
