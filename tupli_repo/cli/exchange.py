"""Commands between repositories: clone, fetch, pull, push, sync, bundle.

Only what is published leaves or arrives. Names and counts are told before the first byte does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from tupli_repo.cli.app import App, json_option, size_text
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.progress import Showing, count, listed, place
from tupli_repo.errors import NotFoundError, RepositoryNotFoundError
from tupli_repo.repository import Repository
from tupli_repo.schema.transfers import TransferReport

_FINDINGS = 3
_STATUS = (
    "Exit status: 0 done, 1 no such remote or it cannot be reached, 2 usage, 3 a name has diverged "
    "or something was left out, 10 no repository here, 12 something is damaged"
)
_DONE = {
    "push": "pushed to",
    "pull": "pulled from",
    "fetch": "fetched from",
    "clone": "cloned",
    "bundle": "bundled into",
}
_MAKING = ("clone", "bundle")  # which make something even where there is nothing to copy
_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])
_FoundT = TypeVar("_FoundT")


_dry_run_option = click.option(
    "-n", "--dry-run", is_flag=True, help="Only tell what would be copied."
)


def _exchange_options(command: _CommandT) -> _CommandT:
    """Give a command REMOTE, NAME..., ``--dry-run`` and ``--json``."""
    command = _dry_run_option(json_option(command))
    command = click.argument("names", metavar="[NAME]...", nargs=-1)(command)
    return click.argument("remote", required=False)(command)


@click.command("push", short_help="Send what is published to others", epilog=_STATUS)
@_exchange_options
@click.option("--prune", is_flag=True, help="Also remove there what was taken back, for good.")
@click.pass_obj
def push_command(
    app: App,
    remote: str | None,
    names: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001
    prune: bool,  # noqa: FBT001
) -> int:
    """Send what is published here and lacks there to REMOTE: all names, or each NAME.

    REMOTE is a remote's name or a folder; where it is left out, 'origin' or the only one there is.
    Nothing that is not published leaves, and pins in the group 'local' stay here.
    """
    report = _exchange(app, Repository.push, remote, names, dry_run=dry_run, prune=prune)
    return _tell(app, report, [report])


@click.command(
    "fetch", short_help="Bring what others published, without uniting it", epilog=_STATUS
)
@_exchange_options
@click.pass_obj
def fetch_command(
    app: App,
    remote: str | None,
    names: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Bring what REMOTE has and lacks here: all names, or each NAME. No name is united.

    REMOTE is a remote's name or a folder; where it is left out, 'origin' or the only one there is.
    """
    report = _exchange(app, Repository.fetch, remote, names, dry_run=dry_run)
    return _tell(app, report, [report])


