"""The command that says whose code may run: trust."""

from pathlib import Path

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.opening import open_repository
from tupli_repo.errors import InvalidInputError


@click.command(
    "trust",
    short_help="Grant names whose code may run when an environment is loaded",
    epilog="Exit status: 0 done, 1 a NAME to remove is not granted (nothing was removed) or the "
    "disk refused, 2 a NAME is malformed or can never be granted, 10 no repository here, 11 locked",
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--list", "listing", is_flag=True, help="Show what you granted; so without NAME.")
@click.option("--remove", is_flag=True, help="Take the grant of each NAME back.")
@json_option
@click.pass_obj
def trust_command(
    app: App,
    names: tuple[str, ...],
    listing: bool,  # noqa: FBT001
    remove: bool,  # noqa: FBT001
) -> None:
    """Let the code of each NAME run when an environment is loaded from this repository.

    NAME is 'pkg.mod.Class', exactly that one, or 'pkg.*', every class below pkg but no function.
    What you grant counts for you alone, and for the repository in this place: a copy or a move
    inherits nothing. It is kept in your own configuration folder, never in the repository.
    """
    if listing and (names or remove):
        raise InvalidInputError(
            "'--list' takes no NAME and no '--remove'", hint="'tupli trust --list'"
        )
    if remove and not names:
        raise InvalidInputError(
            "which name to remove is not said", hint="'tupli trust --remove NAME'"
        )
    for name in names:
        if not remove and name and _is_file(name):
            raise InvalidInputError(
                f"'{name}' is a file here: the shell has put it in place of a wildcard",
                hint="quote the name: tupli trust 'my_envs.*'",
            )
    repository = open_repository(app)
    if not names:
        granted = repository.trusted()
        rows = [[name, "its classes" if name.endswith(".*") else "itself"] for name in granted]
        app.emit_table([{"name": name} for name in granted], ["name", "covers"], rows)
    elif remove:
        removed = repository.distrust(names)
        lines = [f"removed {name}" for name in removed]
        app.emit([{"name": name} for name in removed], "\n".join(lines))
    else:
        new = repository.trust(names)
        wanted = list(dict.fromkeys(names))
        lines = [f"granted {name}" if name in new else f"already {name}" for name in wanted]
        app.emit([{"name": name, "new": name in new} for name in wanted], "\n".join(lines))


def _is_file(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # no file has such a name
        return False
