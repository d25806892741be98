"""Commands that look: list, show, cat. Nothing that is shown is ever executed."""

import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import click

from tupli_repo.cli.app import App, json_option, size_text
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.where import parse_where, where_option
from tupli_repo.codec.tuples import tuples_from_steps
from tupli_repo.errors import NotFoundError
from tupli_repo.odb.objects import Kind
from tupli_repo.repository import Repository
from tupli_repo.repository.published.revisions import FORCED_ID
from tupli_repo.schema import (
    ArtifactMetadataItem,
    BaseFilter,
    BenchmarkHeader,
    DBItem,
    EpisodeHeader,
    FilterEQ,
)
from tupli_repo.schema.reports import NameItem, ReleaseItem

_ID_DIGITS = 12
_KINDS = ["benchmarks", "episodes", "artifacts", "names"]
_KEYS = {
    "benchmarks": set(BenchmarkHeader.model_fields),
    "episodes": set(EpisodeHeader.model_fields),
    "artifacts": set(ArtifactMetadataItem.model_fields),
    "names": set(NameItem.model_fields),
}


@click.command(
    "list",
    short_help="List benchmarks, episodes, artifacts or names",
    epilog="Exit status: 0 listed, 1 an ID is unknown, 10 no repository here, 12 something "
    "is damaged",
)
@click.argument("kind", default="benchmarks", type=click.Choice(_KINDS))
@click.option("--benchmark", metavar="ID|NAME", help="Only the episodes of this benchmark.")
@where_option
@click.option("--limit", type=click.IntRange(min=0), help="At most so many.")
@click.option("--skip", type=click.IntRange(min=0), default=0, help="Leave out so many first.")
@json_option
@click.pass_obj
def list_command(
    app: App, kind: str, benchmark: str | None, where: tuple[str, ...], limit: int | None, skip: int
) -> None:
    """List benchmarks (the default), episodes, artifacts, or the names of what is published.

    On a terminal it is a table, in a pipe tab-separated lines, with --json one array of headers.
    """
    repository = open_repository(app)
    chosen = parse_where(where, keys=_KEYS[kind])
    page = slice(skip, None if limit is None else skip + limit)
    if benchmark is not None:
        if kind != "episodes":
            raise click.UsageError("--benchmark goes with 'tupli list episodes'")
        of_it = FilterEQ(key="benchmark_id", value=repository.find_benchmark(benchmark).id)
        chosen = of_it if chosen is None else of_it & chosen
    match kind:
        case "benchmarks":
            _list_benchmarks(app, repository, chosen, page)
        case "artifacts":
            _list_artifacts(app, repository, chosen, page)
        case "names":
            _list_names(app, repository, chosen, page)
        case _:
            _list_episodes(app, repository, chosen, page)


def _list_benchmarks(
    app: App, repository: Repository, chosen: BaseFilter | None, page: slice
) -> None:
    headers = repository.list_benchmarks(chosen)[page]
    counts = repository.count_episodes()
    rows = [
        [
            header.id[:_ID_DIGITS],
            header.metadata.name,
            header.metadata.version or "",
            header.metadata.difficulty or "",
            str(counts.get(header.id, 0)),
            _groups(header),
            header.created_by,
            _minute(header.created_at),
        ]
        for header in headers
    ]
    columns = ["id", "name", "version", "difficulty", "episodes", "published", "by", "at"]
    app.emit_table(headers, columns, rows)


def _list_artifacts(
    app: App, repository: Repository, chosen: BaseFilter | None, page: slice
) -> None:
    items = repository.list_artifacts(chosen)[page]
    rows = [
        [
            item.id[:_ID_DIGITS],
            item.name,
            size_text(item.size or 0),
            item.description,
            _groups(item),
            item.created_by,
            _minute(item.created_at),
        ]
        for item in items
    ]
    app.emit_table(items, ["id", "name", "size", "description", "published", "by", "at"], rows)


def _list_episodes(
    app: App, repository: Repository, chosen: BaseFilter | None, page: slice
) -> None:
    limit = None if page.stop is None else page.stop - page.start
    headers = repository.iter_episodes(chosen, skip=page.start, limit=limit)
    document = list(headers) if app.as_json else []
    rows = (
        [
            header.id[:_ID_DIGITS],
            header.benchmark_id[:_ID_DIGITS],
            str(header.n_tuples),
            _ending(terminated=header.terminated, truncated=header.timeout),
            "" if header.seed is None else str(header.seed),
            _groups(header),
            header.created_by,
            _minute(header.created_at),
        ]
        for header in headers
    )
    app.emit_table(
        document, ["id", "benchmark", "steps", "end", "seed", "published", "by", "at"], rows
    )


def _list_names(app: App, repository: Repository, chosen: BaseFilter | None, page: slice) -> None:
    found = repository.names()
    names = [n for n in found if chosen is None or chosen.matches(n.model_dump())][page]
    rows = [
        [
            name.group,
            name.kind,
            name.name,
            ", ".join(f"{name.name}@{item.revision[:_ID_DIGITS]}" for item in name.current),
            ", ".join(item.version or "" for item in name.current),
            ", ".join(str(item.n_episodes) for item in name.current),
            str(name.n_revisions),
            _state(name),
        ]
        for name in names
    ]
    columns = ["group", "kind", "name", "leads to", "version", "episodes", "revisions", "state"]
    app.emit_table(names, columns, rows)


def _state(name: NameItem) -> str:
    """What is to be known of a name; empty where all is well."""
    if name.diverged:
        return "diverged"
    if not name.current:
        return "nothing is here whole"
    return "taken back" if all(item.is_retracted for item in name.current) else ""


