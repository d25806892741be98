"""The command that removes what nothing leads to any more."""

from datetime import timedelta
from math import isnan
from typing import Any

import click

from tupli_repo.cli.app import App, json_option, size_text
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.progress import OnTerminal, count
from tupli_repo.odb.maintenance.gc import CleaningProgress
from tupli_repo.schema.cleaning import GcReport


@click.command(
    "gc",
    short_help="Remove what nothing leads to, and merge small packs",
    epilog="Exit status: 0 done, 2 usage, 10 no repository here, 11 another process is cleaning, "
    "12 something is damaged",
)
@click.option(
    "--grace",
    metavar="HOURS",
    type=click.FloatRange(min=0, max=24 * 365 * 100),
    default=24.0,
    show_default=True,
    help="Leave alone what is younger.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
@json_option
@click.pass_obj
def gc_command(app: App, grace: float, dry_run: bool) -> None:  # noqa: FBT001
    """Move what nothing leads to to the trash, empty that of what is old, and merge small packs.

    What was removed ('tupli remove') goes here. It lies in the trash for 14 days, and packs that
    were merged for one, before their space is free. It is safe beside any other command.
    """
    if isnan(grace):
        raise click.BadParameter("nan is no number of hours", param_hint="'--grace'")
    repository = open_repository(app)
    with _Showing(app) as showing:
        found = repository.gc(
            grace=timedelta(hours=grace), dry_run=dry_run, on_progress=showing.progress
        )
    app.emit(found, "\n".join(_lines(found)))


def _lines(found: GcReport) -> list[str]:
    would = "would be " if found.dry_run else ""
    lines = [
        f"{count(number, noun)} {would}{done}"
        for number, noun, done in (
            (found.journals_sealed, "journal", "sealed"),
            (found.staging_removed, "abandoned private folder", "removed"),
            (found.packs_merged, "pack", f"merged into {found.packs_written}"),
            (found.rescued, "file", "brought back from the trash"),
        )
        if number
    ]
    if found.unreachable:
        lines.append(
            f"nothing leads to {count(found.unreachable, 'object')},"
            f" about {size_text(found.unreachable_bytes)}"
        )
    if found.lacking:
        lines.append(
            f"{count(found.lacking, 'object')} that names lead to"
            f" {'is' if found.lacking == 1 else 'are'} missing: what nothing leads to cannot be"
            " told, and stays; 'tupli fsck --repair' may bring back what is missing"
        )
    if found.files_trashed:
        lines.append(f"{size_text(found.bytes_trashed)} {would}moved to the trash")
    lines.append(
        f"{size_text(found.bytes_freed)} {would}freed;"
        f" {size_text(found.bytes_in_trash)} in the trash"
    )
    return lines


class _Showing(OnTerminal):
    """Tells on a terminal how far it has come. Use it as a context."""

    def progress(self, now: CleaningProgress) -> None:
        """Tell what is being done."""
        if self._is_shown(_status):
            far = f" ({now.done}/{now.of})" if now.of > 1 else ""
            self._live.update(f"{now.doing}{far}")


def _status() -> Any:  # noqa: ANN401 - rich is imported when it is needed
    from rich.console import Console

    return Console(stderr=True).status("")
