"""Commands about names: publish, unpublish, yank, log, pin. Push sends what is published."""

from pathlib import Path

import click

from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.opening import open_repository
from tupli_repo.cli.where import parse_where, where_option
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.refs import LOCAL
from tupli_repo.schema import BaseFilter, EpisodeHeader, FilterEQ
from tupli_repo.schema.reports import PublishReport, ReleaseItem

_ID_DIGITS = 12
_MAX_CITATION_BYTES = 1 << 20
_KEYS = set(EpisodeHeader.model_fields)


@click.command(
    "publish",
    short_help="Publish a benchmark, its episodes, an artifact or a pin",
    epilog="Exit status: 0 published (or it was already), 1 unknown, ambiguous or a conflict, "
    "2 not a name, 10 no repository here, 12 something is damaged",
)
@click.argument("name", metavar="NAME|ID")
@click.option("--episodes", "with_episodes", is_flag=True, help="With the benchmark's episodes.")
@where_option
@click.option("--group", metavar="G", default="global", show_default=True, help="Where.")
@click.option("--as", "as_name", metavar="NAME", help="Under this name instead of its own.")
@click.option("-m", "--message", default="", help="What this revision is.")
@click.option("--licence", default="", help="Under which terms others may use it, like CC-BY-4.0.")
@click.option("--citation", metavar="FILE", help="How to cite it: a text or BibTeX file.")
@click.option("--as-next", is_flag=True, help="Where versions diverged: this one follows all.")
@json_option
@click.pass_obj
def publish_command(
    app: App,
    name: str,
    with_episodes: bool,  # noqa: FBT001
    where: tuple[str, ...],
    group: str,
    as_name: str | None,
    message: str,
    licence: str,
    citation: str | None,
    as_next: bool,  # noqa: FBT001
) -> None:
    """Publish the benchmark, episode, artifact or pin NAME, as the next revision of its name.

    'tupli publish pendulum --episodes' publishes all episodes of the benchmark, --where only those
    that match. What was published before stays published.
    """
    repository = open_repository(app)
    report = repository.publish(
        name,
        group=group,
        as_name=as_name,
        episodes=_chosen(where) or with_episodes,
        message=message,
        licence=licence,
        citation="" if citation is None else _read_text(citation),
        as_next=as_next,
    )
    _tell(app, report, "published" if report.n_new else "was published already:")


@click.command(
    "unpublish",
    short_help="Take back what was published",
    epilog="Exit status: 0 taken back, 1 unknown or not published, 2 not a name, "
    "10 no repository here, 12 something is damaged",
)
@click.argument("name", metavar="NAME|ID")
@where_option
@click.option("--group", metavar="G", help="From this group only.")
@click.option("-m", "--message", default="", help="Why.")
@json_option
@click.pass_obj
def unpublish_command(
    app: App, name: str, where: tuple[str, ...], group: str | None, message: str
) -> None:
    """Take back the benchmark, episode, artifact or dataset NAME; it stays in this repository.

    With --where only the episodes that match. Older revisions stay citable; others see the change
    after the next push.
    """
    repository = open_repository(app)
    report = repository.unpublish(name, group=group, episodes=_chosen(where), message=message)
    _tell(app, report, "took back")


@click.command(
    "yank",
    short_help="Advise against a revision",
    epilog="Exit status: 0 done, 1 unknown or ambiguous, 2 not one that can be yanked, "
    "10 no repository here",
)
@click.argument("revision", metavar="NAME@REVISION")
@click.option("-m", "--message", default="", help="Why; everybody is told.")
@json_option
@click.pass_obj
def yank_command(app: App, revision: str, message: str) -> None:
    """Advise against a revision: NAME no longer leads to it, its citable form still does."""
    item = open_repository(app).yank(revision, why=message)
    app.emit(item, f"yanked {_citable(item)}")


@click.command(
    "log",
    short_help="Tell what was published, revision by revision",
    epilog="Exit status: 0 told, 1 no such name, 10 no repository here, 12 something is damaged",
)
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(min=0), help="At most so many.")
@json_option
@click.pass_obj
def log_command(app: App, name: str | None, limit: int | None) -> None:
    """Tell the revisions of NAME, the newest first; of all names where none is given.

    The revision is what one cites: 'NAME@REVISION' is the same everywhere, for ever.
    """
    items = open_repository(app).log(name)[:limit]
    rows = [
        [
            str(item.generation),
            f"{LOCAL}/{_citable(item)}" if item.group == LOCAL else _citable(item),
            item.version or "",
            item.created_by or "(union)",
            _minute(item.created_at),
            _episodes(item),
            _remarks(item),
            item.message,
        ]
        for item in items
    ]
    columns = ["generation", "revision", "version", "by", "at", "episodes", "", "message"]
    app.emit_table(items, columns, rows)


