"""The command that shows, checks and empties the cache of loaded datasets."""

from datetime import timedelta
from math import isnan
from typing import Any

import click

from tupli_repo.cli.app import App, json_option, size_text
from tupli_repo.cli.progress import OnTerminal, count
from tupli_repo.repository.keeping import user_cache

_FINDINGS = 3
_MAX_DAYS = 36500


@click.group(
    "cache",
    short_help="Show, check or empty the cache of loaded datasets",
    invoke_without_command=True,
    epilog="Exit status: 0 done, 1 it cannot be read, 2 usage",
)
@json_option
@click.pass_context
def cache_command(ctx: click.Context) -> None:
    """List the datasets that are kept in your cache, what was used last first.

    A dataset that is loaded a second time is not decoded again, but mapped from there. What was
    not used for longest goes where there is no room; deleting any of it costs time only.
    'tupli config --user cache.max_bytes BYTES' limits it, 'cache.enabled false' switches it off.
    """
    if ctx.invoked_subcommand is not None:
        return
    app: App = ctx.obj
    found = user_cache().report()
    rows = [
        [one.key[:12], size_text(one.size_bytes), one.last_used, one.title]
        for one in found.datasets
    ]
    app.emit_table(found, ["key", "size", "last used", "dataset"], rows)
    if not app.as_json:
        state = "" if found.is_enabled else "; it is switched off"
        click.echo(
            f"{count(len(rows), 'dataset')}, {size_text(found.size_bytes)} of"
            f" {size_text(found.max_bytes)}, in '{found.folder}'{state}",
            err=True,
        )


@cache_command.command(
    "verify",
    short_help="Hold every byte against its hash",
    epilog="Exit status: 0 all is as it was written, 1 it cannot be read, 2 usage, 3 something was "
    "wrong, and is removed",
)
@json_option
@click.pass_obj
def verify_command(app: App) -> int:
    """Read every dataset that is kept, and remove each that is not as it was written.

    Loading one checks names and sizes only. What is removed is decoded again when it is needed.
    """
    with _Bar(app) as bar:
        found = user_cache().verify(bar.progress)
    lines = [f"removed: '{key[:12]}': {why}" for key, why in found.removed.items()]
    wrong = count(len(found.removed), "dataset") + " wrong" if found.removed else "all whole"
    app.emit(
        found,
        "\n".join(
            [*lines, f"{count(found.datasets, 'dataset')}, {size_text(found.bytes_read)}: {wrong}"]
        ),
    )
    return _FINDINGS if found.removed else 0


@cache_command.command(
    "clear",
    short_help="Remove what is kept",
    epilog="Exit status: 0 done, 1 it cannot be read, 2 usage",
)
@click.option(
    "--older-than",
    metavar="DAYS",
    type=click.FloatRange(min=0, max=_MAX_DAYS),
    help="Only what was not used for so many days.",
)
@json_option
@click.pass_obj
def clear_command(app: App, older_than: float | None) -> None:
    """Remove the datasets that are kept; those that are mapped somewhere stay readable there."""
    if older_than is not None and isnan(older_than):
        raise click.BadParameter("nan is no number of days", param_hint="'--older-than'")
    found = user_cache().clear(None if older_than is None else timedelta(days=older_than))
    app.emit(found, f"{count(found.datasets, 'dataset')} removed, {size_text(found.bytes_freed)}")


class _Bar(OnTerminal):
    """A bar on stderr, where that is a terminal. Use it as a context."""

    def progress(self, done: int, total: int) -> None:
        """Move the bar."""
        if self._is_shown(_bar):
            self._live.update(self._live.task_ids[0], completed=done, total=max(1, total))


def _bar() -> Any:  # noqa: ANN401 - rich is imported when it is needed
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    bar.add_task("Verifying")
    return bar
