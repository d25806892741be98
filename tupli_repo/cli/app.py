"""What every command shares: which repository, and how results and errors are shown.

Results go to stdout, everything else to stderr. With ``--json``, stdout holds exactly one document:
the result or the error.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import click
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

_CommandT = TypeVar("_CommandT", bound=Callable[..., Any])
_JSON = "tupli_repo.json"
_UNSHOWABLE = re.compile(  # what a terminal obeys rather than shows, or cannot be written at all
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class _Closing(Protocol):
    def close(self) -> None: ...


class App:
    """The state of one command.

    Args:
        as_json: Whether result and error are JSON.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.path: str | None = None
        self.as_json = as_json
        self._opened: list[_Closing] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        while self._opened:
            self._opened.pop().close()

    def keep(self, resource: _Closing) -> None:
        """Close something when the command ends."""
        self._opened.append(resource)

    @property
    def repository_path(self) -> Path | None:
        """Where to look for the repository; None for the working folder and above."""
        return None if self.path is None else Path(self.path)

    def emit(self, document: object, text: str) -> None:
        """Print a result: ``document`` as JSON, or ``text``."""
        if self.as_json:
            click.echo(_json(document))
        elif text:
            click.echo(printable(text))

    def emit_table(
        self, document: object, columns: Sequence[str], rows: Iterable[Sequence[str]]
    ) -> None:
        """Print a table: aligned on a terminal, tab-separated in a pipe, or as JSON.

        In a pipe a row is printed when it comes: there may be any number of them.
        """
        cells = ([printable(" ".join(cell.split())) for cell in row] for row in rows)
        if self.as_json:
            click.echo(_json(document))
        elif sys.stdout is not None and sys.stdout.isatty():
            _print_rich(columns, list(cells))
        else:
            for row in chain([columns], cells):
                click.echo("\t".join(row))

    def fail(self, message: str, hint: str, exit_status: int) -> int:
        """Tell an error in one line and a hint, and return the exit status."""
        if self.as_json:
            error = {"message": message, "hint": hint, "exit_status": exit_status}
            click.echo(_json({"error": error}))
        else:
            click.echo(f"{click.style('error:', fg='red')} {printable(message)}", err=True)
            _echo_hint(hint)
        return exit_status

    def warn(self, message: str, hint: str) -> None:
        """Tell what is not as it should be, though the command did what it could."""
        click.echo(f"{click.style('warning:', fg='yellow')} {printable(message)}", err=True)
        _echo_hint(hint)


def json_option(command: _CommandT) -> _CommandT:
    """Give a command ``--json``."""

    def set_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
        if value:
            ctx.meta[_JSON] = True  # for the commands of a group too
        if value or not isinstance(ctx.command, click.Group):
            ctx.obj.as_json = _JSON in ctx.meta

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=set_json,
        help="Print one JSON document instead.",
    )(command)


def printable(text: str) -> str:
    r"""Return text that says what it says and does nothing: titles and messages are by others.

    >>> print(printable("red: \x1b[31m"))
    red: \x1b[31m
    """
    return _UNSHOWABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def size_text(size_bytes: int) -> str:
    """Return a size as people read it.

    >>> size_text(12), size_text(3 << 20)
    ('12 B', '3.0 MiB')
    """
    size, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def _echo_hint(hint: str) -> None:
    if hint:
        click.echo(f"{click.style('hint:', fg='yellow')} {printable(hint)}", err=True)


def _json(document: object) -> str:
    def plain(value: object) -> object:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return to_jsonable_python(value, inf_nan_mode="strings")

    text = json.dumps(plain(document), ensure_ascii=False, indent=2, allow_nan=False)
    return _UNSHOWABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = [i for i in range(len(columns)) if not rows or any(row[i] for row in rows)]
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i in shown:  # room for what is said: a column that is empty throughout is left out
        table.add_column(columns[i], overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(row[i]) for i in shown))
    console = Console()
    if len(rows) < console.height - 2 or not sys.stdin.isatty():
        console.print(table)
        return
    with console.pager(styles=True):
        console.print(table)