@click.command(
    "pin",
    short_help="Freeze a set of episodes under a name",
    epilog="Exit status: 0 pinned, 1 a benchmark is unknown or ambiguous, 2 not a name, or nothing "
    "matches, 10 no repository here, 12 something is damaged",
)
@click.argument("name")
@click.option("--benchmark", metavar="ID|NAME", help="Only the episodes of this benchmark.")
@where_option
@click.option("-m", "--message", default="", help="What it is.")
@json_option
@click.pass_obj
def pin_command(
    app: App, name: str, benchmark: str | None, where: tuple[str, ...], message: str
) -> None:
    """Freeze exactly the episodes that match as the dataset NAME; prints revision and digest.

    'TupliDataset.from_pin(storage, REVISION)' gives the same arrays in the same order everywhere.
    A pin stays here until 'tupli publish NAME' shares it; the digest is what a paper cites.
    """
    repository = open_repository(app)
    dataset = TupliDataset(repository).with_episode_filter(_chosen(where))
    if benchmark is not None:
        of_it = FilterEQ(key="id", value=repository.find_benchmark(benchmark).id)
        dataset = dataset.with_benchmark_filter(of_it)
    revision = dataset.pin(name, message)
    document = {"revision": revision, "digest": dataset.digest, "episodes": len(dataset.preview())}
    own = f"{revision}  (here alone; 'tupli publish {name}' gives the one to cite)"
    lines = [f"revision  {own}", f"digest    {dataset.digest}"]
    app.emit(document, "\n".join([*lines, f"episodes  {document['episodes']}"]))


def _chosen(where: tuple[str, ...]) -> BaseFilter | None:
    return parse_where(where, keys=_KEYS)


def _read_text(path: str) -> str:
    """The text of a file that says how to cite something."""
    with Path(path).open("rb") as file:
        found = file.read(_MAX_CITATION_BYTES + 1)
    if len(found) > _MAX_CITATION_BYTES:
        raise InvalidInputError(
            f"'{path}' is too long for a citation", hint="the text or BibTeX alone, at most 1 MiB"
        )
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise InvalidInputError(f"'{path}' is not UTF-8 text") from None


def _tell(app: App, report: PublishReport, done: str) -> None:
    """Say of each name what it leads to now, and how to cite it."""
    lines = [
        f"{done} {item.group}/{_citable(item)}: {item.kind} '{item.title}'"
        f"{_with_episodes(item)}, revision {item.generation}"
        for item in report.releases
    ]
    told = {oid for item in report.releases if item.kind == "benchmark" for oid in item.benchmarks}
    lines += [f"with benchmark {oid[:_ID_DIGITS]}" for oid in report.benchmarks if oid not in told]
    app.emit(report, "\n".join(lines))


def _with_episodes(item: ReleaseItem) -> str:
    if item.kind == "artifact" or item.is_retracted:
        return ""
    count, _, change = _episodes(item).partition(" ")
    return f" with {count} episode{'' if count == '1' else 's'} {change}".rstrip()


def _citable(item: ReleaseItem) -> str:
    return f"{item.name}@{item.revision[:_ID_DIGITS]}"


def _episodes(item: ReleaseItem) -> str:
    """How many episodes a revision has, and what changed."""
    change = f"+{item.n_added}" if item.n_added else ""
    change += f"-{item.n_withdrawn}" if item.n_withdrawn else ""
    return f"{item.n_episodes} ({change})" if change else str(item.n_episodes)


def _remarks(item: ReleaseItem) -> str:
    yanked = "yanked" if not item.yanked else f"yanked: {item.yanked}"
    found = [
        "head" if item.is_head else "",
        "taken back" if item.is_retracted else "",
        yanked if item.yanked is not None else "",
        "pending" if item.pending else "",
    ]
    return ", ".join(word for word in found if word)


def _minute(created_at: str) -> str:
    return created_at[:16].replace("T", " ")
