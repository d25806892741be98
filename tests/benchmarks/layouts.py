"""``python -m tests.benchmarks.layouts``: what each choice of the format costs and brings.

The same episodes are stored in many ways: a base, what differs from it in one choice, and what is
proposed. All are written and read in turn, several times over; the best of each counts, and only
ratios within one run mean anything. Times are those of the processor, which others at work disturb
least; where several threads are at work, it is the clock that is compared, with the base's. Arrays
that are filled are in memory already, so that what is compared is not the making of pages. Nothing
here goes through a repository.

Exit status: 0 measured, 1 something that was read differs from its source, 2 usage.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np

from tests.benchmarks.contender import NotOfferedError
from tests.benchmarks.episodes import Columns, Episodes, Expected, Kept
from tests.benchmarks.layouts_forms import KIB, Layout
from tests.benchmarks.layouts_packs import Pack
from tests.benchmarks.workloads import WORKLOADS, episodes_of

MEASURES = ("size", "encode", "load", "column", "episodes", "transitions")
BASE = "base"
WALL = " by the clock"
_ASKED = ("halfcheetah", "short", "images", "images-small", "large", "larger", "pendulum")
_N_RANDOM = 256
_PIECES_K = (128, 256, 512, 2048, 4096)
_MIN_S = 0.05
_MAX_TIMES = 8

Numbers = dict[str, float]


def alternatives(kinds: set[str]) -> dict[str, Layout]:
    """Return the layouts to compare, the base first, by what differs from it.

    Args:
        kinds: Which kinds of columns there are: ``f4``, ``f8``, ``u1``.
    """
    base = Layout()
    found = {BASE: base}
    found |= {f"block {n}K": replace(base, block_bytes=n * KIB) for n in (64, 256, 512, 1024)}
    found |= {f"level {n}": replace(base, level=n) for n in (1, 2, 6)}
    for kind in sorted(kinds & {"f4", "f8"}):
        for form in ("rows", "bytes", "words", "bytes-first", "delta"):
            found[f"{kind} {form}"] = replace(base, **{kind: form})  # type: ignore[arg-type]
    if "u1" in kinds:
        found |= {f"u1 {form}": replace(base, u1=form) for form in ("planes", "delta")}
    found |= {f"pieces {n}K": replace(base, piece_bytes=n * KIB) for n in _PIECES_K}
    found |= {f"shared < {n}K": replace(base, shared_below=n * KIB) for n in (0, 16, 256)}
    found["columns apart"] = replace(base, shared_below=0, grouped=True)
    found["2 threads"] = replace(base, threads=2)
    found |= {f"verify {name}": replace(base, verify=name) for name in ("zstd", "crc")}
    return found | {name: replace(base, **changes) for name, changes in PROPOSED.items()}  # type: ignore[arg-type]


_BYTES_FIRST = {"f4": "bytes-first", "f8": "bytes-first"}
PROPOSED: dict[str, Mapping[str, object]] = {
    "pieces 512K, bytes-first": {"piece_bytes": 512 * KIB, **_BYTES_FIRST},
    "pieces 256K, bytes-first": {"piece_bytes": 256 * KIB, **_BYTES_FIRST},
    "pieces 256K, bytes-first, level 1": {"piece_bytes": 256 * KIB, "level": 1, **_BYTES_FIRST},
    "pieces 256K, bytes-first, crc": {"piece_bytes": 256 * KIB, "verify": "crc", **_BYTES_FIRST},
}
"""Several choices together."""


class Measuring:
    """Several packs of the same episodes, and the best time of each.

    Args:
        episodes: Which.
        column: The one that is loaded by itself.
        folder: Where the packs go.
        seed: For what is random.
    """

    def __init__(self, episodes: Episodes, *, column: str, folder: Path, seed: int = 0) -> None:
        self._episodes, self._folder = episodes, folder
        self._expected = Expected(episodes, Kept())
        n, rng = len(episodes), np.random.default_rng(seed)
        self._all = np.arange(n)
        self._some = rng.choice(n, min(_N_RANDOM, max(1, n // 2)), replace=False)
        self._steps = rng.integers(0, episodes.n_steps, _N_RANDOM)
        self._column = column
        self._whole = self._zeros(episodes.n_steps, n)
        n_steps = int(episodes.lengths[self._some].sum())
        self._part = self._zeros(n_steps, len(self._some))
        self._rows = self._zeros(len(self._steps), 0)

    def write(self, name: str, layout: Layout) -> tuple[Pack, Numbers]:
        """Write a pack; returns it, its size, and how long that took."""
        file = "".join(c if c.isalnum() else "-" for c in name) + ".pack"
        start, started = perf_counter(), process_time()
        pack = Pack(self._episodes, layout, self._folder / file)
        numbers = {"encode": process_time() - started, f"encode{WALL}": perf_counter() - start}
        return pack, numbers | {"size": float(pack.n_bytes)}

    def read(self, pack: Pack, min_s: float) -> Numbers:
        """Read in each way; returns how long each took.

        Args:
            pack: Which.
            min_s: What is over sooner is done again.
        """
        one = {self._column: self._whole[self._column]}
        reads: dict[str, Callable[[], None]] = {
            "load": lambda: pack.load(self._all, self._whole),
            "column": lambda: pack.load(self._all, one),
            "episodes": lambda: pack.load(self._some, self._part),
            "transitions": lambda: pack.pick(self._steps, self._rows),
        }
        numbers: Numbers = {}
        for name, read in reads.items():
            numbers[name], numbers[name + WALL] = _seconds(read, min_s)
        return numbers

    def wrong(self, pack: Pack) -> str:
        """Return what is read that differs from what was written; empty where nothing does."""
        expected, one = self._expected, {self._column: self._whole[self._column]}
        reads: list[tuple[Columns, Callable[[], None], Callable[[], str]]] = [
            (
                self._whole,
                lambda: pack.load(self._all, self._whole),
                lambda: expected.wrong_in_episodes(self._whole, self._all.tolist()),
            ),
            (
                one,
                lambda: pack.load(self._all, one),
                lambda: expected.wrong_in_episodes(one, self._all.tolist()),
            ),
            (
                self._part,
                lambda: pack.load(self._some, self._part),
                lambda: expected.wrong_in_episodes(self._part, self._some.tolist()),
            ),
            (
                self._rows,
                lambda: pack.pick(self._steps, self._rows),
                lambda: expected.wrong_in_steps(self._rows, self._steps),
            ),
        ]
        for columns, read, compare in reads:
            for column in columns.values():
                column.view(np.uint8).fill(0x5A)
            read()
            if wrong := compare():
                return wrong
        return ""

    def _zeros(self, n_steps: int, n_episodes: int) -> Columns:
        made = {}
        for name, column in self._episodes.columns.items():
            rows = n_steps + (n_episodes if name == "observations" else 0)
            made[name] = np.zeros((rows, *column.shape[1:]), column.dtype)
            made[name].fill(1)
        return made


def measure(
    episodes: Episodes,
    *,
    column: str,
    folder: Path,
    repeat: int,
    min_s: float = _MIN_S,
    only: Sequence[str] = (),
) -> tuple[dict[str, Numbers], dict[str, str]]:
    """Return the numbers of each alternative, and what is wrong with which.

    Args:
        episodes: What is stored.
        column: The one that is loaded by itself.
        folder: Where the packs go.
        repeat: How often; the best counts.
        min_s: What is read sooner is read again at once.
        only: What to compare with the base, where it has the columns; everything where empty.
    """
    measuring = Measuring(episodes, column=column, folder=folder)
    layouts = alternatives({held.dtype.str[1:] for held in episodes.columns.values()})
    if only:
        layouts = {name: layouts[name] for name in (BASE, *only) if name in layouts}
    best: dict[str, Numbers] = {}
    wrong: dict[str, str] = {}
    packs: dict[str, Pack] = {}
    measuring.write(BASE, layouts[BASE])[0].close()  # whoever comes first pays for much
    for turn in range(repeat):
        for name, layout in layouts.items():
            if turn in (0, 1):  # writing is slow, and varies less
                if name in packs:
                    packs[name].close()
                packs[name], numbers = measuring.write(name, layout)
                _keep_best(best.setdefault(name, {}), numbers)
            if turn == 0 and (found := measuring.wrong(packs[name])):
                wrong[name] = found
            _keep_best(best[name], measuring.read(packs[name], min_s))
    for pack in packs.values():
        pack.close()
    return best, wrong


def _keep_best(best: Numbers, numbers: Numbers) -> None:
    for name, value in numbers.items():
        best[name] = min(value, best.get(name, value))


def table(found: Mapping[str, Numbers]) -> str:
    """Return a Markdown table: the base in MB and ms, the others as ratios to it."""
    return "\n".join(_table(found)) + "\n"


def _table(found: Mapping[str, Numbers]) -> Iterator[str]:
    base = found[BASE]
    yield f"| layout | {' | '.join(MEASURES)} |"
    yield f"|---|{'--:|' * len(MEASURES)}"
    shown = [f"{base['size'] / 1e6:.4g} MB", *(f"{base[n] * 1e3:.3g} ms" for n in MEASURES[1:])]
    yield f"| {BASE} | {' | '.join(shown)} |"
    for name, numbers in found.items():
        if name != BASE:
            clock = WALL if "threads" in name else ""
            told = ["size", *(measure + clock for measure in MEASURES[1:])]
            ratios = (f"{numbers[what] / base[what]:.2f}" for what in told)
            yield f"| {name} | {' | '.join(ratios)} |"


def _seconds(do: Callable[[], None], min_s: float) -> tuple[float, float]:
    """Return the best of one or, where it is short, of several goes: at work, and by the clock."""
    best = best_wall = float("inf")
    spent = 0.0
    for _ in range(_MAX_TIMES):
        start, started = perf_counter(), process_time()
        do()
        at_work, took = process_time() - started, perf_counter() - start
        best, best_wall, spent = min(best, at_work), min(best_wall, took), spent + took
        if spent >= min_s:
            break
    return best, best_wall


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    asked = _parser().parse_args(arguments)
    results: dict[str, dict[str, Numbers]] = {}
    failed = False
    with tempfile.TemporaryDirectory(prefix="layouts-", dir=asked.folder) as scratch:
        for workload in asked.workload or _ASKED:
            try:
                source = episodes_of(workload, asked.scale, Path(scratch))
            except NotOfferedError as err:
                sys.stderr.write(f"'{workload}' is left out: {err}\n")
                continue
            folder = Path(scratch) / "packs"
            folder.mkdir(exist_ok=True)
            episodes = Episodes.load(source)
            column = WORKLOADS[workload].column
            results[workload], wrong = measure(
                episodes,
                column=column,
                folder=folder,
                repeat=1 if asked.quick else asked.repeat,
                min_s=0 if asked.quick else _MIN_S,
                only=asked.layout,
            )
            size = f"{len(episodes)} episodes, {episodes.n_steps} steps, {episodes.n_bytes} bytes"
            sys.stdout.write(f"## {workload}: {size}\n\n{table(results[workload])}\n")
            sys.stdout.flush()
            for name, why in wrong.items():
                sys.stderr.write(f"'{name}' of '{workload}' is wrong: {why}\n")
            failed |= bool(wrong)
            for file in folder.iterdir():
                file.unlink()
            if asked.json:
                asked.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.layouts",
        description="What each choice of the format costs and brings.",
    )
    add = parser.add_argument
    add("--workload", action="append", default=[], choices=list(WORKLOADS))
    known = list(alternatives({"f4", "f8", "u1"}))[1:]
    add("--layout", action="append", default=[], choices=known, metavar="NAME",
        help="what to compare with the base, by its name (default: everything)")  # fmt: skip
    add("--scale", type=float, default=1.0, help="how much of each workload (default: 1)")
    add("--repeat", type=int, default=5, help="how often; the best counts (default: 5)")
    add("--quick", action="store_true", help="each once only")
    add("--json", type=Path, metavar="FILE", help="every number, in bytes and seconds")
    add("--folder", type=Path, help="where files go for a while (default: the temporary folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
