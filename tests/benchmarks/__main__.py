"""``python -m tests.benchmarks``: measure, and tell what came of it.

Exit status: 0 measured, 1 something that was loaded differs from its source, 2 usage.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.measuring import OPERATIONS
from tests.benchmarks.reporting import tables, write_json, write_plot
from tests.benchmarks.running import GROWTH, Options, Results, run
from tests.benchmarks.workloads import WORKLOADS


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; returns the exit status."""
    asked = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as scratch:
        options = Options(
            workloads=asked.workload,
            operations=asked.operation,
            contenders=asked.contender,
            scale=asked.scale,
            repeat=asked.repeat,
            folder=asked.folder or Path(scratch),
            pythons=dict(text.split("=", 1) for text in asked.python),
            timeout_s=asked.timeout,
            profile=asked.profile,
        )

        def keep(results: Results) -> None:
            if asked.json:
                write_json(results, asked.json)

        results = run(options, keep)
    sys.stdout.write(tables(results))
    if asked.plot and (why := write_plot(results, asked.plot)):
        sys.stderr.write(f"no plot: {why}\n")
    return 1 if any("differs" in why or "rows" in why for why in results.problems.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="How fast and how small, side by side with what a user would pick instead.",
    )
    add = parser.add_argument
    add("--workload", action="append", default=[], choices=[*WORKLOADS, GROWTH])
    add("--operation", action="append", default=[], choices=list(OPERATIONS))
    add("--contender", action="append", default=[], choices=list(CONTENDERS))
    add("--scale", type=float, default=1.0, help="how much of each workload (default: 1)")
    add("--repeat", type=int, default=3, help="how often; medians count (default: 3)")
    add("--json", type=Path, metavar="FILE", help="every sample, and what it ran on")
    add("--plot", type=Path, metavar="FILE", help="cost against size, as an image")
    add("--python", action="append", default=[], metavar="CONTENDER=PATH",
        help="an interpreter for a contender that needs one of its own")  # fmt: skip
    add("--folder", type=Path, help="keep everything here; by default in a folder that is removed")
    add("--timeout", type=float, default=900.0, help="seconds for one measurement (default: 900)")
    add("--profile", action="store_true", help="print profiles of ours: where its time goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
