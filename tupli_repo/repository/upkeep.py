"""The repository as a whole: what it holds, and what takes how much space."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.store import ObjectStore, StoredSize
from tupli_repo.repository.episodes import Episodes
from tupli_repo.repository.shelf import Shelf
from tupli_repo.schema.reports import StatusReport, UsageItem


def status(
    files: RepositoryFiles, store: ObjectStore, shelf: Shelf, episodes: Episodes, *, role: str
) -> StatusReport:
    """Return what a repository holds, as of the store's last refresh.

    Raises:
        CorruptObjectError: A record is damaged.
    """
    tally = shelf.tally()
    benchmarks, artifacts = list(shelf.benchmark_headers()), list(shelf.artifact_items())
    return StatusReport(
        root=str(files.root),
        role=role,
        benchmarks=len(benchmarks),
        episodes=sum(tally.episodes.values()),
        artifacts=len(artifacts),
        steps=tally.steps,
        hidden=len(shelf.removed()),
        pending=episodes.count_pending() + shelf.count_pending(),
        packs=len(store.pack_names()),
        journals=len(store.journals()),
        size_bytes=files.size_bytes(),
        unpublished_benchmarks=sum(not header.published_in for header in benchmarks),
        unpublished_episodes=shelf.count_unpublished(),
        unpublished_artifacts=sum(not item.published_in for item in artifacts),
    )


def usage(store: ObjectStore, shelf: Shelf) -> list[UsageItem]:
    """Return what each benchmark, with its episodes, and each artifact takes, the largest first.

    Raises:
        CorruptObjectError: A record is damaged.
    """
    ids = shelf.visible(Kind.EPISODE)
    used: dict[str, set[ObjectId]] = defaultdict(set)
    counts: Counter[str] = Counter()
    for oid, obj in store.read_many(ids):
        benchmark = obj.links[0]
        counts[benchmark] += 1
        used[benchmark].update((oid, *obj.links[1:]))
    items = []
    for header in shelf.benchmark_headers():
        oid = ObjectId(header.id)
        links, body = shelf.benchmarks.all()[oid]
        own = links[: len(links) - body.n_artifacts]
        objects = used[oid] | {oid, *own}
        items.append(_item(store, Kind.BENCHMARK, oid, header.metadata.name, objects, counts[oid]))
    for artifact in shelf.artifact_items():
        oid = ObjectId(artifact.id)
        links = shelf.artifacts.all()[oid].links
        items.append(_item(store, Kind.ARTIFACT, oid, artifact.name, {oid, *links}, 0))
    return sorted(items, key=lambda item: (-item.stored_bytes, item.name, item.id))


def _item(
    store: ObjectStore, kind: Kind, oid: ObjectId, name: str, objects: Iterable[ObjectId], n: int
) -> UsageItem:
    sizes: Sequence[StoredSize] = [store.size_of(one) for one in objects]
    return UsageItem(
        kind=kind.value,
        id=oid,
        name=name,
        episodes=n,
        raw_bytes=sum(size.raw for size in sizes),
        stored_bytes=round(sum(size.stored for size in sizes)),
    )
