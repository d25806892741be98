"""What is on the shelf: the records that are complete and not hidden, and their headers.

Invariant: nothing is on the shelf that lacks something it links; an artifact that a benchmark on
the shelf needs is on it too.
"""

from collections.abc import Iterable, Iterator, Mapping

from tupli_repo.codec.records import ArtifactBody, BenchmarkBody, ProvenanceBody
from tupli_repo.errors import AmbiguousNameError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind, ObjectId, is_id_prefix, shown
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository.episodes import Episodes
from tupli_repo.repository.records import Provenances, Record, Records, Tombstones
from tupli_repo.schema import ArtifactMetadataItem, BenchmarkHeader, BenchmarkMetadata

_UNKNOWN = ProvenanceBody(subject="0" * 64, created_by="unknown", created_at="")
_SHOWN_DIGITS = 16


class Shelf:
    """The visible records of a repository, as of its store's last refresh.

    Args:
        store: Where they are.
        episodes: The repository's episodes.
    """

    def __init__(self, store: ObjectStore, episodes: Episodes) -> None:
        self._store = store
        self._episodes = episodes
        self.benchmarks = Records(store, Kind.BENCHMARK, BenchmarkBody)
        self.artifacts = Records(store, Kind.ARTIFACT, ArtifactBody)
        self.provenance = Provenances(store)
        self.tombstones = Tombstones(store)

    def resolve(self, uri: str, kind: Kind) -> ObjectId:
        """Return the id of the record of that kind, by id or unique prefix; looks anew.

        Raises:
            InvalidInputError: ``uri`` is neither.
            NotFoundError: Nothing on the shelf begins with it.
            AmbiguousNameError: Several do.
        """
        self._store.refresh()
        (oid,) = matching([uri], self.visible(kind), kind)
        return oid

    def visible(self, kind: Kind) -> list[ObjectId]:
        """Return the ids of the visible benchmarks, artifacts or episodes."""
        if kind is Kind.BENCHMARK:
            return [oid for oid, _ in self._visible_benchmarks()]
        if kind is Kind.ARTIFACT:
            return [oid for oid, _ in self._visible_artifacts()]
        headers = self._episodes.select(None, hidden=self.tombstones.hidden())
        return [ObjectId(header.id) for header in headers]

    def removed(self) -> list[tuple[Kind, ObjectId]]:
        """Return what was removed here and can be brought back: kind and id."""
        hidden = self.tombstones.hidden()
        shown = {oid for oid, _ in self._visible_artifacts()}
        episodes = [ObjectId(header.id) for header in self._episodes.select(None)]
        present = {
            Kind.BENCHMARK: list(self.benchmarks.all()),
            Kind.ARTIFACT: list(self.artifacts.all()),
            Kind.EPISODE: episodes,
        }
        return [
            (kind, oid)
            for kind, ids in present.items()
            for oid in sorted(ids)
            if oid in hidden and oid not in shown
        ]

    def count_pending(self) -> int:
        """Return how many benchmarks and artifacts lack something they link."""
        links = [record.links for record in self.benchmarks.all().values()]
        links += [record.links for record in self.artifacts.all().values()]
        return sum(not all(self._store.contains(link) for link in some) for some in links)

    def benchmark_headers(self) -> Iterator[BenchmarkHeader]:
        """Iterate over the headers of the benchmarks."""
        first = self.provenance.first()
        return (benchmark_header(oid, rec, first) for oid, rec in self._visible_benchmarks())

    def benchmark_header(self, oid: ObjectId) -> BenchmarkHeader:
        """Return the header of one benchmark."""
        return benchmark_header(oid, self.benchmarks.all()[oid], self.provenance.first())

    def artifact_items(self) -> Iterator[ArtifactMetadataItem]:
        """Iterate over the headers of the artifacts."""
        first = self.provenance.first()
        return (artifact_item(oid, body, first) for oid, body in self._visible_artifacts())

    def artifact_item(self, oid: ObjectId) -> ArtifactMetadataItem:
        """Return the header of one artifact."""
        return artifact_item(oid, self.artifacts.all()[oid].body, self.provenance.first())

    def _visible_benchmarks(self) -> Iterator[tuple[ObjectId, Record[BenchmarkBody]]]:
        hidden = self.tombstones.hidden()
        for oid, record in self.benchmarks.all().items():
            if oid not in hidden and all(self._store.contains(link) for link in record.links):
                yield oid, record

    def _visible_artifacts(self) -> Iterator[tuple[ObjectId, ArtifactBody]]:
        needed = {link for _, record in self._visible_benchmarks() for link in record.links[1:]}
        hidden = self.tombstones.hidden() - needed
        for oid, (links, body) in self.artifacts.all().items():
            if oid not in hidden and all(self._store.contains(link) for link in links):
                yield oid, body


def benchmark_header(
    oid: ObjectId, record: Record[BenchmarkBody], first: Mapping[str, ProvenanceBody]
) -> BenchmarkHeader:
    """Return a benchmark's header; ``first`` tells who stored it first."""
    body, stored = record.body, first.get(oid, _UNKNOWN)
    words = {name: getattr(body, name) for name in BenchmarkMetadata.model_fields}
    return BenchmarkHeader(
        id=oid,
        created_by=stored.created_by,
        created_at=stored.created_at,
        hash=body.hash,
        metadata=BenchmarkMetadata(**words),
        env=record.links[0],
        env_format=body.env_format,
        wrapper=body.wrapper,
    )


def artifact_item(
    oid: ObjectId, body: ArtifactBody, first: Mapping[str, ProvenanceBody]
) -> ArtifactMetadataItem:
    """Return an artifact's header; ``first`` tells who stored it first."""
    stored = first.get(oid, _UNKNOWN)
    return ArtifactMetadataItem(
        **dict(body), id=oid, created_by=stored.created_by, created_at=stored.created_at
    )


def matching(uris: Iterable[str], present: Iterable[ObjectId], what: str) -> list[ObjectId]:
    """Return the ids that ids or unique prefixes stand for, each once.

    Args:
        uris: Ids, or at least 7 digits of them.
        present: The ids there are.
        what: What they are ids of, for an error's message.

    Raises:
        InvalidInputError: One is neither an id nor a prefix of one.
        NotFoundError: Nothing that is present begins with one.
        AmbiguousNameError: Several do.
    """
    ids = set(present)
    chosen: dict[ObjectId, None] = {}
    for uri in uris:
        if not is_id_prefix(uri):
            raise InvalidInputError(
                f"'{shown(uri)}' is not an id",
                hint="an id is 64 hex digits, or the first 7 or more; 'tupli list' shows them",
            )
        oid = ObjectId(uri)
        chosen[oid if oid in ids else _single(uri, ids, what)] = None
    return list(chosen)


def _single(uri: str, ids: set[ObjectId], what: str) -> ObjectId:
    found = sorted(oid for oid in ids if oid.startswith(uri))
    if not found:
        raise NotFoundError(
            f"{what} '{uri[:12]}' is not in this repository", hint="'tupli list' shows what is"
        )
    if len(found) > 1:
        candidates = ", ".join(oid[:_SHOWN_DIGITS] for oid in found)
        raise AmbiguousNameError(
            f"'{uri}' is ambiguous: {candidates}", hint="give more digits of the id"
        )
    return found[0]
