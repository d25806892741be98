"""The command that compares two benchmarks. Nothing of them is executed."""

import sys

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.opening import open_repository
from tupli_repo.schema.reports import Difference

_ID_DIGITS = 12
_DIFFERENT = 3


@click.command(
    "diff",
    short_help="Tell what differs between two benchmarks",
    epilog="Exit status: 0 told, 1 unknown or ambiguous, 2 not an id, 3 they differ (with "
    "--exit-code), 10 no repository here, 12 damaged",
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--exit-code", is_flag=True, help="Exit with 3 where they differ.")
@json_option
@click.pass_obj
def diff_command(app: App, a: str, b: str, exit_code: bool) -> int:  # noqa: FBT001
    """Tell what differs between the benchmarks whose ids begin with A and B.

    Metadata, wrappers and parameters are compared, arrays element by element. In a pipe it is a
    tab-separated table, with --json one document.
    """
    report = open_repository(app).diff(a, b)
    if report.equal:
        app.emit(report, "nothing differs")
    elif sys.stdout.isatty() and not app.as_json:
        click.echo("\n".join(map(_paragraph, (*report.metadata, *report.environment))))
    else:
        columns = ["path", report.ours[:_ID_DIGITS], report.theirs[:_ID_DIGITS], "note"]
        rows = [_row(found) for found in (*report.metadata, *report.environment)]
        app.emit_table(report, columns, rows)
    if report.environments_equal and not report.equal and not app.as_json:
        click.echo("the environments are equal")
    return _DIFFERENT if exit_code and not report.equal else 0


def _row(found: Difference) -> list[str]:
    path = f"{found.path} ({found.their_path})" if found.their_path else found.path
    note = found.note if found.kind == "changed" else found.kind
    return [path, found.ours, found.theirs, note]


def _paragraph(found: Difference) -> str:
    """A difference on lines of its own: a table of long paths fits no terminal."""
    path, ours, theirs, note = _row(found)
    lines = [click.style(path, bold=True)]
    if found.kind != "only there":
        lines.append(click.style(f"  - {ours}", fg="red"))
    if found.kind != "only here":
        lines.append(click.style(f"  + {theirs}", fg="green"))
    if found.note:
        lines.append(f"    {note}")
    return "\n".join(lines)
