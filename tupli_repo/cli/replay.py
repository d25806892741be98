"""`tupli replay`: run recorded episodes again and tell whether they come out as they were."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

import click
from rich.console import Console
from rich.progress import Progress

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.opening import open_repository
from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.objects import Kind
from tupli_repo.replaying import replay_stored
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ
from tupli_repo.schema.reports import ReplayReport

_ID_DIGITS = 12
_VERDICTS = ("exact", "close", "different")


@click.command(
    "replay",
    short_help="Run recorded episodes again and compare",
    epilog="Exit status: 0 all are exact or close, 1 an ID is unknown or a package is missing, "
    "3 one is different, 10 no repository here, 12 damaged, 13 code is not trusted",
)
@click.argument("uri", metavar="ID")
@click.option("--all", "whole", is_flag=True, help="ID is a benchmark: replay all its episodes.")
@click.option("--limit", type=click.IntRange(min=0), help="With --all: the first so many.")
@click.option(
    "--trust", metavar="NAME", multiple=True, help="Let this code run, for once: pkg.mod.Class."
)
@json_option
@click.pass_obj
def replay_command(
    app: App,
    uri: str,
    whole: bool,  # noqa: FBT001
    limit: int | None,
    trust: tuple[str, ...],
) -> int:
    """Run the episode ID again in its environment, loaded afresh, and compare.

    \b
    exact      all observations, rewards and flags are the same, bit for bit
    close      floating-point numbers differ, by no more than 1e-6
    different  anything else; the line tells where first

    An environment that carries something from episode to episode (NormalizeObservation) comes out
    alike in its first episode only. Modules of your own are looked for in PYTHONPATH.
    """  # noqa: D301 - click wants the character
    repository = open_repository(app)
    ids = _episode_ids(repository, uri, whole=whole, limit=limit)
    found: dict[str, ReplayReport] = {}
    results = sys.stdout
    # what an environment prints is not our result
    with _progress(len(ids)) as advance, redirect_stdout(sys.stderr):
        for header, report in replay_stored(repository, ids, trust=trust):
            found[header.id] = report
            if not app.as_json:
                click.echo(f"{header.id[:_ID_DIGITS]}  {_line(report)}", file=results)
            advance()
    counts = Counter[str](report.verdict for report in found.values())
    totals = {verdict: counts[verdict] for verdict in _VERDICTS}
    episodes = [{"id": oid, **report.model_dump(mode="json")} for oid, report in found.items()]
    told = ", ".join(f"{n} {verdict}" for verdict, n in totals.items())
    summary = f"{len(found)} episodes: {told}" if whole else ""
    app.emit({**totals, "episodes": episodes}, summary)
    return 3 if counts["different"] else 0


def _episode_ids(repository: Repository, uri: str, *, whole: bool, limit: int | None) -> list[str]:
    if whole:
        of_it = FilterEQ(key="benchmark_id", value=repository.find_benchmark(uri).id)
        return [header.id for header in repository.episode_headers(of_it)[:limit]]
    if limit is not None:
        raise click.UsageError("--limit goes with --all")
    kind, oid = repository.find(uri)
    if kind is not Kind.EPISODE:
        raise InvalidInputError(
            f"'{uri}' is a {kind.value}, where an episode is due",
            hint=f"'tupli replay --all {uri}'"
            if kind is Kind.BENCHMARK
            else "'tupli list episodes'",
        )
    return [oid]


def _line(report: ReplayReport) -> str:
    """What a report says, in one line."""
    note = f" ({report.note})" if report.note else ""
    if report.verdict == "exact":
        return f"exact      {report.n_steps} steps{note}"
    told = f"from step {report.first_step}"
    if report.column is not None:
        element = f"[{', '.join(map(str, report.element))}]" if report.element else ""
        told += f", '{report.column}{element}'"
    if report.recorded is not None:
        told += f": {_short(report.recorded)} was recorded, now {_short(report.replayed)}"
    if report.max_abs_difference:
        told += f"; at most {report.max_abs_difference:.3g} apart"
    return f"{report.verdict:<9}  {told}{note}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


@contextmanager
def _progress(n_episodes: int) -> Iterator[Callable[[], object]]:
    """A bar on stderr where that is a terminal and there is more than one episode.

    Where stdout is that terminal too, what is written to `sys.stdout` appears above the bar.
    """
    console = Console(stderr=True)
    hidden = n_episodes < 2 or not console.is_terminal
    shares_terminal = sys.stdout is not None and sys.stdout.isatty()
    with Progress(
        console=console, disable=hidden, transient=True, redirect_stdout=shares_terminal
    ) as progress:
        task = progress.add_task("Replaying", total=n_episodes)
        yield lambda: progress.advance(task)
