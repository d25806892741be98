"""What a user sees of long work under way: what is to be done, then how far it has come.

Invariant: nothing here writes to stdout; of a copy the names are told before the first
byte leaves.
"""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import click

from tupli_repo.cli.app import App, size_text
from tupli_repo.odb.sync import Progress
from tupli_repo.schema.transfers import NameTransfer, TransferReport

_DOING = {
    "push": "pushing to",
    "pull": "pulling from",
    "fetch": "fetching from",
    "clone": "cloning",
    "bundle": "bundling into",
}


class OnTerminal:
    """Something of rich that moves on stderr while a command runs. Use it as a context.

    Args:
        app: With ``--json`` nothing is shown: the document has it all.
    """

    def __init__(self, app: App) -> None:
        self._is_quiet = app.as_json
        self._live: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def _is_shown(self, make: Callable[[], Any]) -> bool:
        """Whether anybody sees it; if so it is there from now on, made when it is first needed."""
        if self._is_quiet or not (sys.stderr and sys.stderr.isatty()):
            return False
        if self._live is None:
            self._live = make()
            self._live.start()
        return True

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class Showing(OnTerminal):
    """Tells on stderr what is copied; the bar is for terminals. Use it as a context.

    Args:
        app: With ``--json`` nothing is told: the document has it all.
    """

    def __init__(self, app: App) -> None:
        super().__init__(app)
        self._verb = ""

    def plan(self, report: TransferReport) -> None:
        """Tell which names are about to be copied, and how much."""
        self._stop()
        self._verb = report.verb
        if not self._is_quiet and (report.names or report.n_objects):
            click.echo(
                "\n".join([f"{_DOING[report.verb]} {place(report)}", *listed(report)]), err=True
            )

    def progress(self, done: Progress) -> None:
        """Move the bar."""
        if self._is_shown(self._bar):
            self._live.update(
                self._live.task_ids[0],
                completed=done.bytes_done,
                total=done.bytes,
                objects=f"{done.objects_done}/{done.objects} objects",
            )

    def _bar(self) -> Any:  # noqa: ANN401 - rich is imported when it is needed
        bar = _bar()
        bar.add_task(self._verb, objects="")
        return bar


class Indexing(OnTerminal):
    """Shows on stderr how many packs have been read for the catalog.

    Args:
        app: With ``--json`` nothing is shown.
    """

    def progress(self, done: int, of: int) -> None:
        """Move the bar; it goes when all is done."""
        if done == of:
            self._stop()
        elif of > 1 and self._is_shown(lambda: _counting_bar("indexing", "packs", of)):
            self._live.update(self._live.task_ids[0], completed=done)

    def close(self) -> None:
        """Take the bar away; also where reading failed."""
        self._stop()


class Counting(OnTerminal):
    """Shows on stderr how many episodes are done. Use it as a context.

    Args:
        app: With ``--json`` nothing is shown.
        verb: What is being done.
    """

    def __init__(self, app: App, verb: str) -> None:
        super().__init__(app)
        self._verb = verb

    def progress(self, done: int, of: int) -> None:
        """Move the bar."""
        if of > 1 and self._is_shown(lambda: _counting_bar(self._verb, "episodes", of)):
            self._live.update(self._live.task_ids[0], completed=done, total=of)


def place(report: TransferReport) -> str:
    """Return the other side as it is shown: what it is called here, and where it is."""
    has_name = report.remote and report.verb != "clone"  # which has just given it one
    return f"'{report.remote}' ({report.url})" if has_name else f"'{report.url}'"


def listed(report: TransferReport) -> list[str]:
    """Return a line for each name that is copied, and one for all objects."""
    sizes = f"{count(report.n_objects, 'object')}, about {size_text(report.n_bytes)}"
    return [*(f"  {_name(one)}" for one in report.names), f"  {sizes}"]


def count(number: int, noun: str) -> str:
    """Return a number and what it counts.

    >>> count(1, "name"), count(2, "name")
    ('1 name', '2 names')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _name(one: NameTransfer) -> str:
    episodes = f", {count(one.n_episodes, 'episode')}" if one.n_episodes else ""
    return f"{one.group}/{one.name} ({one.kind}): {count(one.n_revisions, 'revision')}{episodes}"


def _counting_bar(verb: str, unit: str, of: int) -> Any:  # noqa: ANN401 - rich is imported when it is needed
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        console=Console(stderr=True),
        transient=True,
    )
    bar.add_task(verb, total=of)
    return bar


def _bar() -> Any:  # noqa: ANN401 - rich is imported when it is needed
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[objects]}"),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
