"""Publishing, taking back, uniting, yanking: how a name gets its next revision.

Sets of episodes are written first, the release that links them next, the record that names it last:
a record that is there has what it names. Nobody is asked and nothing is locked. Who publishes at
the same moment makes a head of their own, and the next one unites them; a union is made of its
parents alone, so that all who unite the same heads make the same bytes.

Invariant: nothing that was published is overwritten; what was taken back comes back only when
somebody publishes it again.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from tupli_repo.codec.records import ReleaseBody
from tupli_repo.errors import ConflictError, InvalidInputError, NotFoundError
from tupli_repo.odb.objects import Kind, Object, ObjectId, encode, object_id
from tupli_repo.odb.refs import LOCAL, Record, RefName, Yank
from tupli_repo.repository.published.places import ReleaseObjects, ReleaseRefs
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.sets import (
    EpisodeSet,
    digest_of,
    digest_of_parts,
    grown,
    set_object,
    sets_of,
)
from tupli_repo.repository.published.views import ReleaseView
from tupli_repo.schema import utc_now

_CITED_DIGITS = 12
SaidOf = Callable[[Sequence[Collection[bytes]], Collection[ObjectId]], frozenset[ObjectId]]


class Offer(NamedTuple):
    """What is to be published under a name.

    Attributes:
        title: The name as it is shown.
        version: The benchmark's version.
        benchmarks: Ids: one for a benchmark; for a dataset all its episodes need.
        provenance: Ids of who stored what, and of annotations.
        artifacts: Ids.
        episodes: Raw ids: to be added to a benchmark; all there are of a dataset.
        message: What is said of this revision.
        licence: Under which terms others may use it; empty: as before.
        citation: How to cite it; empty: as before.
    """

    title: str
    version: str | None = None
    benchmarks: tuple[ObjectId, ...] = ()
    provenance: tuple[ObjectId, ...] = ()
    artifacts: tuple[ObjectId, ...] = ()
    episodes: frozenset[bytes] = frozenset()
    message: str = ""
    licence: str = ""
    citation: str = ""


class Committed(NamedTuple):
    """A revision, and whether it is new."""

    view: ReleaseView
    is_new: bool


class Publisher:
    """Makes revisions in one repository.

    Args:
        store: Where objects are written.
        refs: Where records are written.
        releases: What is published there.
        said_of: Gives the annotations that say something of an episode in one of some sets, but for
            those that are known.
    """

    def __init__(
        self,
        store: ReleaseObjects,
        refs: ReleaseRefs,
        releases: Releases,
        said_of: SaidOf = lambda _, __: frozenset(),
    ) -> None:
        self._store = store
        self._refs = refs
        self._releases = releases
        self._said_of = said_of

    def publish(
        self, name: RefName, offer: Offer, *, user: str, as_next: bool = False
    ) -> Committed:
        """Publish something as the next revision of a name.

        Episodes are added to those of the same benchmark; another benchmark is the next version and
        starts anew. What was said of the episodes since they were recorded goes with them, but not
        into a pin. Nothing new makes no revision.

        Raises:
            ConflictError: The name went two ways, and ``as_next`` does not say that this follows.
            NotFoundError: Something that is published is not here any more.
            StorageIOError: The disk refused; the name reads as before.
        """
        self.unite(name)
        heads = self._releases.heads(name)
        if len(heads) > 1 and not as_next:
            raise _diverged(name, heads)
        same = [head for head in heads if head.subject == _subject(name, offer)]
        before = same[-1] if same else None
        held, kept = self._held(name, heads, offer)
        body = _body(
            name,
            offer,
            user=user,
            licence=offer.licence or (before.body.licence if before else ""),
            citation=offer.citation or (before.body.citation if before else ""),
        )
        artifacts = set(offer.artifacts).union(*(head.artifacts for head in same))
        known = frozenset[ObjectId]().union(*(head.provenance for head in same))
        episodes = [held, *map(self._releases.members, kept)]
        said = frozenset() if name.group == LOCAL else self._said_of(episodes, known)
        if len(heads) == 1 and before is not None:
            is_known = (
                not before.body.is_retracted
                and self._is_held(before, held, kept)
                and (offer.benchmarks, artifacts) == (before.benchmarks, set(before.artifacts))
                and not said
                and offer.message in ("", before.body.message)
                and (body.licence, body.citation, body.name)
                == (before.body.licence, before.body.citation, before.body.name)
            )
            if is_known:
                return Committed(before, is_new=False)
        view = self._commit(
            name,
            body,
            parents=heads,
            benchmarks=offer.benchmarks,
            provenance=known | said | {*offer.provenance},
            artifacts=artifacts,
            episodes=held,
            kept=kept,
        )
        return Committed(view, is_new=True)

    def unpublish(
        self,
        name: RefName,
        *,
        episodes: frozenset[bytes] | None,
        user: str,
        message: str = "",
    ) -> list[ReleaseView]:
        """Take episodes back, on every end whose history has them; returns the new revisions.

        An end, whether it is whole here or not, keeps the rest. Of yanked revisions that have them
        and that nothing follows, nothing is kept.

        Args:
            name: The name.
            episodes: Raw ids; all there are, and the benchmark or artifact itself, where None.
            user: Who takes them back.
            message: Why.

        Raises:
            NotFoundError: No revision of that name has them.
        """
        self.unite(name)
        releases, history = self._releases, self._releases.history(name)
        views, heads = releases.views(name), [head.hash for head in releases.heads(name)]
        ends = [views[one] for one in sorted({*heads, *history.ends()})]
        off = [r for r in history.newest() if not history.counts(r)]
        if episodes is None:
            back = frozenset[bytes]().union(
                *map(history.content, [*(end.hash for end in ends), *off])
            )
            having = [end for end in ends if not end.body.is_retracted]
        else:
            back = episodes
            having = [end for end in ends if self._ever_had(name, end, back)]
        yanked = [r for r in off if not history.content(r).isdisjoint(back)]
        if not having and not yanked and history.known().isdisjoint(back):
            raise NotFoundError(
                f"that is not published as '{name}'", hint="'tupli log' tells what is"
            )
        made, now = [], utc_now()  # one deed, one time: on however many ends it is done
        for end in having or [views[one] for one in heads[:1] or yanked]:
            kept = frozenset() if end.hash in off else history.content(end.hash) - back
            gone = back.union(*map(history.content, yanked)) - kept
            offer = Offer(title=end.body.name, version=end.body.version, message=message)
            body = _body(
                name,
                offer,
                user=user,
                licence=end.body.licence,
                citation=end.body.citation,
                is_retracted=episodes is None or end.body.is_retracted,
                created_at=now,
            )
            parents = {parent: views[parent] for parent in (end.hash, *yanked)}
            made.append(
                self._commit(
                    name,
                    body,
                    parents=parents.values(),
                    benchmarks=end.benchmarks,
                    provenance=end.provenance,
                    artifacts=end.artifacts,
                    episodes=kept,
                    withdrawn=gone,
                    is_whole=releases.is_whole(end),
                )
            )
        return made

    def unite(self, name: RefName) -> list[ReleaseView]:
        """Unite the heads of one subject; returns the unions that were made.

        What was taken back on one side of a conflict is taken back on the others.
        """
        made: list[ReleaseView] = []
        while True:
            heads = self._releases.heads(name)
            made += self._unite_once(name, heads) if len(heads) > 1 else []
            if self._releases.heads(name) == heads:
                return made

    def yank(self, view: ReleaseView, *, user: str, why: str = "") -> None:
        """Advise against a revision: its hash still works, its name no longer leads to it.

        Raises:
            InvalidInputError: It is a union, which would be made again, or it takes something back,
                which would be shown again.
        """
        if not view.body.created_by:
            raise InvalidInputError(
                f"revision '{view.hash[:_CITED_DIGITS]}' unites others, and would be made again",
                hint="yank what it unites: "
                + ", ".join(parent[:_CITED_DIGITS] for parent in view.record.parents),
            )
        if not view.can_be_yanked:
            raise InvalidInputError(
                f"revision '{view.hash[:_CITED_DIGITS]}' takes something back, and without it that"
                " would be shown again",
                hint="publish the next one in its place",
            )
        self._refs.put_yank(view.record, Yank(created_at=utc_now(), created_by=user, why=why))

    def _unite_once(self, name: RefName, every: list[ReleaseView]) -> list[ReleaseView]:
        history, made = self._releases.history(name), []
        for subject in sorted({head.subject for head in every}):
            heads = [head for head in every if head.subject == subject]
            hashes = [head.hash for head in heads]
            held = history.union(hashes, subject)
            left = history.union(hashes, subject, [head.hash for head in every])
            if len(heads) == 1 and left == held:
                continue
            latest = max(heads, key=lambda head: (head.body.created_at, head.hash)).body
            body = ReleaseBody(
                name=latest.name,
                group=name.group,
                kind=name.kind,
                version=latest.version,
                licence=latest.licence,
                citation=latest.citation,
                created_at=max(head.body.created_at for head in heads),
                is_retracted=not left and any(head.body.is_retracted for head in heads),
                digest="0" * 64,
            )
            made.append(
                self._commit(
                    name,
                    body,
                    parents=heads,
                    benchmarks=sorted({one for head in heads for one in head.benchmarks}),
                    provenance={one for head in heads for one in head.provenance},
                    artifacts={one for head in heads for one in head.artifacts},
                    episodes=left,
                    withdrawn=held - left,
                    is_whole=False,
                )
            )
        return made

    def _held(
        self, name: RefName, heads: list[ReleaseView], offer: Offer
    ) -> tuple[frozenset[bytes], tuple[ObjectId, ...]]:
        """What the next revision has: episodes, and sets that have others.

        A benchmark has what it had, which may be a million, and most often some more.
        """
        if name.kind != "benchmark":
            return offer.episodes, ()
        if [head.subject for head in heads] == [offer.benchmarks]:
            members = list(map(self._releases.members, heads[0].sets))
            if sum(map(len, members)) == heads[0].body.n_episodes:
                new = offer.episodes
                for some in members:
                    new = new.difference(some)
                return new, heads[0].sets
        history = self._releases.history(name)
        hashes = [head.hash for head in heads]
        return offer.episodes | history.union(hashes, offer.benchmarks), ()

    def _is_held(
        self, before: ReleaseView, held: frozenset[bytes], kept: tuple[ObjectId, ...]
    ) -> bool:
        """Whether a revision has exactly some episodes, and those of some sets."""
        return not held if kept else held == self._releases.episodes(before)

    def _ever_had(self, name: RefName, head: ReleaseView, back: frozenset[bytes]) -> bool:
        """Whether some revision in the history of a head has one of the episodes."""
        history = self._releases.history(name)
        sets = {
            one
            for revision in (head.hash, *history.below(head.hash))
            for one in history.revision(revision).sets
        }
        return any(not self._releases.members(one).isdisjoint(back) for one in sets)

    def _commit(
        self,
        name: RefName,
        body: ReleaseBody,
        *,
        parents: Iterable[ReleaseView],
        benchmarks: Collection[ObjectId],
        provenance: Collection[ObjectId],
        artifacts: Collection[ObjectId],
        episodes: frozenset[bytes],
        kept: tuple[ObjectId, ...] = (),
        withdrawn: frozenset[bytes] = frozenset(),
        is_whole: bool = True,
    ) -> ReleaseView:
        """Write sets, release and record, in this order; then look whether all is there.

        The members of the sets that are ``kept`` count beside the episodes, which are others. Where
        ``is_whole`` is false, what it names besides may be missing.
        """
        above = sorted(parents, key=lambda parent: parent.hash)
        members, joined = self._releases.members, self._releases.joined
        if kept:
            sets = grown([EpisodeSet(one, members(one)) for one in kept], episodes)
        else:
            old = {one: members(one) for parent in above for one in parent.sets}
            sets = sets_of(episodes, old)
        parts = [joined(one.id) if one.id else b"".join(sorted(one.members)) for one in sets]
        links = [*benchmarks, *sorted(provenance), *sorted(artifacts)]
        body = body.model_copy(
            update={
                "n_benchmarks": len(benchmarks),
                "n_provenance": len(provenance),
                "n_artifacts": len(artifacts),
                "n_episodes": sum(len(one.members) for one in sets),
                "n_withdrawn": len(withdrawn),
                "digest": digest_of_parts(parts),
            }
        )
        written: list[Object] = []
        for one in sets:
            if one.id is None:
                written.append(set_object(one.members))
            links.append(one.id or object_id(encode(written[-1])))
        if withdrawn:
            written.append(Object(kind=Kind.BLOB, body=b"".join(sorted(withdrawn))))
            links.append(object_id(encode(written[-1])))
        written.append(Object(kind=Kind.RELEASE, links=tuple(links), body=body.dump()))
        ids = [self._store.write(obj) for obj in written]
        record = Record(
            name,
            1 + max((parent.record.generation for parent in above), default=0),
            tuple(parent.hash for parent in above),
            ids[-1],
        )
        self._refs.put(record)
        self._look_again(record, written, is_whole=is_whole)
        return self._releases.views(name)[record.hash]

    def _look_again(self, record: Record, written: Collection[Object], *, is_whole: bool) -> None:
        """Check after the record that what it names is there: a cleaner may have been faster."""
        self._store.refresh()
        for obj in written:
            if not self._store.contains(object_id(encode(obj))):
                self._store.write(obj)
        view = self._releases.views(record.name).get(record.hash)
        if view is None or (is_whole and not self._releases.is_whole(view)):
            raise NotFoundError(
                f"revision '{record.hash[:_CITED_DIGITS]}' of '{record.name}' names what is no"
                " longer here",
                hint="it stays pending until that comes back",
            )


def _subject(name: RefName, offer: Offer) -> tuple[str, ...]:
    match name.kind:
        case "dataset":
            return (digest_of(offer.episodes),)
        case "artifact":
            return offer.artifacts
        case _:
            return offer.benchmarks


def _body(
    name: RefName,
    offer: Offer,
    *,
    user: str,
    licence: str,
    citation: str,
    is_retracted: bool = False,
    created_at: str | None = None,
) -> ReleaseBody:
    return ReleaseBody(
        name=offer.title,
        group=name.group,
        kind=name.kind,
        version=offer.version,
        message=offer.message,
        licence=licence,
        citation=citation,
        created_by=user,
        created_at=created_at or utc_now(),
        is_retracted=is_retracted,
        digest="0" * 64,
    )


def _diverged(name: RefName, heads: Iterable[ReleaseView]) -> ConflictError:
    sides = ", ".join(
        f"'{head.hash[:_CITED_DIGITS]}' by '{head.body.created_by or 'a union'}'" for head in heads
    )
    return ConflictError(
        f"'{name.name}' has diverged in group '{name.group}': {sides}",
        hint="'--as-next' makes this the next version after all of them; '--as NAME' another name",
    )
