"""The command that checks a repository, and repairs it: fsck."""

from collections.abc import Sequence
from typing import Any

import click

from tupli_repo.cli.app import App, json_option, size_text
from tupli_repo.cli.progress import OnTerminal, count
from tupli_repo.odb.maintenance.check import Progress
from tupli_repo.repository.checking import fsck_folder, repair_folder
from tupli_repo.schema.checks import Finding, FsckReport, Level, LostEpisodes, RepairReport

_FINDINGS = 3
_MOST = 20


@click.command(
    "fsck",
    short_help="Check that everything is whole, and repair it",
    epilog="Exit status: 0 whole (there may be warnings), 1 it could not be checked, 2 usage, "
    "3 something is damaged or missing; with --repair, something is lost, 10 no repository here",
)
@click.option("--data", is_flag=True, help="Hold every byte against its hash.")
@click.option("--deep", is_flag=True, help="Also decode every record and column.")
@click.option(
    "--sample", metavar="PART", help="Of the bytes only '1%' at random, or '3/30': the third of 30."
)
@click.option("--repair", is_flag=True, help="Bring back what can be, set aside what is damaged.")
@click.option(
    "--from", "remotes", metavar="REMOTE", multiple=True, help="Ask this one only; repeatable."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only tell what a repair would do.")
@json_option
@click.pass_obj
def fsck_command(
    app: App,
    data: bool,  # noqa: FBT001
    deep: bool,  # noqa: FBT001
    sample: str | None,
    repair: bool,  # noqa: FBT001
    remotes: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Check names, sizes, links and records; with --data every byte. Environments stay text.

    One line for each finding on stdout, the gravest first, then a summary. --repair takes what is
    lost from the trash or a remote, and moves damaged files to '.tupli/damaged'; it deletes
    nothing.
    """
    if repair or dry_run or remotes:
        if data or deep or sample:
            raise click.UsageError(
                "--repair always looks at every byte: no --data, --deep, --sample"
            )
        if not repair:
            raise click.UsageError("--dry-run and --from belong to --repair")
        with _Bar(app, "Repairing") as bar:
            mended = repair_folder(
                app.path, remotes=remotes or None, dry_run=dry_run, on_progress=bar.progress
            )
        app.emit(mended, "\n".join(_told_repair(mended)))
        return 0 if mended.is_whole else _FINDINGS
    level: Level = "deep" if deep else "data" if data else "quick"
    with _Bar(app, "Checking") as bar:
        report = fsck_folder(app.path, level, sample=sample, on_progress=bar.progress)
    app.emit(report, "\n".join([*_listed(report.findings), _summary(report)]))
    return 0 if report.is_clean else _FINDINGS


def _listed(findings: Sequence[Finding]) -> list[str]:
    """A line for each finding; of many of a sort the first ones."""
    lines, told = list[str](), dict[tuple[str, str], int]()
    for one in findings:
        sort = (one.severity, one.code)
        told[sort] = told.get(sort, 0) + 1
        if told[sort] <= _MOST:
            lines.append(_line(one))
    more = {sort: n - _MOST for sort, n in told.items() if n > _MOST}
    return lines + [
        f"{severity}: {n} more of '{code}'; --json lists them"
        for (severity, code), n in more.items()
    ]


def _line(one: Finding) -> str:
    subject = f"'{one.path}': " if one.path else ""
    affects = f" [{', '.join(one.affects)}]" if one.affects else ""
    hint = f" -- {one.hint}" if one.hint else ""
    return f"{one.severity}: {subject}{one.message}{affects}{hint}"


def _summary(report: FsckReport) -> str:
    part = f" of '{report.sample}'" if report.sample else ""
    read = f"; {size_text(report.bytes_read)}{part} held against their hashes"
    looked = f"{count(report.n_objects, 'object')} in {count(report.n_files, 'file')}"
    if report.is_clean:
        found = "whole"
    else:
        found = f"{count(report.n_errors, 'error')}: something is damaged or missing"
    warnings = f", {count(report.n_warnings, 'warning')}" if report.n_warnings else ""
    return f"{looked}{read if report.level != 'quick' else ''}: {found}{warnings}"


def _told_repair(report: RepairReport) -> list[str]:
    would = "would be " if report.dry_run else ""
    lines = [f"set aside: '{path}'" for path in report.set_aside[:_MOST]]
    if len(report.set_aside) > _MOST:
        lines.append(f"set aside: {len(report.set_aside) - _MOST} more; --json lists them")
    if report.folder:
        lines.append(f"what was set aside is in '{report.folder}', with a note beside each")
    if report.n_salvaged:
        lines.append(f"{count(report.n_salvaged, 'object')} {would}salvaged from damaged packs")
    sources: dict[str, int] = {}
    for one in report.restored:
        sources[one.source] = sources.get(one.source, 0) + 1
    for source, n in sorted(sources.items()):
        place = f" from '{source}'" if source else ""
        lines.append(f"{count(n, 'object')} {would}brought back{place}")
    lines += [f"made anew: {what}" for what in report.rebuilt]
    lines += [f"could not be asked: {line}" for line in report.unreachable]
    lost = {one.object_id for one in report.lost}
    lines += _listed([one for one in report.findings if one.object_id not in lost])
    for gone in report.lost[:_MOST]:
        affects = f" [{', '.join(gone.affects)}]" if gone.affects else ""
        lines.append(f"lost: {gone.kind or 'object'} {gone.object_id}{affects}")
    if len(report.lost) > _MOST:
        lines.append(f"lost: {len(report.lost) - _MOST} more; --json lists them")
    lines += [_lost_episodes(some) for some in report.lost_episodes]
    if report.is_whole:
        return [*lines, "nothing is lost"]
    if report.lost:
        return [*lines, f"{count(len(report.lost), 'object')} lost: a remote or a copy may have it"]
    return [*lines, "not all could be mended"]


def _lost_episodes(one: LostEpisodes) -> str:
    episodes = count(one.n_episodes, "episode")
    if not one.benchmark_id:
        return f"lost: {episodes} of which nothing is left but the id"
    return f"lost: data of {episodes}, {count(one.n_steps, 'step')}, of '{one.title}'"


class _Bar(OnTerminal):
    """A bar on stderr, where that is a terminal. Use it as a context."""

    def __init__(self, app: App, doing: str) -> None:
        super().__init__(app)
        self._doing = doing

    def progress(self, done: Progress) -> None:
        """Move the bar."""
        if self._is_shown(self._bar):
            total = max(1, done.bytes)
            self._live.update(self._live.task_ids[0], completed=done.bytes_done, total=total)

    def _bar(self) -> Any:  # noqa: ANN401 - rich is imported when it is needed
        from rich.console import Console
        from rich.progress import Progress as RichBar

        bar = RichBar(console=Console(stderr=True), transient=True)
        bar.add_task(self._doing)
        return bar
