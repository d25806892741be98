"""Commands that look: list, show, cat. Nothing that is shown is ever executed."""

import sys
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.odb.objects import Kind
from tupli_repo.repository import Repository
from tupli_repo.schema import BaseFilter, FilterEQ

_ID_DIGITS = 12
_KINDS = ["benchmarks", "episodes", "artifacts"]


@click.command(
    "list",
    short_help="List benchmarks, episodes or artifacts",
    epilog="Exit status: 0 listed, 1 an ID is unknown, 10 no repository here, 12 something "
    "is damaged",
)
@click.argument("kind", default="benchmarks", type=click.Choice(_KINDS))
@click.option("--benchmark", metavar="ID", help="Only the episodes of this benchmark.")
@json_option
@click.pass_obj
def list_command(app: App, kind: str, benchmark: str | None) -> None:
    """List benchmarks (the default), episodes or artifacts.

    On a terminal it is a table, in a pipe tab-separated lines, with --json one array of headers.
    """
    repository = Repository(app.repository_path)
    app.keep(repository)
    if benchmark is not None and kind != "episodes":
        raise click.UsageError("--benchmark goes with 'tupli list episodes'")
    if kind == "benchmarks":
        _list_benchmarks(app, repository)
    elif kind == "artifacts":
        _list_artifacts(app, repository)
    else:
        chosen = None if benchmark is None else repository.benchmark(benchmark).id
        _list_episodes(app, repository, chosen)


def _list_benchmarks(app: App, repository: Repository) -> None:
    headers = repository.list_benchmarks()
    counts = Counter(header.benchmark_id for header in repository.episode_headers())
    rows = [
        [
            header.id[:_ID_DIGITS],
            header.metadata.name,
            header.metadata.version or "",
            header.metadata.difficulty or "",
            str(counts[header.id]),
            header.created_by,
            _minute(header.created_at),
        ]
        for header in headers
    ]
    columns = ["id", "name", "version", "difficulty", "episodes", "by", "at"]
    app.emit_table(headers, columns, rows)


def _list_artifacts(app: App, repository: Repository) -> None:
    items = repository.list_artifacts()
    rows = [
        [
            item.id[:_ID_DIGITS],
            item.name,
            _size(item.size or 0),
            item.description,
            item.created_by,
            _minute(item.created_at),
        ]
        for item in items
    ]
    app.emit_table(items, ["id", "name", "size", "description", "by", "at"], rows)


def _list_episodes(app: App, repository: Repository, benchmark_id: str | None) -> None:
    chosen: BaseFilter | None = None
    if benchmark_id is not None:
        chosen = FilterEQ(key="benchmark_id", value=benchmark_id)
    headers = repository.episode_headers(chosen)
    rows = [
        [
            header.id[:_ID_DIGITS],
            header.benchmark_id[:_ID_DIGITS],
            str(header.n_tuples),
            _ending(terminated=header.terminated, truncated=header.timeout),
            "" if header.seed is None else str(header.seed),
            header.created_by,
            _minute(header.created_at),
        ]
        for header in headers
    ]
    app.emit_table(headers, ["id", "benchmark", "steps", "end", "seed", "by", "at"], rows)


@click.command(
    "show",
    short_help="Show one benchmark, episode or artifact",
    epilog="Exit status: 0 shown, 1 unknown or ambiguous, 2 not an id, 10 no repository "
    "here, 12 damaged",
)
@click.argument("uri", metavar="ID")
@json_option
@click.pass_obj
def show_command(app: App, uri: str) -> None:
    """Show the benchmark, episode or artifact whose id begins with ID."""
    repository = Repository(app.repository_path)
    app.keep(repository)
    kind, oid = repository.resolve(uri)
    match kind:
        case Kind.BENCHMARK:
            fields: dict[str, Any] = repository.benchmark(oid).model_dump(mode="json")
            of_it = FilterEQ(key="benchmark_id", value=oid)
            fields["episodes"] = len(repository.episode_headers(of_it))
        case Kind.ARTIFACT:
            fields = repository.artifact(oid).model_dump(mode="json")
        case _:
            fields = _episode_fields(repository, oid)
    fields = {"kind": kind.value, **fields}
    app.emit(fields, "\n".join(_lines(fields)))


def _episode_fields(repository: Repository, oid: str) -> dict[str, Any]:
    header, data = repository.read_episode(oid)
    return {
        **header.model_dump(mode="json"),
        "return": float(data.rewards.sum(dtype="f8")),
        "columns": {
            name: f"{column.dtype} {list(column.shape)}" for name, column in data.columns.items()
        },
    }


@click.command(
    "cat",
    short_help="Write an artifact's bytes, or any object's body, to stdout",
    epilog="Exit status: 0 written, 1 unknown or ambiguous, 2 not an id, 10 no repository "
    "here, 12 damaged",
)
@click.argument("uri", metavar="ID")
@click.option("-o", "--output", type=click.Path(), help="Write to this new file instead.")
@json_option
@click.pass_obj
def cat_command(app: App, uri: str, output: str | None) -> None:
    """Write the bytes of an artifact, or the body of any other object, as they are."""
    repository = Repository(app.repository_path)
    app.keep(repository)
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
        if isinstance(value, dict):
            lines.append(f"{indent}{key}")
            lines += _lines(value, indent + "  ")
        else:
            lines.append(f"{indent}{key:<{width}}  {value}")
    return lines


def _ending(*, terminated: bool, truncated: bool) -> str:
    if terminated:
        return "terminated"
    return "truncated" if truncated else "open"


def _minute(created_at: str) -> str:
    return created_at[:16].replace("T", " ")


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError
