"""The command that says where others are: remote."""

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.opening import open_repository


@click.group(
    "remote",
    short_help="Tell, add, remove or rename the repositories to exchange with",
    invoke_without_command=True,
    epilog="Exit status: 0 done, 1 no such remote, 2 not a name, or another one has it, "
    "10 no repository here",
)
@json_option
@click.pass_context
def remote_command(ctx: click.Context) -> None:
    """Tell the repositories this one exchanges with; a drive, a colleague's folder.

    'tupli remote add origin /mnt/lab/walking' makes it what push and pull speak to.
    """
    if ctx.invoked_subcommand is None:
        _list(ctx.obj)


@remote_command.command(
    "list",
    short_help="List them, with where they are",
    epilog="Exit status: 0 listed, 10 no repository here",
)
@json_option
@click.pass_obj
def list_command(app: App) -> None:
    """List the remotes and where they are."""
    _list(app)


def _list(app: App) -> None:
    items = open_repository(app).remotes()
    app.emit_table(items, ["name", "url"], [[item.name, item.url] for item in items])


@remote_command.command(
    "add",
    short_help="Add one",
    epilog="Exit status: 0 added, 2 not a name or not a path, or another one has that name, "
    "10 no repository here",
)
@click.argument("name")
@click.argument("url")
@json_option
@click.pass_obj
def add_command(app: App, name: str, url: str) -> None:
    """Call the repository in URL, a folder or a bundle, NAME. Nothing is copied.

    A relative URL starts at the folder that holds the .tupli.
    """
    item = open_repository(app).add_remote(name, url)
    app.emit(item, f"added '{item.name}': {item.url}")


@remote_command.command(
    "remove",
    short_help="Forget one",
    epilog="Exit status: 0 forgotten, 1 no such remote, 10 no repository here",
)
@click.argument("name")
@json_option
@click.pass_obj
def remove_command(app: App, name: str) -> None:
    """Forget the remote NAME; what came from it stays, and nothing there is touched."""
    item = open_repository(app).remove_remote(name)
    app.emit(item, f"forgot '{item.name}': {item.url}")


@remote_command.command(
    "rename",
    short_help="Call one by another name",
    epilog="Exit status: 0 renamed, 1 no such remote, 2 not a name, or another one has it, "
    "10 no repository here",
)
@click.argument("old")
@click.argument("new")
@json_option
@click.pass_obj
def rename_command(app: App, old: str, new: str) -> None:
    """Call the remote OLD by the name NEW."""
    item = open_repository(app).rename_remote(old, new)
    app.emit(item, f"'{old}' is now '{item.name}': {item.url}")
