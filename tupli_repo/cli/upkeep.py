"""Commands about the repository as a whole: status, du, completion."""

import click
from click.shell_completion import get_completion_class

from tupli_repo.cli.app import App, json_option, size_text
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.progress import count
from tupli_repo.schema.transfers import RemoteStatus

_SHELLS = ["bash", "zsh", "fish"]
_MANY_PACKS = 16


@click.command(
    "status",
    short_help="Tell what the repository holds",
    epilog="Exit status: 0 told, 10 no repository here, 12 something is damaged",
)
@json_option
@click.pass_obj
def status_command(app: App) -> None:
    """Tell what the repository holds, and how it compares with its remotes.

    Counts, what is hidden, what is pending, what is not published, what each remote lacks and what
    it has that is not here. A remote that cannot be reached is told so, and is no failure.
    """
    repository = open_repository(app)
    found = repository.status()
    lines = [
        f"repository in '{found.root}' ({found.role})",
        f"  {count(found.benchmarks, 'benchmark')}, {count(found.artifacts, 'artifact')},"
        f" {count(found.episodes, 'episode')} of {count(found.steps, 'step')}",
        f"  {size_text(found.size_bytes)} in {count(found.packs, 'pack')},"
        f" {count(found.journals, 'journal')} and loose objects",
    ]
    if found.trash_bytes:
        lines.append(
            f"  {size_text(found.trash_bytes)} of that in the trash; 'tupli gc' frees it in time"
        )
    if found.mergeable_packs >= _MANY_PACKS:
        lines.append(f"  {found.mergeable_packs} packs are small; 'tupli gc' merges them")
    if found.hidden:
        lines.append(f"  {found.hidden} removed here; 'tupli restore' lists them")
    if found.pending:
        lines.append(f"  {found.pending} pending: what they need is not here (yet)")
    if found.pending_names:
        lines.append(
            f"  {count(found.pending_names, 'name')} with revisions that are not here whole;"
            " 'tupli list names' shows them, 'tupli fsck' tells what is missing"
        )
    unpublished = [
        count(number, noun)
        for number, noun in (
            (found.unpublished_benchmarks, "benchmark"),
            (found.unpublished_episodes, "episode"),
            (found.unpublished_artifacts, "artifact"),
        )
        if number
    ]
    if unpublished:
        lines.append(f"  {', '.join(unpublished)} not published; 'tupli publish' does it")
    lines += [f"  {_compared(remote)}" for remote in found.remotes]
    app.emit(found, "\n".join(lines))


def _compared(remote: RemoteStatus) -> str:
    """How the names here compare with those of a remote."""
    if remote.error:
        return f"{remote.name}: cannot be asked: {remote.error}"
    differs = []
    if remote.unpushed:
        names = ", ".join(remote.unpushed)
        differs.append(f"it lacks revisions of {names}; 'tupli push {remote.name}'")
    if remote.unpulled:
        names = ", ".join(remote.unpulled)
        differs.append(f"it has revisions of {names} that are not here; 'tupli pull {remote.name}'")
    return f"{remote.name}: {'; '.join(differs) or 'the same revisions as here'}"


@click.command(
    "du",
    short_help="Tell what takes how much space",
    epilog="Exit status: 0 told, 10 no repository here, 12 something is damaged",
)
@json_option
@click.pass_obj
def du_command(app: App) -> None:
    """Tell what each benchmark, with its episodes, and each artifact takes on the disk."""
    repository = open_repository(app)
    items = repository.usage()
    rows = [
        [
            item.kind,
            item.id[:12],
            item.name,
            str(item.episodes) if item.kind == "benchmark" else "",
            size_text(item.raw_bytes),
            size_text(item.stored_bytes),
        ]
        for item in items
    ]
    app.emit_table(items, ["kind", "id", "name", "episodes", "raw", "stored"], rows)


@click.command(
    "completion",
    short_help="Print what makes a shell complete tupli's commands",
    epilog="Exit status: 0 printed, 2 no such shell",
)
@click.argument("shell", type=click.Choice(_SHELLS))
@json_option
@click.pass_obj
def completion_command(app: App, shell: str) -> None:
    """Print a script for SHELL; for bash: eval "$(tupli completion bash)" in ~/.bashrc."""
    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root().command
    source = found(root, {}, "tupli", "_TUPLI_COMPLETE").source()
    app.emit({"shell": shell, "script": source}, source)
