"""What is published: `NamedRepository`, a repository with names.

Invariant: what a verb here has published or taken back is durable when it returns; inside `batch`,
when the batch is left.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tupli_repo.errors import AmbiguousNameError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind, ObjectId, parse_object_id, shown
from tupli_repo.odb.refs import LOCAL, RefName, parse_ref_name
from tupli_repo.repository.citing import CitedRepository
from tupli_repo.repository.published.publishing import Committed, Offer
from tupli_repo.repository.subjects import EpisodeChoice
from tupli_repo.schema import BaseFilter
from tupli_repo.schema.reports import PublishReport, ReleaseItem

GLOBAL = "global"
"""The group in which things are published where none is named."""


class Deferred(NamedTuple):
    """A publication that waits for its batch to end."""

    name: RefName
    offer: Offer
    as_next: bool


class NamedRepository(CitedRepository):
    """A repository whose benchmarks, episodes and artifacts are published under names."""

    # ---- publishing

    def publish(
        self,
        name_or_id: str,
        *,
        group: str = GLOBAL,
        as_name: str | None = None,
        episodes: EpisodeChoice = False,
        artifacts: Iterable[str] = (),
        message: str = "",
        licence: str = "",
        citation: str = "",
        as_next: bool = False,
    ) -> PublishReport:
        """Publish a benchmark, an episode, an artifact or a pin as the next revision of its name.

        An episode is published with its benchmark, and added to what is published of it already.
        Another benchmark of the name is its next version and starts anew. Nothing new makes no
        revision.

        Args:
            name_or_id: The name of a benchmark, artifact or pin, an id, or a unique prefix of one.
            group: The group in which it is to be seen.
            as_name: The name it gets; where None, the one it has, or one made of its title.
            episodes: Which of a benchmark's episodes are published with it.
            artifacts: Ids of artifacts to go with a benchmark, beside those it needs.
            message: What this revision is.
            licence: Under which terms others may use it; empty: as before.
            citation: How to cite it; empty: as before.
            as_next: Whether this follows all sides of a name that has diverged.

        Raises:
            NotFoundError: Nothing here has that name or id.
            AmbiguousNameError: Several things have it.
            InvalidInputError: No name can be made of its title, something else has that name, or an
                episode is of another benchmark.
            ConflictError: The name has diverged; see ``as_next``.
            StorageIOError: The disk refused; the name reads as before.
        """
        self._releases.refresh()
        subject = self._subjects.find(name_or_id)
        extra = [self._shelf.resolve(uri, Kind.ARTIFACT) for uri in artifacts]
        if extra and subject.kind != "benchmark":
            raise InvalidInputError(
                "artifacts go with a benchmark", hint="publish them by their id"
            )
        name = self._subjects.name_for(subject, group=group, as_name=as_name)
        # what waits for the batch to end might be taken back before
        known = () if self._batches.depth else self._subjects.known_sets(subject, name)
        chosen = self._subjects.choose(subject, episodes, but=known)
        offer = self._subjects.offer(subject, chosen, extra)._replace(
            message=message, licence=licence, citation=citation
        )
        return self._publish_all([Deferred(name, offer, as_next)])

    def publish_benchmark(self, uri: str, publish_in: str = GLOBAL) -> PublishReport:
        """Publish a benchmark in a group; see `publish`."""
        return self.publish(self._shelf.resolve(uri, Kind.BENCHMARK), group=publish_in)

    def publish_artifact(self, uri: str, publish_in: str = GLOBAL) -> PublishReport:
        """Publish an artifact in a group; see `publish`."""
        return self.publish(self._shelf.resolve(uri, Kind.ARTIFACT), group=publish_in)

    def publish_episode(self, uri: str, publish_in: str = GLOBAL) -> PublishReport:
        """Publish an episode, and its benchmark with it, in a group; see `publish`."""
        return self.publish_episodes([uri], publish_in)

    def publish_episodes(
        self, uris: Iterable[str], publish_in: str = GLOBAL, *, message: str = ""
    ) -> PublishReport:
        """Publish many episodes: one new revision for each benchmark they are of.

        Raises:
            NotFoundError: One is not here; none is published.
        """
        self._releases.refresh()
        subjects, wanted = self._subjects, list[Deferred]()
        by_benchmark: dict[ObjectId, set[ObjectId]] = defaultdict(set)
        for episode, benchmark in subjects.visible_episodes(uris).items():
            by_benchmark[benchmark].add(episode)
        for benchmark, ids in sorted(by_benchmark.items()):
            subject = subjects.benchmark(benchmark)
            name = subjects.name_for(subject, group=publish_in, as_name=None)
            offer = subjects.offer(subject, ids)._replace(message=message)
            wanted.append(Deferred(name, offer, as_next=False))
        return self._publish_all(wanted)

    def pin(self, name: str, episodes: Collection[str], *, message: str = "") -> ReleaseItem:
        """Freeze exactly these episodes as a dataset in the group `local`, which never leaves.

        Args:
            name: The name.
            episodes: Full ids; hidden ones may be among them.
            message: What the dataset is.

        Raises:
            InvalidInputError: It is not a name.
            NotFoundError: An episode is not here.
        """
        self._releases.refresh()
        ref_name = parse_ref_name(LOCAL, "dataset", name)
        found = self._subjects.read_episodes([parse_object_id(uri) for uri in episodes])
        offer = self._subjects.dataset_offer(name, found)._replace(message=message)
        return self._releases.item(self._publish_now(Deferred(ref_name, offer, as_next=True)).view)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Record and publish many things at once, when the block is left.

        Recording waits once for the disk; what is published makes one revision for each name, and
        none where the block fails. It speaks for this thread alone: what others record is durable
        at once.

        Raises:
            StorageIOError: Not all of it may be on the disk.
        """
        is_outermost = not self._batches.depth
        try:
            with super().batch():
                yield
            if is_outermost:
                self._releases.refresh()
                for one in _joined(self._deferred()):
                    self._publish_now(one)
        finally:
            if is_outermost:
                self._deferred().clear()

    # ---- taking back

    def unpublish(
        self,
        name_or_id: str,
        *,
        group: str | None = None,
        episodes: BaseFilter | Iterable[str] | None = None,
        message: str = "",
    ) -> PublishReport:
        """Take back what was published; it stays in this repository.

        Older revisions stay citable. Others see the change after the next push.

        Args:
            name_or_id: A name, or the id (or a unique prefix) of a benchmark, artifact or episode,
                which is then taken back wherever it is published.
            group: In this group alone; where None, in all of them.
            episodes: Only these, those that match or those of some full ids; else all there is.
            message: Why.

        Raises:
            NotFoundError: It is not published.
            AmbiguousNameError: The name or the prefix stands for several.
            StorageIOError: The disk refused; a name reads as before or as after.
        """
        self._releases.refresh()
        names = [n for n in self._revisions.names(name_or_id) if group in (None, n.group)]
        back: frozenset[bytes] | None = None
        if not names:
            names, back = self._names_holding(name_or_id, group)
        elif group is None and len({name.group for name in names} - {LOCAL}) > 0:
            names = [name for name in names if name.group != LOCAL]  # a pin was shared
        if len({name.kind for name in names}) > 1 and back is None:
            listed = ", ".join(f"'{name}'" for name in names)
            raise AmbiguousNameError(
                f"'{shown(name_or_id)}' is ambiguous: {listed}", hint="use one of these"
            )
        if episodes is not None:
            back = self._published_episodes(names, episodes)
        user = self.settings.user_name
        made = [
            Committed(view, is_new=True)
            for name in names
            for view in self._publisher.unpublish(name, episodes=back, user=user, message=message)
        ]
        return self._report(made)

    def unpublish_benchmark(self, uri: str, unpublish_from: str = GLOBAL) -> PublishReport:
        """Take a benchmark, and its episodes with it, back from a group; see `unpublish`."""
        return self.unpublish(self._shelf.resolve(uri, Kind.BENCHMARK), group=unpublish_from)

    def unpublish_artifact(self, uri: str, unpublish_from: str = GLOBAL) -> PublishReport:
        """Take an artifact back from a group; see `unpublish`."""
        return self.unpublish(self._shelf.resolve(uri, Kind.ARTIFACT), group=unpublish_from)

    def unpublish_episode(self, uri: str, unpublish_from: str = GLOBAL) -> PublishReport:
        """Take an episode back from a group; see `unpublish`."""
        return self.unpublish(uri, group=unpublish_from)

    def yank(self, revision: str, why: str = "") -> ReleaseItem:
        """Advise against a revision: its name no longer leads to it, its citable form still does.

        Raises:
            NotFoundError: There is no such revision.
            AmbiguousNameError: There are several.
            InvalidInputError: It unites others, or takes something back.
        """
        self._releases.refresh()
        view = self._revisions.find(revision)
        self._publisher.yank(view, user=self.settings.user_name, why=why)
        return self._releases.item(view)

    def _deferred(self) -> list[Deferred]:
        """What this thread's batch is to publish."""
        return self._batches.deferred

    def _publish_all(self, wanted: list[Deferred]) -> PublishReport:
        if self._batches.depth:
            self._deferred().extend(wanted)
            return PublishReport(deferred=True)
        shown_before = self._releases.groups_of()
        made = [self._publish_now(one) for one in wanted]
        along = {
            benchmark
            for one in wanted
            if one.offer.episodes
            for benchmark in one.offer.benchmarks
            if one.name.group not in shown_before.get(benchmark, ())
        }
        return self._report(made, along)

    def _publish_now(self, one: Deferred) -> Committed:
        self._make_durable(one.offer)
        user = self.settings.user_name
        return self._publisher.publish(one.name, one.offer, user=user, as_next=one.as_next)

    def _make_durable(self, offer: Offer) -> None:
        """Wait until what is to be named is on the disk itself, whoever wrote it."""
        self.flush()
        if offer.episodes:
            for journal in self._store.journals():
                with suppress(FileNotFoundError):  # sealed meanwhile, which is durable
                    self._files.settle(journal.path)

    def _report(self, made: Iterable[Committed], along: Iterable[str] = ()) -> PublishReport:
        found = list(made)
        items = self._releases.items(one.view for one in found)
        new = [item for item, one in zip(items, found, strict=True) if one.is_new]
        return PublishReport(
            releases=tuple(items),
            n_new=len(new),
            n_added=sum(item.n_added for item in new),
            n_withdrawn=sum(item.n_withdrawn for item in new),
            benchmarks=tuple(sorted(along)),
        )

    def _names_holding(
        self, uri: str, group: str | None
    ) -> tuple[list[RefName], frozenset[bytes] | None]:
        """Where something is published, and the episodes that are meant by it."""
        subject = self._subjects.find(uri)
        if subject.episode is None:
            names = sorted(set(self._subjects.names_holding(subject.id)))
            back = None
        else:
            back = frozenset([bytes.fromhex(subject.episode)])
            names = [
                name
                for name in self._releases.names()
                if not back.isdisjoint(self._releases.history(name).survivors())
            ]
        names = [n for n in names if n.group == group or (group is None and n.group != LOCAL)]
        if not names:
            where = "" if group is None else f" in group '{group}'"
            raise NotFoundError(
                f"'{shown(uri)}' is not published{where}", hint="'tupli log' tells what is"
            )
        return names, back

    def _published_episodes(
        self, names: Iterable[RefName], chosen: BaseFilter | Iterable[str]
    ) -> frozenset[bytes]:
        """The raw ids of the episodes under some names that are chosen."""
        published = frozenset[bytes]().union(
            *(self._releases.history(name).survivors() for name in names)
        )
        if isinstance(chosen, BaseFilter):
            headers = self._episodes.select(chosen)  # hidden ones too
            found = frozenset(bytes.fromhex(header.id) for header in headers) & published
        else:
            found = frozenset(bytes.fromhex(parse_object_id(uri)) for uri in chosen)
        if not found or not found <= published:
            raise NotFoundError(
                "no episode that is published there is chosen"
                if not found
                else f"episode '{min(found - published).hex()[:12]}' is not published there",
                hint="'tupli list episodes' tells where each is",
            )
        return found


def _joined(wanted: Iterable[Deferred]) -> list[Deferred]:
    """Publications with those of one thing under one name made one; the last words count."""
    found: list[Deferred] = []
    for one in wanted:
        earlier = [n for n, other in enumerate(found) if other.name == one.name]
        before = found[earlier[-1]] if earlier else None
        if before is None or before.offer.benchmarks != one.offer.benchmarks:
            found.append(one)
            continue
        ours, theirs = before.offer, one.offer
        offer = theirs._replace(
            provenance=tuple(sorted({*ours.provenance, *theirs.provenance})),
            artifacts=tuple(sorted({*ours.artifacts, *theirs.artifacts})),
            episodes=ours.episodes | theirs.episodes,
            message=theirs.message or ours.message,
            licence=theirs.licence or ours.licence,
            citation=theirs.citation or ours.citation,
        )
        found[earlier[-1]] = Deferred(one.name, offer, before.as_next or one.as_next)
    return found
