"""Commands that change a repository or its settings: init, remove, config."""

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.opening import open_repository
from tupli_repo.config import SETTINGS, SettingsFile, user_settings_file
from tupli_repo.errors import InvalidInputError, NotFoundError
from tupli_repo.odb.files import replace_file
from tupli_repo.repository import Repository, find


class _SharedCommand(click.Command):
    """Takes ``--shared`` alone too: what follows it is an argument, not the name of a group."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--shared=" if a == "--shared" else a for a in args])


@click.command(
    "init",
    cls=_SharedCommand,
    short_help="Make a repository",
    epilog="Exit status: 0 made, 1 there is one already or the disk refused, 2 FOLDER is a file, "
    "or there is no such GROUP",
)
@click.argument("folder", default=".", type=click.Path())
@click.option("--bare", is_flag=True, help="One that others push to: only published names count.")
@click.option("--shared", metavar="[=GROUP]", help="The folder's group, or GROUP, may write too.")
@json_option
@click.pass_obj
def init_command(app: App, folder: str, bare: bool, shared: str | None) -> None:  # noqa: FBT001
    """Make an empty repository: a .tupli in FOLDER, the working folder by default.

    'tupli init --bare --shared=rl-lab /mnt/lab/walking' makes one on a drive, for a whole group.
    """
    repository = Repository.init(folder, bare=bare, shared=shared is not None and (shared or True))
    app.keep(repository)
    app.emit(
        {"root": str(repository.root), **repository.format.model_dump()},
        f"made an empty repository in '{repository.root}'",
    )


@click.command(
    "remove",
    short_help="Hide benchmarks, episodes or artifacts here",
    epilog="Exit status: 0 all are hidden, 1 an ID is unknown or ambiguous (nothing was hidden), "
    "10 no repository here",
)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("-m", "--message", default="", help="Why; kept with what is removed.")
@json_option
@click.pass_obj
def remove_command(app: App, ids: tuple[str, ...], message: str) -> None:
    """Hide each benchmark, episode or artifact whose id begins with ID.

    What was recorded in a benchmark stays; storing a benchmark or artifact again brings it back.
    An artifact that a benchmark needs stays until that is removed too.
    """
    repository = open_repository(app)
    found = repository.remove(ids, why=message)
    document = [{"kind": kind.value, "id": oid} for kind, oid in found]
    app.emit(document, "\n".join(f"removed {kind} {oid[:12]}" for kind, oid in found))


@click.command(
    "restore",
    short_help="Bring back what was removed",
    epilog="Exit status: 0 all are back, 1 an ID is unknown or ambiguous (nothing was done), "
    "10 no repository here",
)
@click.argument("ids", metavar="[ID]...", nargs=-1)
@json_option
@click.pass_obj
def restore_command(app: App, ids: tuple[str, ...]) -> None:
    """Bring back each benchmark, episode or artifact that was removed; without ID, list them."""
    repository = open_repository(app)
    found = repository.restore(ids) if ids else repository.removed()
    document = [{"kind": kind.value, "id": oid} for kind, oid in found]
    if ids:
        app.emit(document, "\n".join(f"restored {kind} {oid[:12]}" for kind, oid in found))
    else:
        app.emit_table(document, ["kind", "id"], [[kind.value, oid] for kind, oid in found])


@click.command(
    "config",
    short_help="Show or change settings",
    epilog="Exit status: 0 done, 1 KEY is not set, 2 no such setting, 10 no repository here",
)
@click.argument("key", required=False)
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Forget the setting KEY.")
@click.option("--user", is_flag=True, help="Your own settings instead of this repository's.")
@json_option
@click.pass_obj
def config_command(
    app: App,
    key: str | None,
    value: str | None,
    unset: bool,  # noqa: FBT001
    user: bool,  # noqa: FBT001
) -> None:
    """Show every setting, show KEY, or set KEY to VALUE.

    A repository's settings go before your own.
    'tupli config user.name "Ada"' sets who records here.
    """
    file = user_settings_file() if user else SettingsFile(find(app.repository_path) / "config.toml")
    if value is not None or unset:
        if key is None or (unset and value is not None):
            raise InvalidInputError(
                "which setting is meant is not clear", hint="'tupli config --unset KEY'"
            )
        replace_file(file.path, file.changed(key, None if unset else value))
        app.emit({key: value}, "")
        return
    values = file.read()
    if key is not None:
        if key not in SETTINGS:
            file.changed(key, None)  # tells that there is no such setting
        if key not in values:
            raise NotFoundError(
                f"'{key}' is not set in '{file.path}'", hint=f"'tupli config {key} VALUE' sets it"
            )
        app.emit({key: values[key]}, str(values[key]))
        return
    if app.as_json:
        app.emit(values, "")
        return
    rows = [[s.key, str(values.get(s.key, "")), s.meaning] for s in SETTINGS.values()]
    app.emit_table(values, ["setting", "value", "meaning"], rows)
