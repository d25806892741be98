"""The command that looks at the ground a repository stands on."""

from pathlib import Path

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.odb.maintenance.probe import probe
from tupli_repo.repository.location import find

_FINDINGS = 3


@click.command(
    "doctor",
    short_help="Tell what a folder or drive can do, and what follows",
    epilog="Exit status: 0 all is there, 2 no such folder, 3 something is degraded or unusable, "
    "10 no repository here",
)
@click.argument("path", required=False, type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def doctor_command(app: App, path: Path | None) -> int:
    """Try what a repository needs of the file system, in PATH or in the repository here.

    PATH is any folder, with a repository or without. Nothing is left behind, and nothing that
    others made is changed.
    """
    report = probe(path if path is not None else find(app.repository_path))
    width = max(len(item.name) for item in report.probes)
    lines = [
        f"{item.state:<8}  {item.name:<{width}}  {item.found}"
        + (f"; {item.follows}" if item.follows else "")
        for item in report.probes
    ]
    app.emit(report, "\n".join([*lines, report.verdict]))
    return 0 if report.state == "ok" else _FINDINGS
