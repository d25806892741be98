"""What is on the shelf: the records that are complete and not hidden, and their headers.

Invariant: nothing is on the shelf that lacks something it links; an artifact that a benchmark on
the shelf needs is on it too.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from tupli_repo.catalog import Selection, Tally
from tupli_repo.codec.records import ArtifactBody, BenchmarkBody, ProvenanceBody
from tupli_repo.errors import AmbiguousNameError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind, ObjectId, is_id_prefix, shown
from tupli_repo.odb.store import ObjectStore
from tupli_repo.repository.episodes import Episodes
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.revisions import FORCED_ID, Revisions
from tupli_repo.repository.records import Provenances, Record, Records, Tombstones
from tupli_repo.schema import (
    ArtifactMetadataItem,
    BaseFilter,
    BenchmarkHeader,
    BenchmarkMetadata,
    EpisodeHeader,
    FilterIN,
)

Groups = Mapping[ObjectId, Sequence[str]]
"""The groups in which each benchmark and artifact is published."""

_UNKNOWN = ProvenanceBody(subject="0" * 64, created_by="unknown", created_at="")
_SHOWN_DIGITS = 16
_ID_DIGITS = 64


class Shelf:
    """The visible records of a repository, as of its last refresh.

    Args:
        store: Where they are.
        episodes: The repository's episodes.
        releases: What is published.
        repository: The repository's id.
        only_published: Whether nothing else is visible, as in a bare repository.
    """

    def __init__(
        self,
        store: ObjectStore,
        episodes: Episodes,
        releases: Releases,
        *,
        repository: str,
        only_published: bool,
    ) -> None:
        self._store = store
        self._episodes = episodes
        self._releases = releases
        self._revisions = Revisions(releases)
        self._only_published = only_published
        self.benchmarks = Records(store, Kind.BENCHMARK, BenchmarkBody)
        self.artifacts = Records(store, Kind.ARTIFACT, ArtifactBody)
        self.provenance = Provenances(store)
        self.tombstones = Tombstones(store, repository)

    def resolve(self, uri: str, kind: Kind) -> ObjectId:
        """Return the id of the record of that kind, by id, unique prefix or revision; looks anew.

        What a revision is of may be hidden: it stays readable by its name.

        Raises:
            InvalidInputError: ``uri`` is none of these, or a revision of something else.
            NotFoundError: Nothing on the shelf begins with it.
            AmbiguousNameError: Several do.
        """
        self._releases.refresh()
        named = None if is_full_id(uri) else self._revisions.object_of(uri, kind)
        if named is not None:
            return named
        (oid,) = matching([uri.removeprefix(FORCED_ID)], self.visible(kind), kind)
        return oid

    def named(self, uri: str) -> tuple[Kind, ObjectId] | None:
        """Return kind and id of what a revision is of; None where ``uri`` means no revision.

        Raises:
            InvalidInputError: It is of several benchmarks.
            NotFoundError: There is no such revision.
            AmbiguousNameError: There are several.
        """
        if is_full_id(uri) or not self._revisions.is_named(uri):
            return None
        is_artifact = self._revisions.find(uri).record.name.kind == "artifact"
        kind = Kind.ARTIFACT if is_artifact else Kind.BENCHMARK
        oid = self._revisions.object_of(uri, kind)
        return None if oid is None else (kind, oid)

    def visible(self, kind: Kind) -> list[ObjectId]:
        """Return the ids of the visible benchmarks, artifacts or episodes."""
        if kind is Kind.BENCHMARK:
            return [oid for oid, _ in self._visible_benchmarks()]
        if kind is Kind.ARTIFACT:
            return [oid for oid, _ in self._visible_artifacts()]
        return self.episode_ids()

    def episode_ids(
        self, chosen: BaseFilter | None = None, *, but: Collection[ObjectId] = ()
    ) -> list[ObjectId]:
        """Return the ids of the visible episodes that match, in no order.

        Args:
            chosen: The filter; all match where None.
            but: Episode sets whose members are left out.

        Raises:
            CorruptObjectError: One is malformed.
        """
        return self._episodes.ids(
            chosen, hidden=self.tombstones.hidden(), only_published=self._only_published, but=but
        )

    def iter_episodes(
        self, chosen: BaseFilter | None = None, *, skip: int = 0, limit: int | None = None
    ) -> Iterator[EpisodeHeader]:
        """Iterate over the headers of the visible episodes that match, by time and id.

        Args:
            chosen: The filter; all match where None.
            skip: How many to leave out first.
            limit: At most so many; all where None.

        Raises:
            CorruptObjectError: One is malformed.
        """
        return self._episodes.select(
            chosen,
            hidden=self.tombstones.hidden(),
            only_published=self._only_published,
            skip=skip,
            limit=limit,
        )

    def choose(self, benchmarks: BaseFilter | None, chosen: BaseFilter | None = None) -> Selection:
        """Return what the visible episodes that match consist of, by time and id.

        Args:
            benchmarks: Which benchmarks they are of, among the visible ones; all where None.
            chosen: The filter; all match where None.

        Raises:
            CorruptObjectError: One is malformed.
        """
        headers = self.benchmark_headers()
        ids = [
            one.id for one in headers if benchmarks is None or benchmarks.matches(one.model_dump())
        ]
        among = FilterIN(key="benchmark_id", value=ids)
        return self._episodes.choose(
            among if chosen is None else among & chosen,
            hidden=self.tombstones.hidden(),
            only_published=self._only_published,
        )

    def tally(self, chosen: BaseFilter | None = None) -> Tally:
        """Return how many episodes are visible and match.

        Raises:
            CorruptObjectError: One is malformed.
        """
        return self._episodes.tally(
            chosen, hidden=self.tombstones.hidden(), only_published=self._only_published
        )

    def count_unpublished(self) -> int:
        """Return how many visible episodes are published in no group."""
        if self._only_published:
            return 0
        return self._episodes.count_unpublished(hidden=self.tombstones.hidden())

    def groups(self) -> dict[ObjectId, list[str]]:
        """Return the groups in which each benchmark and artifact is published."""
        return self._releases.groups_of()

    def removed(self) -> list[tuple[Kind, ObjectId]]:
        """Return what was removed here and can be brought back: kind and id."""
        hidden = self.tombstones.hidden()
        shown = {oid for oid, _ in self._visible_artifacts()}
        episodes = self._episodes.ids(FilterIN(key="id", value=sorted(hidden)))
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
        first, groups = self.provenance.first(), self.groups()
        return (
            benchmark_header(oid, rec, first, groups) for oid, rec in self._visible_benchmarks()
        )

    def benchmark_header(self, oid: ObjectId) -> BenchmarkHeader:
        """Return the header of one benchmark."""
        found = self.benchmarks.all()
        if oid not in found:
            raise _not_here(Kind.BENCHMARK, oid)
        return benchmark_header(oid, found[oid], self.provenance.first(), self.groups())

    def artifact_items(self) -> Iterator[ArtifactMetadataItem]:
        """Iterate over the headers of the artifacts."""
        first, groups = self.provenance.first(), self.groups()
        return (artifact_item(oid, body, first, groups) for oid, body in self._visible_artifacts())

    def artifact_item(self, oid: ObjectId) -> ArtifactMetadataItem:
        """Return the header of one artifact."""
        body = self.artifacts.all()[oid].body
        return artifact_item(oid, body, self.provenance.first(), self.groups())

    def _visible_benchmarks(self) -> Iterator[tuple[ObjectId, Record[BenchmarkBody]]]:
        hidden = self.tombstones.hidden()
        is_out = self._is_left_out()
        for oid, record in self.benchmarks.all().items():
            if is_out(oid):
                continue
            if oid not in hidden and all(self._store.contains(link) for link in record.links):
                yield oid, record

    def _visible_artifacts(self) -> Iterator[tuple[ObjectId, ArtifactBody]]:
        needed = {link for _, record in self._visible_benchmarks() for link in record.links[1:]}
        hidden = self.tombstones.hidden() - needed
        is_out = self._is_left_out()
        for oid, (links, body) in self.artifacts.all().items():
            if is_out(oid):
                continue
            if oid not in hidden and all(self._store.contains(link) for link in links):
                yield oid, body

    def _is_left_out(self) -> Callable[[ObjectId], bool]:
        """A test for what is not visible because it is not published."""
        if not self._only_published:
            return lambda _: False
        groups = self.groups()
        return lambda oid: oid not in groups


def benchmark_header(
    oid: ObjectId,
    record: Record[BenchmarkBody],
    first: Mapping[str, ProvenanceBody],
    groups: Groups,
) -> BenchmarkHeader:
    """Return a benchmark's header.

    Args:
        oid: Its id.
        record: Its record.
        first: Who stored each first.
        groups: Where each is published.
    """
    body, stored = record.body, first.get(oid, _UNKNOWN)
    words = {name: getattr(body, name) for name in BenchmarkMetadata.model_fields}
    return BenchmarkHeader(
        id=oid,
        created_by=stored.created_by,
        published_in=list(groups.get(oid, ())),
        created_at=stored.created_at,
        hash=body.hash,
        metadata=BenchmarkMetadata(**words),
        env=record.links[0],
        env_format=body.env_format,
        wrapper=body.wrapper,
        evaluation=body.evaluation,
    )


def artifact_item(
    oid: ObjectId, body: ArtifactBody, first: Mapping[str, ProvenanceBody], groups: Groups
) -> ArtifactMetadataItem:
    """Return an artifact's header; the arguments are those of `benchmark_header`."""
    stored = first.get(oid, _UNKNOWN)
    return ArtifactMetadataItem(
        **dict(body),
        id=oid,
        created_by=stored.created_by,
        published_in=list(groups.get(oid, ())),
        created_at=stored.created_at,
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
        raise _not_here(what, uri)
    if len(found) > 1:
        candidates = ", ".join(oid[:_SHOWN_DIGITS] for oid in found)
        raise AmbiguousNameError(
            f"'{uri}' is ambiguous: {candidates}", hint="give more digits of the id"
        )
    return found[0]


def is_full_id(uri: str) -> bool:
    """Return whether a text is a whole id."""
    return is_id_prefix(uri) and len(uri) == _ID_DIGITS


def _not_here(what: str, uri: str) -> NotFoundError:
    return NotFoundError(
        f"{what} '{uri[:12]}' is not in this repository", hint="'tupli list' shows what is"
    )