@click.command(
    "show",
    short_help="Show one benchmark, episode, artifact or revision",
    epilog="Exit status: 0 shown, 1 unknown or ambiguous, 2 not an id or a name, "
    "10 no repository here, 12 damaged",
)
@click.argument("uri", metavar="ID|NAME")
@click.option("--steps", type=click.IntRange(min=0), help="Of an episode, also the first N steps.")
@json_option
@click.pass_obj
def show_command(app: App, uri: str, steps: int | None) -> None:
    """Show the benchmark, episode or artifact whose id begins with ID, or a revision of NAME.

    'tupli show pendulum' is what the name leads to, pendulum@3 its third revision.
    """
    repository = open_repository(app)
    item = _revision(repository, uri)
    fields = _fields(repository, uri, steps or 0) if item is None else _release(repository, item)
    app.emit(fields, "\n".join(_lines(fields)))


def _revision(repository: Repository, uri: str) -> ReleaseItem | None:
    """The revision that is meant; None where an object is."""
    if uri.startswith(FORCED_ID):
        return None
    try:
        return repository.release(uri)
    except NotFoundError:
        return None  # or nothing is: looking for an object tells


def _release(repository: Repository, item: ReleaseItem) -> dict[str, Any]:
    """A revision, and what it is of."""
    benchmarks = repository.benchmarks_of(item.revision)
    return {
        "kind": Kind.RELEASE.value,
        "release": item.model_dump(mode="json"),
        "benchmarks": [header.model_dump(mode="json") for header in benchmarks],
    }


def _fields(repository: Repository, uri: str, n_steps: int) -> dict[str, Any]:
    kind, oid = repository.find(uri)
    match kind:
        case Kind.BENCHMARK:
            fields: dict[str, Any] = repository.benchmark(oid).model_dump(mode="json")
            of_it = FilterEQ(key="benchmark_id", value=oid)
            fields["episodes"] = sum(repository.count_episodes(of_it).values())
            fields["provenance"] = _provenance(repository, oid)
        case Kind.ARTIFACT:
            fields = repository.artifact(oid).model_dump(mode="json")
            fields["provenance"] = _provenance(repository, oid)
        case _:
            fields = _episode_fields(repository, oid, n_steps)
    return {"kind": kind.value, **fields}


def _provenance(repository: Repository, oid: str) -> list[dict[str, Any]]:
    """Who stored it, when, and on what; what is the same for all of them is told by ``id``."""
    notes = repository.provenance(oid)
    return [note.model_dump(mode="json", exclude={"subject"}) for note in notes]


def _episode_fields(repository: Repository, oid: str, n_steps: int) -> dict[str, Any]:
    header, data = repository.read_episode(oid)
    columns = {
        name: f"{column.dtype} {list(column.shape)}" for name, column in data.columns.items()
    }
    fields: dict[str, Any] = {**header.model_dump(mode="json"), "columns": columns}
    if data.rewards.ndim == 1 and data.rewards.dtype.kind in "biuf":
        fields["return"] = float(data.rewards.sum(dtype="f8"))
    if n_steps:
        fields["steps"] = {
            str(t): step.model_dump(mode="json")
            for t, step in enumerate(tuples_from_steps(data)[:n_steps])
        }
    return fields


@click.command(
    "cat",
    short_help="Write an artifact's bytes, or any object's body, to stdout",
    epilog="Exit status: 0 written, 1 unknown or ambiguous, 2 not an id or a name, "
    "10 no repository here, 12 damaged",
)
@click.argument("uri", metavar="ID|NAME")
@click.option("-o", "--output", type=click.Path(), help="Write to this new file instead.")
@json_option
@click.pass_obj
def cat_command(app: App, uri: str, output: str | None) -> None:
    """Write the bytes of an artifact, or the body of any other object, as they are.

    NAME stands for the artifact or benchmark that is published under it.
    """
    repository = open_repository(app)
    oid, obj = repository.read_object(uri)
    body = repository.load_artifact(oid) if obj.kind is Kind.ARTIFACT else obj.body
    if output is not None:
        with Path(output).open("xb") as file:
            file.write(body)
        app.emit({"id": oid, "kind": obj.kind.value, "output": output, "size": len(body)}, "")
    elif app.as_json:
        text = _text(body)
        content = {"text": text} if text is not None else {"base64": b64encode(body).decode()}
        app.emit({"id": oid, "kind": obj.kind.value, "links": obj.links, **content}, "")
    else:
        sys.stdout.buffer.write(body)


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _lines(fields: dict[str, Any], indent: str = "") -> list[str]:
    """Fields as aligned lines, nested ones indented; what is empty is left out."""
    shown = {key: value for key, value in fields.items() if value not in (None, "", [], {})}
    width = max((len(key) for key in shown), default=0)
    lines: list[str] = []
    for key, value in shown.items():
        nested = value if isinstance(value, list) else [value]
        if all(isinstance(part, dict) for part in nested):
            for part in nested:
                lines.append(f"{indent}{key}")
                lines += _lines(part, indent + "  ")
        else:
            lines.append(f"{indent}{key:<{width}}  {' '.join(str(value).split())}")
    return lines


def _groups(header: DBItem) -> str:
    return ", ".join(header.published_in)


def _ending(*, terminated: bool, truncated: bool) -> str:
    if terminated:
        return "terminated"
    return "truncated" if truncated else "open"


def _minute(created_at: str) -> str:
    return created_at[:16].replace("T", " ")