@click.command("pull", short_help="Bring what others published", epilog=_STATUS)
@_exchange_options
@click.pass_obj
def pull_command(
    app: App,
    remote: str | None,
    names: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Bring what REMOTE has and lacks here, all names or each NAME, and unite it with ours.

    REMOTE is a remote's name or a folder; where it is left out, 'origin' or the only one there is.
    """
    report = _exchange(app, Repository.pull, remote, names, dry_run=dry_run)
    return _tell(app, report, [report])


@click.command("sync", short_help="Pull, then push", epilog=_STATUS)
@_exchange_options
@click.pass_obj
def sync_command(
    app: App,
    remote: str | None,
    names: tuple[str, ...],
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Pull from REMOTE, then push to it, so that both have the same: all names, or each NAME.

    REMOTE is a remote's name or a folder; where it is left out, 'origin' or the only one there is.
    With --json it is an array of both reports.
    """
    reports = _exchange(app, Repository.sync, remote, names, dry_run=dry_run)
    return _tell(app, reports, reports)


@click.command(
    "clone",
    short_help="Make a repository that has all another one publishes",
    epilog="Exit status: 0 cloned, 1 FOLDER has another repository already or SOURCE cannot be "
    "reached, 2 usage, 3 a name has diverged or something was left out, 10 no repository there, "
    "12 something is damaged or not what was expected",
)
@click.argument("source")
@click.argument("folder", required=False, type=click.Path())
@click.option("--bare", is_flag=True, help="One that others push to.")
@click.option("--expect", metavar="DIGEST", help="Only if that is in it: a digest or a revision.")
@_dry_run_option
@json_option
@click.pass_obj
def clone_command(
    app: App,
    source: str,
    folder: str | None,
    bare: bool,  # noqa: FBT001
    expect: str | None,
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Make a repository in FOLDER that has all that SOURCE, a folder or a bundle, publishes.

    FOLDER is called as SOURCE where it is left out, and SOURCE becomes its remote 'origin'. The
    same command again completes a clone that was cut short.
    """
    reports: list[TransferReport] = []
    if dry_run:
        plan = Repository.plan_clone(source, expect=expect)
        return _tell(app, plan, [plan])
    with Showing(app) as showing:
        repository = Repository.clone(
            source,
            folder,
            bare=bare,
            expect=expect,
            on_plan=showing.plan,
            on_progress=showing.progress,
            on_done=reports.append,
        )
    app.keep(repository)
    (report,) = reports
    document = {"root": str(repository.root), **report.model_dump(mode="json")}
    return _tell(app, document, reports, f"into '{repository.root.parent}'")


@click.command(
    "bundle",
    short_help="Put revisions into one file, to mail or to attach to a paper",
    epilog="Exit status: 0 made, 1 no such revision, or FILE is there already, 2 usage, "
    "3 something was left out, 10 no repository here, 12 something is damaged",
)
@click.argument("revisions", metavar="NAME@REVISION...", nargs=-1, required=True)
@click.argument("file", type=click.Path(dir_okay=False))
@_dry_run_option
@json_option
@click.pass_obj
def bundle_command(
    app: App,
    revisions: tuple[str, ...],
    file: str,
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Put each revision, with all it needs and follows, into FILE.

    'tupli clone FILE' makes a repository of it, 'tupli pull FILE' brings it into one.
    """
    repository = open_repository(app)
    with Showing(app) as showing:
        report = repository.bundle(
            revisions,
            file,
            dry_run=dry_run,
            on_plan=None if dry_run else showing.plan,
            on_progress=showing.progress,
        )
    return _tell(app, report, [report])


def _exchange(
    app: App,
    verb: Callable[..., _FoundT],
    remote: str | None,
    names: Sequence[str],
    *,
    dry_run: bool,
    **options: bool,
) -> _FoundT:
    """Do what all these commands do: call one method of the repository, and show how it goes."""
    repository = open_repository(app)
    _check_remote(repository, remote, names, verb.__name__)
    try:
        with Showing(app) as showing:
            return verb(
                repository,
                remote,
                names,
                dry_run=dry_run,
                on_plan=None if dry_run else showing.plan,
                on_progress=showing.progress,
                **options,
            )
    except RepositoryNotFoundError as err:  # theirs: ours is open
        raise NotFoundError(err.message, hint=err.hint) from err


def _check_remote(
    repository: Repository, remote: str | None, names: Sequence[str], verb: str
) -> None:
    """Tell who gives a name where the remote belongs what to type.

    Raises:
        NotFoundError: ``remote`` is no remote and no folder, but something that is published.
    """
    known = [item.name for item in repository.remotes()]
    if remote is None or remote in known or (len(Path(remote).parts) > 1 and Path(remote).exists()):
        return
    if any(remote in (item.name, f"{item.group}/{item.name}") for item in repository.names()):
        instead = known[0] if known else "FOLDER"
        instead = "origin" if "origin" in known else instead
        raise NotFoundError(
            f"'{remote}' is a name, not a remote",
            hint=f"'tupli {verb} {' '.join([instead, remote, *names])}'",
        )


def _tell(app: App, document: object, reports: Sequence[TransferReport], where: str = "") -> int:
    """Print what was done, and on stderr what was not; return the exit status."""
    app.emit(document, "\n".join(line for report in reports for line in _lines(report, where)))
    if not app.as_json:
        findings = (finding for report in reports for finding in _findings(report))
        for message, hint in dict.fromkeys(findings):
            app.warn(message, hint)
    return 0 if all(report.is_clean for report in reports) else _FINDINGS


def _lines(report: TransferReport, where: str) -> list[str]:
    if report.dry_run:
        if not report.names and not report.n_objects and not report.n_pruned:
            return [f"nothing to {report.verb}: {_all_there(report)}"]
        lines = [f"would {report.verb} {_direction(report)}{place(report)}:", *listed(report)]
        pruned = f"  would remove there what was taken back: {count(report.n_pruned, 'episode')}"
    else:
        counts = [count(len(report.names), "name"), count(report.n_revisions, "revision")]
        counts += [count(report.n_episodes, "episode")] if report.n_episodes else []
        counts += [f"{size_text(report.bytes_written)} written"]
        done = f"{_DONE[report.verb]} {place(report)} {where}".rstrip()
        is_nothing = not (report.names or report.n_objects) and report.verb not in _MAKING
        lines = [_all_there(report) if is_nothing else f"{done}: {', '.join(counts)}"]
        pruned = f"removed there what was taken back: {count(report.n_pruned, 'episode')}"
    return [*lines, pruned] if report.n_pruned else lines


def _direction(report: TransferReport) -> str:
    return {"push": "to ", "bundle": "into "}.get(report.verb, "from ")


def _all_there(report: TransferReport) -> str:
    if report.verb == "push":
        return f"{place(report)} has all that is published here"
    return f"all that {place(report)} has is here"


def _findings(report: TransferReport) -> list[tuple[str, str]]:
    """What is not as it should be, each with the next thing to type."""
    diverged = [
        (
            f"'{name}' has diverged: both ways are kept",
            f"'tupli log {name}' tells them; 'tupli publish ID --as-next' says which comes next",
        )
        for name in report.diverged
    ]
    if report.verb == "push":
        what = "is not whole there: something of it is on neither side"
        rest = "'tupli pull FOLDER' from where the rest is, then 'tupli push' again"
    else:
        what = f"did not come whole: {place(report)} has not all of it"
        rest = f"whoever has the rest pushes it, then 'tupli {report.verb}' again"
    incomplete = [(f"'{name}' {what}", rest) for name in report.incomplete]
    mend = f"'tupli {report.verb}' again once the file is mended or brought from a copy"
    return [*diverged, *incomplete, *((line, mend) for line in report.damaged)]
